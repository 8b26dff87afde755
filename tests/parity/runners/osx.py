"""Runs the cases of "osx": whole networks with what lies between, and the crop of people.

Outputs that end in "_sub" (and the coarsest crops of hands) hold every k-th channel; k is told by the case's text and its shapes.
"""

from __future__ import annotations

import math
import re

import numpy as np
import torch
from tests.parity.fill import Case

Arrays = dict[str, np.ndarray]


def run(case: Case) -> Arrays | None:
    """The outputs of one case; None for a case of a kind that is not known here."""
    inputs = case.inputs()
    if case.meta["state"] and "img" in inputs:
        return network(case)
    return crops(case) if "boxes" in inputs else None


def network(case: Case) -> Arrays:
    """Checkpoint -> our network -> everything between crop and pose."""
    from vitruvian.body.pose import rotation_vectors
    from vitruvian.systems.mesh.osx import CROP, GRID, from_published, regions

    config, model = from_published({name: torch.as_tensor(value) for name, value in case.state_dict().items()})
    image = torch.from_numpy(case.inputs()["img"])
    with torch.inference_mode():
        maps, tokens = model.encode(image)
        body, whole = model.body(maps, tokens), model.read(maps, tokens)
        out = {"img_feat": maps, "task_tokens": tokens, "body_joint_img": body.places, "root6d": body.six[:, 0]}
        out |= {"body6d": body.six[:, 1:].flatten(1), "shape": body.shape, "cam_param": body.camera, "cam_trans": body.translation}
        out |= {"smplx_pose": rotation_vectors(whole.rotations).flatten(1), "joint_img": whole.places, "expr": whole.expression}
        if config.hand_decoder:
            boxes = model.box_net(maps, body.volume)
            squares = regions(boxes)
            hands, in_crop = model.hands(maps, squares), squares * (CROP[0] / GRID[0])
            out |= {"box_centers_sizes": boxes.flatten(1)}
            out |= {f"{part}_bbox": in_crop[:, i] for i, part in enumerate(("lhand", "rhand", "face"))}
            out |= {f"hand_roi_{name}": one for name, one in zip(("high", "mid", "low"), hands.crops, strict=True)}
            out |= {"hand_joint_img": hands.places, "hand_query_init": hands.queries, "hand_decoder_out": hands.decoded}
            out["hand6d"] = hands.six.flatten(1)
        if config.face_decoder:
            face = model.face(maps, squares)
            out |= {f"face_roi_{name}": one for name, one in zip(("high", "mid", "low"), face.crops, strict=True)}
            out |= {"face_joint_img": face.places, "face_query_init": face.queries, "face_decoder_out": face.decoded}
            out["jaw6d"] = face.six.flatten(1)
    arrays = {name: value.numpy() for name, value in out.items()}
    steps = [int(number) for number in re.findall(r"\b\d+\b", case.meta["notes"])]
    found = {}
    for name, entry in case.meta["outputs"].items():
        full = arrays.get(name, arrays.get(name.removesuffix("_sub")))
        if full is not None:
            found[name] = thinned(full, entry["shape"], steps)
    return found


def thinned(array: np.ndarray, shape: list[int], steps: list[int]) -> np.ndarray:
    """Every k-th channel, so many as `shape` says: k is one of `steps`, or else the smallest that fits."""
    fits = [k for k in range(1, array.shape[1] + 1) if math.ceil(array.shape[1] / k) == shape[1]]
    told = [k for k in fits if k in steps]
    return array[:, :: (1 if 1 in fits else (told or fits or [1])[0])]


def crops(case: Case) -> Arrays:
    """Boxes in the synthetic picture that the text describes: what the crops show, the maps, and some pixels."""
    import cv2

    from vitruvian.codecs.osx import affines, crop, person_boxes

    width, height = (int(number) for number in re.search(r"(\d+) x (\d+) \(w x h\)", case.meta["notes"]).groups())
    starts = [int(number) for number in re.findall(r"(\d+)::", case.meta["notes"])]
    steps = [int(number) for number in re.findall(r"::(\d+)", case.meta["notes"])]
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    image = np.stack([x % 256, y % 256, (x + 2 * y) % 256], -1).astype(np.uint8)
    given = case.inputs()["boxes"]
    boxes, _ = person_boxes(np.concatenate([given[:, :2], given[:, :2] + given[:, 2:]], 1), (width, height))
    maps = affines(boxes)
    return {
        "boxes_out": np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], 1),
        "affine": maps,
        "affine_inv": np.array([cv2.invertAffineTransform(matrix) for matrix in maps]),
        "patch_samples": 255 * crop(image, boxes).transpose(0, 2, 3, 1)[:, starts[0] :: steps[0], starts[1] :: steps[1]],
    }
