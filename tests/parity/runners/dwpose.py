"""Runs the cases of "dwpose": whole networks, the training losses, the SimCC codec, the crop and the OpenPose order.

Whole networks have a state; the algorithm cases are told apart by the names of their inputs. Where a case stores a subset of an output,
or feeds a modified input, its notes say so and the function here does the same.
"""

from __future__ import annotations

import numpy as np
import torch
from tests.parity.fill import Case

Arrays = dict[str, np.ndarray]


def run(case: Case) -> Arrays | None:
    """The outputs of one case; None for a case of a kind that is not known here."""
    inputs = case.inputs()
    if any(name.startswith("head.") for name in case.meta["state"]):
        return network(case)
    if "student_x" in inputs:
        return losses(inputs)
    if "keypoints" in inputs and "scores" in inputs:
        return openpose134(inputs)
    if "logits_x" in inputs:
        return simcc_codec(inputs)
    if "boxes" in inputs:
        return topdown_crop(inputs, case.meta["outputs"]["crop"]["shape"])
    return None


def network(case: Case) -> Arrays:
    """Checkpoint -> our network -> SimCC logits."""
    from vitruvian.systems.pose2d.dwpose import from_published

    _, model = from_published({name: torch.as_tensor(value) for name, value in case.state_dict().items()})
    with torch.inference_mode():
        x, y = model(torch.from_numpy(case.inputs()["image"]))
    return {"simcc_x": x.numpy(), "simcc_y": y.numpy()}


def losses(inputs: Arrays) -> Arrays:
    """Label, logit and feature losses; the case draws logits as 0.3 times, and weights as a threshold of, standard normals."""
    from vitruvian.systems.pose2d.dwpose import LOGIT_WEIGHT, feature_loss, logit_loss
    from vitruvian.systems.pose2d.rtmw import SimCC, simcc_loss

    r = {name: torch.from_numpy(value) for name, value in inputs.items()}
    student = SimCC(0.3 * r["student_x"], 0.3 * r["student_y"])
    teacher = SimCC(0.3 * r["teacher_x"], 0.3 * r["teacher_y"])
    label = SimCC(r["label_x"], r["label_y"])
    weight = (r["weight"] > -0.5).float()
    face = weight.clone()
    face[:, 23:91] *= 0.5
    out = {
        "kl_rtmpose": simcc_loss(student, label, weight),
        "kl_rtmw": simcc_loss(student, label, face, beta=1.0),
        "logit_stage1": logit_loss(student, teacher, LOGIT_WEIGHT[0]),
        "logit_stage2": logit_loss(student, teacher, LOGIT_WEIGHT[1]),
        "feature": feature_loss(r["feature_student"], r["feature_teacher"]),
    }
    return {name: value.numpy() for name, value in out.items()}


def openpose134(inputs: Arrays) -> Arrays:
    """COCO-WholeBody -> OpenPose's 134. The neck's binary score is a rule of one demo that no function here follows: applied by hand."""
    from vitruvian.skeletons import COCO_WHOLEBODY_133, OPENPOSE_134, convert

    done = convert(inputs["keypoints"], inputs["scores"], COCO_WHOLEBODY_133, OPENPOSE_134)
    shoulders = [COCO_WHOLEBODY_133.index(f"{side}_shoulder") for side in ("left", "right")]
    binary = (inputs["scores"][:, shoulders] > 0.3).all(1)
    return {"keypoints134": done.keypoints, "scores134_min_neck": done.scores, "neck_score_binary": binary.astype(np.float32)}


def simcc_codec(inputs: Arrays) -> Arrays:
    """Encode, decode by both rules, refine, visibility, flip average; targets and flipped logits are stored at every 4th bin."""
    from vitruvian.codecs.crop import BoxTransform
    from vitruvian.codecs.simcc import SimCC, flip_average

    x, y = inputs["logits_x"], inputs["logits_y"]
    codec = SimCC((x.shape[-1] // 2, y.shape[-1] // 2))
    label_x, label_y, weights = codec.encode(inputs["keypoints"], inputs["visible"])
    keypoints, scores = codec.decode(x, y)
    place = BoxTransform(np.full((len(x), 2), (301.5, 222.25), np.float32), np.full((len(x), 2), (240, 320), np.float32), codec.size)
    lib_keypoints, lib_scores = SimCC(codec.size, rule="rtmlib").decode(x, y)
    dark_x, dark_y = x.copy(), y.copy()
    for logits in (dark_x, dark_y):
        logits[1, 5:7] = logits[1, 0:2]
    swap = range(x.shape[1] - 1, -1, -1)
    flip_x, flip_y = flip_average(x, y, x, y, list(swap))
    return {
        "label_x": label_x[..., ::4],
        "label_y": label_y[..., ::4],
        "label_weights": weights,
        "mm_keypoints": keypoints,
        "mm_scores": scores,
        "mm_keypoints_image": place.to_image(keypoints),
        "mm_visibility": codec.visibility(x, y),
        "dark_keypoints": SimCC(codec.size, dark=True).decode(dark_x, dark_y)[0],
        "rtmlib_keypoints": lib_keypoints,
        "rtmlib_scores": lib_scores,
        "flip_avg_x": flip_x[..., ::4],
        "flip_avg_y": flip_y[..., ::4],
    }


def topdown_crop(inputs: Arrays, stored: list[int]) -> Arrays:
    """Boxes -> centre, scale, matrix and normalised crop, which the case stores at every 8th pixel."""
    from vitruvian.codecs.crop import BoxTransform, warp_crops
    from vitruvian.codecs.normalise import normalise

    size = (stored[3] * 8, stored[2] * 8)
    place = BoxTransform.from_boxes(inputs["boxes"], size)
    crops = normalise(warp_crops(inputs["image"], place.matrices, size))
    return {"center": place.centers, "scale": place.scales, "matrix": place.matrices, "crop": crops[:, :, ::8, ::8]}
