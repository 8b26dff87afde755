"""The recipes of the embedded default networks: the person-and-parts detector and the 133-keypoint net, trained only on `synth`.

    python -m vitruvian.train pose     --store people/ --photographs photographs.txt --out runs/pose
    python -m vitruvian.train detector --store people/ --photographs photographs.txt --out runs/detector
    python -m vitruvian.train owners   --store people/ --photographs photographs.txt --out runs/owners --start runs/detector/last.pt

All go on where they were stopped; the last teaches a finished detector whose each part is (`vitruvian.train.owners`).
`python -m vitruvian.train.package` then writes the averaged weights for the ground floor.
"""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from vitruvian.codecs.normalise import IMAGENET_MEAN, IMAGENET_STD
from vitruvian.codecs.probability_map import ProbabilityMap
from vitruvian.metrics.keypoints import oks
from vitruvian.skeletons import COCO_WHOLEBODY_133
from vitruvian.systems.detection import rtmdet
from vitruvian.systems.pose2d import mappose
from vitruvian.systems.pose2d.mappose import MapPose, map_loss, surface_loss
from vitruvian.train.precision import half

COARSE_WEIGHT, SEGMENT_WEIGHT, PLACE_WEIGHT = 0.3, 0.5, 2.0
POSE_INPUT, LIGHT_INPUT, DETECTOR_INPUT = (192, 256), (96, 128), (416, 416)  # width, height, of the exported networks
SMALL_DETECTOR_INPUT = (352, 352)  # of person-parts-n
SCENE = (256, 256)  # small, to save time; people of the sizes in pixels that the detector meets
CROWD = (288, 288)  # where several people are close together
# The 110 face and hand points would drown the body in a plain mean.
PART_WEIGHTS = {"body": 2.0, "foot": 1.5, "face": 0.4, "left_hand": 0.6, "right_hand": 0.6}


def normalise(images: UInt8[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
    """ImageNet mean and standard deviation, RGB."""
    mean, std = (torch.tensor(v, device=images.device).view(1, 3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
    return ((images.float() - mean) / std).contiguous(memory_format=torch.channels_last)


@functools.cache
def keypoint_weights(keypoints: int = len(COCO_WHOLEBODY_133)) -> Float[np.ndarray, " k"]:
    """Weight of each keypoint in the loss: by part for the whole body, 1 for other sets."""
    weights = np.ones(keypoints, np.float32)
    if keypoints == len(COCO_WHOLEBODY_133):
        for part, weight in PART_WEIGHTS.items():
            weights[COCO_WHOLEBODY_133.parts[part]] = weight
    return weights


def cell_loss(
    maps: Float[Tensor, "b k h w"], keypoints: Float[Tensor, "b k 3"], stride: int, elsewhere: Float[Tensor, "b k"] | None = None
) -> Float[Tensor, ""]:
    """`map_loss` with the weights of the parts."""
    weights = torch.from_numpy(keypoint_weights(keypoints.shape[1])).to(keypoints.device)
    return map_loss(maps, elsewhere, keypoints, weights, stride)


def pose_loss(model: MapPose, batch: tuple[Tensor, ...]) -> dict[str, Tensor]:
    """Cross-entropy of the fine maps and, with smaller weights, of the coarse one and of the surface, where batches have it."""
    images, keypoints, *surface = batch
    logits = model.logits(normalise(images))
    fine = cell_loss(logits.fine, keypoints, mappose.STRIDE, logits.elsewhere)
    coarse = cell_loss(logits.coarse, keypoints, mappose.COARSE)
    parts = {"total": fine + COARSE_WEIGHT * coarse, "fine": fine, "coarse": coarse}
    if surface:
        parts["segment"], parts["place"] = surface_loss(logits.surface, surface[0])
        parts["total"] = parts["total"] + SEGMENT_WEIGHT * parts["segment"] + PLACE_WEIGHT * parts["place"]
    return parts


def predict(model: nn.Module, images: UInt8[Tensor, "b 3 h w"]) -> tuple[Float[np.ndarray, "b k 2"], Float[np.ndarray, "b k"]]:
    """Keypoints in crop pixels and scores, decoded as on the ground floor."""
    with torch.no_grad(), half(images.device):
        maps = model(normalise(images)).float().cpu().numpy()
    return ProbabilityMap((images.shape[3], images.shape[2]), (maps.shape[3], maps.shape[2])).decode(maps)


def pose_error(model: nn.Module, held_out: list[tuple[Tensor, Tensor]]) -> dict[str, float]:
    """On held-out crops: mean pixel error of body and of all points, and body OKS with 0.53 of the person's box as area."""
    body = COCO_WHOLEBODY_133.parts["body"]
    errors, everything, similarity = [], [], []
    for images, keypoints in held_out:
        found, _ = predict(model, images)
        truth, seen = keypoints[..., :2].numpy(), keypoints[..., 2].numpy() > 0
        distance = np.linalg.norm(found - truth, axis=-1)
        errors.append(distance[:, body][seen[:, body]])
        everything.append(distance[seen])
        area = np.full(len(found), 0.53 * images.shape[2] * images.shape[3] / 1.25**2)
        similarity.append(oks(found[:, body], truth[:, body], seen[:, body], area, COCO_WHOLEBODY_133.sigmas[body]))
    means = (float(np.nanmean(np.concatenate(values))) for values in (errors, everything, similarity))
    return dict(zip(("body_px", "all_px", "body_oks"), means, strict=True))


def detector_loss(model: nn.Module, batch: tuple[Tensor, list[Tensor], list[Tensor]]) -> dict[str, Tensor]:
    """Quality focal and GIoU loss of a batch of scenes."""
    images, boxes, labels = batch
    return rtmdet.loss(model(normalise(images)), boxes, labels)


def pose_network() -> MapPose:
    """A MapPose-t for 133 points, untrained."""
    return MapPose(mappose.VARIANTS["t"]).to(memory_format=torch.channels_last)


def light_network() -> MapPose:
    """A MapPose-t for 133 points and crops of half the size, untrained."""
    return MapPose(mappose.VARIANTS["n"]).to(memory_format=torch.channels_last)


def detector_network(owners: bool = False) -> rtmdet.RTMDet:
    """A small RTMDet for people and parts, untrained. Its backbone is the pose network's, to begin with what that one learnt.

    owners: with the branch that says whose each part is.
    """
    return rtmdet.RTMDet(replace(rtmdet.VARIANTS["mobile"], owners=owners)).to(memory_format=torch.channels_last)
