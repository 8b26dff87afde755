"""Is this installation healthy? Versions, devices, weights, and a capture of a clip whose truth is known."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from vitruvian._version import __version__
from vitruvian.capture import capture
from vitruvian.errors import MediaError, VitruvianError
from vitruvian.geometry.boxes import area, iou
from vitruvian.people.assignment import assign
from vitruvian.people.similarity import comparison_points, pose_similarity
from vitruvian.take import Take
from vitruvian.weights import EMBEDDED, card_for, verify
from vitruvian.weights.card import ASSETS
from vitruvian.weights.graph import import_onnxruntime

PACKAGES = ("numpy", "opencv-python-headless", "av", "onnxruntime", "onnxruntime-gpu", "torch")
LEAST_FOUND = 0.9  # share of the sample's people that a healthy installation finds; measured: 1.0
LEAST_OKS = 0.8  # and how well it knows their bodies; measured: 0.96


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    title: str
    text: str
    healthy: bool = True


@dataclass(frozen=True)
class Agreement:
    """How a take compares with the truth; all but `found` are NaN where nobody was found.

    found: share of the true people, by a box overlap over 0.3. similarity: mean object keypoint similarity of their bodies, 0 to 1.
    pixels, relative: mean distance of the body's labelled points, in pixels and as a share of the body size (square root of the box area).
    """

    found: float
    similarity: float
    pixels: float
    relative: float


def examine(assets: Path = ASSETS) -> Iterator[Finding]:
    """All findings, one after another; nothing is raised, what fails is a finding that is not healthy."""
    yield Finding("vitruvian", f"{__version__} in {Path(__file__).parents[1]}")
    yield Finding("python", f"{platform.python_version()} ({sys.executable})")
    yield Finding("platform", platform.platform())
    for package in PACKAGES:
        try:
            yield Finding(package, version(package))
        except PackageNotFoundError:
            continue
    yield _devices()
    for network in EMBEDDED:
        yield _weights(network, assets)
    yield _self_test(assets)


def _devices() -> Finding:
    try:
        providers = import_onnxruntime().get_available_providers()
    except VitruvianError as error:
        return Finding("devices", str(error), False)
    return Finding("devices", ", ".join(name.removesuffix("ExecutionProvider") for name in providers))


def _weights(network: str, assets: Path) -> Finding:
    try:
        card = card_for(network, assets)
        verify(card)
    except VitruvianError as error:
        return Finding("weights", str(error), False)
    checked = "sha256 as on its card" if card.sha256 else "no sha256 on its card"
    return Finding("weights", f"{network}: {Path(card.file).stat().st_size / 1e6:.1f} MB, {checked}")


def _self_test(assets: Path) -> Finding:
    clip, truth = assets / "sample.mp4", assets / "sample.npz"
    try:
        if not (clip.is_file() and truth.is_file()):
            raise MediaError(f"the sample clip is not in this installation ({clip} and sample.npz): reinstall vitruvian")
        detector, pose = (card_for(network, assets) for network in EMBEDDED[:2])
        take = capture(clip, detector=detector, pose=pose, mesh=False)
        if not take.complete:
            raise KeyboardInterrupt
        agreement = compare(take, Take.load(truth))
    except VitruvianError as error:
        return Finding("self-test", str(error), False)
    healthy = agreement.found >= LEAST_FOUND and agreement.similarity >= LEAST_OKS
    text = (
        f"{'passed' if healthy else 'FAILED'}: {agreement.found:.0%} of the people found, body similarity (OKS) "
        f"{agreement.similarity:.2f}, mean error {agreement.pixels:.1f} pixels ({agreement.relative:.1%} of the body size)"
    )
    return Finding("self-test", text, healthy)


def compare(take: Take, truth: Take) -> Agreement:
    """Compare a take with the truth of the same frames; truth keypoints of confidence 0 don't count.

    Raises VitruvianError when the two have different keypoint sets.
    """
    if take.skeleton.name != truth.skeleton.name:
        raise VitruvianError(f"a take of {take.skeleton.name} can't be compared with one of {truth.skeleton.name}: convert one of them")
    points, sigmas = comparison_points(truth.skeleton)
    similarities, distances, sizes = [], [], []
    for frame in range(len(truth.times)):
        true, found = truth.people.at(frame), take.people.at(frame)
        overlap = iou(true.boxes, found.boxes)
        rows, columns = assign(1 - overlap)
        matched = overlap[rows, columns] > 0.3
        true, found = true[rows[matched]], found[columns[matched]]
        sure = (true.confidence[:, points] > 0) & np.isfinite(found.keypoints[:, points]).all(-1)
        alike, _ = pose_similarity(
            true.keypoints[:, points],
            found.keypoints[:, points],
            true.confidence[:, points],
            np.ones_like(found.confidence[:, points]),
            np.tile(area(true.boxes)[:, None], len(found)),
            sigmas,
        )
        distance = np.linalg.norm(found.keypoints[:, points] - true.keypoints[:, points], axis=-1)
        similarities += np.diag(alike).tolist()
        distances += distance[sure].tolist()
        sizes += np.broadcast_to(np.sqrt(area(true.boxes))[:, None], sure.shape)[sure].tolist()
    nobody = not distances
    return Agreement(
        found=len(similarities) / max(len(truth.people), 1),
        similarity=float("nan") if nobody else float(np.mean(similarities)),
        pixels=float("nan") if nobody else float(np.mean(distances)),
        relative=float("nan") if nobody else float(np.mean(np.array(distances) / sizes)),
    )
