"""The public ONNX networks of this field: what they are, where they lie, what they were trained on.

None of these files was fetched while this table was written, so no sha256 is given unless the file was at hand. Where the facts are from:

| fact | source |
|---|---|
| addresses, input sizes, AP of the whole set | model table in the README of rtmlib 0.0.16 (Apache-2.0), with its mirror on Hugging Face |
| AP by part of DWPose and RTMW, parameters of the codecs | papers, cards dwpose.md section 7 and rtmw.md section 7 |
| what YOLOX and SimCC networks are fed | card dwpose.md, section 5 |
| marked [mem] in `source` or in a licence | memory of the projects' pages, not checked |
| mean, std and channel order of RTMO and ViTPose, decoding of ViTPose | [mem], not checked against the files |

Not listed: files on Google Drive or behind a login (no address that a program can fetch), RF-DETR (rtmlib's opendetect exports: no codec
here), ViTPose for COCO's 25 points (no such keypoint set here), and the yolox_l.onnx of yzd-v/DWPose, the detector of ControlNet front ends
(not known whether it is Megvii's file of that name).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType

from vitruvian.codecs.normalise import IMAGENET_MEAN, IMAGENET_STD
from vitruvian.weights.card import Card
from vitruvian.weights.classes import COCO_80

_OPENMMLAB = "https://download.openmmlab.com/mmpose/v1/projects/"
_TAU_J = "https://huggingface.co/Tau-J/RTMPose/resolve/main/"
_MEGVII = "https://github.com/Megvii-BaseDetection/YOLOX/releases/download/0.1.1rc0/"
_EASY_VITPOSE = "https://huggingface.co/JunkyByte/easy_ViTPose/resolve/main/onnx/"

_RTMLIB = "addresses and AP: README of rtmlib 0.0.16; file not fetched here"
_APACHE = "Apache-2.0"
_REPOSITORY = "Apache-2.0 (the repository's; no separate text for the weights)"
_MIRROR = "Apache-2.0 (the project's; that of the converted copy not checked)"

_COCO = "COCO: annotations CC-BY-4.0, pictures under their Flickr terms"
_WHOLEBODY = "COCO-WholeBody and UBody: annotations for non-commercial research only; pictures as COCO (Flickr terms)"
_BODY7 = "AI Challenger, COCO, CrowdPose, MPII, sub-JHMDB, Halpe, PoseTrack18: several for non-commercial research only [mem]"
_COCKTAIL14 = "14 sets, among them COCO-WholeBody, UBody, Halpe, 300W, WFLW, LaPa, InterHand2.6M: several for non-commercial research only"
_HUMANART = "COCO (Flickr terms) and Human-Art: non-commercial research only [mem]"
_OBJECTS = "COCO (Flickr terms) and Objects365: academic use [mem]"
_HAND5 = "COCO-WholeBody-Hand, OneHand10K, FreiHand, RHD, Halpe: several for non-commercial research only [mem]"
_FACE6 = "COCO-WholeBody-Face, LaPa, 300W, WFLW, COFW, Halpe: several for non-commercial research only [mem]"
_AP10K = "AP-10K; backbone first trained on AI Challenger and COCO: research only in part [mem]"
_VITPOSE = "COCO, AI Challenger, MPII, AP-10K, APT-36K, COCO-WholeBody: several for non-commercial research only [mem]"

_DETECTOR = Card(
    id="detector",
    task="detection",
    file="detector.onnx",
    input_size=(640, 640),
    mean=(0.0, 0.0, 0.0),
    std=(1.0, 1.0, 1.0),
    channel_order="bgr",
    classes=("person",),
    subject="body",
    licence_code=_APACHE,
    licence_weights=_REPOSITORY,
    source=_RTMLIB,
)
_YOLOX = replace(_DETECTOR, family="YOLOX", codec="yolox")
_RTMDET = replace(_DETECTOR, family="RTMDet", codec="rtmdet", mean=IMAGENET_MEAN[::-1], std=IMAGENET_STD[::-1])
_SIMCC = Card(
    id="simcc",
    task="pose2d",
    file="simcc.onnx",
    input_size=(192, 256),
    mean=IMAGENET_MEAN,
    std=IMAGENET_STD,
    skeleton="coco-17",
    subject="body",
    family="RTMPose",
    codec="simcc",
    licence_code=_APACHE,
    licence_weights=_REPOSITORY,
    source=_RTMLIB,
)
_WHOLE = replace(_SIMCC, skeleton="coco-wholebody-133", subject="whole-body")
_VIT = replace(_SIMCC, family="ViTPose++", codec="heatmap-udp", licence_weights=_MIRROR, licence_data=_VITPOSE)
_RTMO = replace(
    _SIMCC,
    task="one-stage",
    family="RTMO",
    codec="rtmo",
    mean=(0.0, 0.0, 0.0),
    std=(1.0, 1.0, 1.0),
    channel_order="bgr",
    classes=("person",),
)
_AUGMENTER = Card(
    id="augmenter",
    task="augmenter",
    file="augmenter.onnx",
    subject="body",
    family="OpenCap augmenter",
    licence_code=_APACHE,
    licence_weights=_APACHE,
    licence_data="motion capture of several laboratories: not stated here",
    source="OpenCap's LSTM marker augmenter, in the folder MarkerAugmenter of perfanalytics/pose2sim; "
    "with FILE.mean.npy and FILE.std.npy beside the ONNX file, `vitruvian weights add` takes mean and std from them",
)


def _named(base: Card, name: str, urls: tuple[str, ...], measure: str, value: float | None, **others: object) -> Card:
    """`base` as the network `name`, with one figure if there is one."""
    figures = {} if value is None else {measure: value}
    return replace(base, id=name, file=f"{name}.onnx", urls=urls, **{"figures": figures, **others})


def _zoo(project: str, base: Card, measure: str, rows: Mapping[str, tuple[str, float | None]]) -> Iterator[Card]:
    """Networks of OpenMMLab's file server: name -> (stem of the zip, figure). A stem with "384x288" tells the input's height and width."""
    for name, (stem, value) in rows.items():
        sides = re.search(r"-(\d+)x(\d+)", stem)
        size = (int(sides[2]), int(sides[1])) if sides else base.input_size
        urls = tuple(f"{host}{project}/onnx_sdk/{stem}.zip" for host in (_OPENMMLAB, _TAU_J))
        yield _named(base, name, urls, measure, value, input_size=size, member="end2end.onnx")


def _files(folder: str, base: Card, measure: str, rows: Mapping[str, tuple[str, float | None]]) -> Iterator[Card]:
    """Networks that lie in a folder as ONNX files: name -> (file, figure)."""
    for name, (file, value) in rows.items():
        yield _named(base, name, (folder + file,), measure, value)


def _by_part(*values: float) -> dict[str, float]:
    """Figures of COCO-WholeBody in the order of the papers' tables."""
    parts = ("body AP", "foot AP", "face AP", "hand AP", "coco-wholebody AP", "coco-wholebody AR")
    return dict(zip(parts, values, strict=True))


def _detectors() -> Iterator[Card]:
    human, small = replace(_YOLOX, licence_data=_HUMANART), (416, 416)
    rows = {
        "yolox-nano-humanart": ("yolox_nano_8xb8-300e_humanart-40f6f0d0", 38.9),
        "yolox-tiny-humanart": ("yolox_tiny_8xb8-300e_humanart-6f3252f9", 47.7),
    }
    yield from _zoo("rtmposev1", replace(human, input_size=small), "person AP", rows)
    rows = {
        "yolox-s-humanart": ("yolox_s_8xb8-300e_humanart-3ef259a7", 54.6),
        "yolox-m-humanart": ("yolox_m_8xb8-300e_humanart-c2c7a14a", 59.1),
        "yolox-l-humanart": ("yolox_l_8xb8-300e_humanart-ce1d7a62", 60.2),
        "yolox-x-humanart": ("yolox_x_8xb8-300e_humanart-a39d44ed", 61.3),
    }
    yield from _zoo("rtmposev1", human, "person AP", rows)
    coco = replace(_YOLOX, classes=COCO_80, licence_weights=_APACHE, licence_data=_COCO, subject="")
    rows = {"yolox-nano-coco": ("yolox_nano.onnx", 25.8), "yolox-tiny-coco": ("yolox_tiny.onnx", 32.8)}
    yield from _files(_MEGVII, replace(coco, input_size=small), "coco box AP", rows)
    rows = {
        "yolox-s-coco": ("yolox_s.onnx", 40.5),
        "yolox-m-coco": ("yolox_m.onnx", 47.2),
        "yolox-l-coco": ("yolox_l.onnx", 50.1),
        "yolox-darknet53-coco": ("yolox_darknet.onnx", 48.0),
        "yolox-x-coco": ("yolox_x.onnx", 51.5),
    }
    yield from _files(_MEGVII, coco, "coco box AP", rows)
    person = replace(_RTMDET, licence_data=_OBJECTS, source="OpenMMLab RTMPose project; addresses [mem]; file not fetched here")
    rows = {"rtmdet-nano-person": ("rtmdet_nano_8xb32-100e_coco-obj365-person-05d8511e", None)}
    yield from _zoo("rtmposev1", replace(person, input_size=(320, 320)), "", rows)
    yield from _zoo("rtmposev1", person, "", {"rtmdet-m-person": ("rtmdet_m_8xb32-100e_coco-obj365-person-235e8209", None)})
    hand = replace(_RTMDET, input_size=(320, 320), classes=("hand",), subject="hand", licence_data=_HAND5)
    yield from _zoo("rtmposev1", hand, "hand AP", {"rtmdet-nano-hand": ("rtmdet_nano_8xb32-300e_hand-267f9c8f", 76.0)})
    yield replace(
        person,
        id="rtmdet-nano-coco-320",
        file="rtmdet-nano-coco-320.onnx",
        input_size=(320, 320),
        sha256="4720eda18a18402e7b76d85827d4bc60fba18111fc0b74b559e4d24da9ddc3d2",
        size_bytes=4038157,
        source="RTMDet-nano for persons, as found in the repository zli20/RtmDet-RtmPose-OnnxRuntime",
    )


def _bodies() -> Iterator[Card]:
    body = replace(_SIMCC, licence_data=_BODY7)
    rows = {
        "rtmpose-t-body17": ("rtmpose-t_simcc-body7_pt-body7_420e-256x192-026a1439_20230504", 65.9),
        "rtmpose-s-body17": ("rtmpose-s_simcc-body7_pt-body7_420e-256x192-acd4a1ef_20230504", 69.7),
        "rtmpose-m-body17": ("rtmpose-m_simcc-body7_pt-body7_420e-256x192-e48f03d0_20230504", 74.9),
        "rtmpose-l-body17": ("rtmpose-l_simcc-body7_pt-body7_420e-256x192-4dba18fc_20230504", 76.7),
        "rtmpose-l-body17-384": ("rtmpose-l_simcc-body7_pt-body7_420e-384x288-3f5a1437_20230504", 78.3),
        "rtmpose-x-body17-384": ("rtmpose-x_simcc-body7_pt-body7_700e-384x288-71d7b7e9_20230629", 78.8),
    }
    yield from _zoo("rtmposev1", body, "coco AP", rows)
    rows = {
        "rtmpose-t-body26": ("rtmpose-t_simcc-body7_pt-body7-halpe26_700e-256x192-6020f8a6_20230605", 68.0),
        "rtmpose-s-body26": ("rtmpose-s_simcc-body7_pt-body7-halpe26_700e-256x192-7f134165_20230605", 72.0),
        "rtmpose-m-body26": ("rtmpose-m_simcc-body7_pt-body7-halpe26_700e-256x192-4d3e73dd_20230605", 76.7),
        "rtmpose-l-body26": ("rtmpose-l_simcc-body7_pt-body7-halpe26_700e-256x192-2abb7558_20230605", 78.4),
        "rtmpose-x-body26-384": ("rtmpose-x_simcc-body7_pt-body7-halpe26_700e-384x288-7fb6e239_20230606", 80.0),
    }
    yield from _zoo("rtmposev1", replace(body, skeleton="halpe-26"), "body8 AP", rows)
    rows = {
        "rtmo-s": ("rtmo-s_8xb32-600e_body7-640x640-dac2bf74_20231211", 68.6),
        "rtmo-m": ("rtmo-m_16xb16-600e_body7-640x640-39e78cc4_20231211", 72.6),
        "rtmo-l": ("rtmo-l_16xb16-600e_body7-640x640-b37118ce_20231211", 74.8),
    }
    yield from _zoo("rtmo", replace(_RTMO, licence_data=_BODY7), "coco AP", rows)
    rows = {
        "vitpose-s-body17": ("coco/vitpose-s-coco.onnx", 75.8),
        "vitpose-b-body17": ("coco/vitpose-b-coco.onnx", 77.0),
        "vitpose-l-body17": ("coco/vitpose-l-coco.onnx", 78.6),
    }
    yield from _files(_EASY_VITPOSE, _VIT, "coco AP", rows)


def _whole_bodies() -> Iterator[Card]:
    yield from _dwpose()
    yield from _rtmw()
    rows = {
        "vitpose-s-wholebody": ("wholebody/vitpose-s-wholebody.onnx", 54.4),
        "vitpose-b-wholebody": ("wholebody/vitpose-b-wholebody.onnx", 57.4),
        "vitpose-l-wholebody": ("wholebody/vitpose-l-wholebody.onnx", 60.6),
    }
    whole = replace(_VIT, skeleton="coco-wholebody-133", subject="whole-body")
    yield from _files(_EASY_VITPOSE, whole, "coco-wholebody AP", rows)


def _dwpose() -> Iterator[Card]:
    base = replace(_WHOLE, family="DWPose", licence_data=_WHOLEBODY)
    figures = {
        "dwpose-t": _by_part(58.5, 46.5, 73.5, 35.7, 48.5, 58.4),
        "dwpose-s": _by_part(63.3, 53.3, 77.6, 42.7, 53.8, 63.2),
        "dwpose-m": _by_part(68.5, 63.6, 82.8, 52.7, 60.6, 69.5),
        "dwpose-l": _by_part(70.4, 66.2, 84.3, 56.6, 63.1, 71.7),
        "dwpose-l-384": _by_part(72.2, 70.4, 88.7, 62.1, 66.5, 74.3),
    }
    rows = {
        "dwpose-t": ("rtmpose-t_simcc-ucoco_dw-ucoco_270e-256x192-dcf277bf_20230728", None),
        "dwpose-s": ("rtmpose-s_simcc-ucoco_dw-ucoco_270e-256x192-3fd922c8_20230728", None),
        "dwpose-m": ("rtmpose-m_simcc-ucoco_dw-ucoco_270e-256x192-c8b76419_20230728", None),
        "dwpose-l": ("rtmpose-l_simcc-ucoco_dw-ucoco_270e-256x192-4d6dfc62_20230728", None),
        "dwpose-l-384": ("rtmpose-l_simcc-ucoco_dw-ucoco_270e-384x288-2438fd99_20230728", None),
    }
    for card in _zoo("rtmposev1", base, "", rows):
        yield replace(card, figures=figures[card.id])
    yield replace(
        base,
        id="dw-ll-ucoco-384",
        file="dw-ll-ucoco-384.onnx",
        input_size=(288, 384),
        figures=figures["dwpose-l-384"],
        urls=("https://huggingface.co/yzd-v/DWPose/resolve/main/dw-ll_ucoco_384.onnx",),
        licence_weights=_MIRROR,
        source="the authors' own export, which ControlNet front ends use; address [mem]; file not fetched here",
    )


def _rtmw() -> Iterator[Card]:
    """RTMW's raw scores reach 5 to 6 (rtmw.md, section 6.2)."""
    base = replace(_WHOLE, family="RTMW", licence_data=_COCKTAIL14)
    figures = {
        "rtmw-m": _by_part(67.6, 67.1, 78.3, 49.1, 58.2, 67.3),
        "rtmw-l": _by_part(74.3, 76.3, 83.4, 59.8, 66.0, 74.6),
        "rtmw-x": _by_part(74.6, 77.0, 84.4, 61.0, 67.2, 75.2),
        "rtmw-l-384": _by_part(76.1, 79.3, 88.4, 66.3, 70.1, 78.0),
        "rtmw-x-384": _by_part(76.3, 79.6, 88.4, 66.4, 70.2, 78.1),
    }
    rows = {
        "rtmw-m": ("rtmw-dw-l-m_simcc-cocktail14_270e-256x192_20231122", None),
        "rtmw-l": ("rtmw-dw-x-l_simcc-cocktail14_270e-256x192_20231122", None),
        "rtmw-l-384": ("rtmw-dw-x-l_simcc-cocktail14_270e-384x288_20231122", None),
        "rtmw-x-384": ("rtmw-x_simcc-cocktail13_pt-ucoco_270e-384x288-0949e3a9_20230925", None),
    }
    for card in _zoo("rtmw", base, "", rows):
        yield replace(card, figures=figures[card.id])
    guess = "address: the stem of the published checkpoint (rtmw.md, section 9), not seen in any table; file not fetched here"
    rows = {"rtmw-x": ("rtmw-x_simcc-cocktail14_pt-ucoco_270e-256x192-13a2546d_20231208", None)}
    for card in _zoo("rtmw", replace(base, source=guess), "", rows):
        yield replace(card, figures=figures[card.id])
    rows = {"rtmw3d-x": ("rtmw3d-x_8xb64_cocktail14-384x288-b0a0eab7_20240626.onnx", None)}
    deep = replace(base, task="pose3d", family="RTMW3D", codec="simcc3d", input_size=(288, 384), licence_weights=_MIRROR)
    for card in _files("https://huggingface.co/Soykaf/RTMW3D-x/resolve/main/onnx/", deep, "", rows):
        yield replace(card, figures={"coco-wholebody AP": 68.0, "h3wb MPJPE, m": 0.057})


def _parts_and_animals() -> Iterator[Card]:
    hand = replace(_SIMCC, skeleton="hand-21", subject="hand", licence_data=_HAND5)
    rows = {"rtmpose-m-hand": ("rtmpose-m_simcc-hand5_pt-aic-coco_210e-256x256-74fb594_20230320", 83.9)}
    yield from _zoo("rtmposev1", hand, "hand5 AUC", rows)
    rows = {
        "rtmpose-t-face": ("rtmpose-t_simcc-face6_pt-in1k_120e-256x256-df79d9a5_20230529", None),
        "rtmpose-s-face": ("rtmpose-s_simcc-face6_pt-in1k_120e-256x256-d779fdef_20230529", None),
        "rtmpose-m-face": ("rtmpose-m_simcc-face6_pt-in1k_120e-256x256-72a37400_20230529", None),
    }
    yield from _zoo("rtmposev1", replace(_SIMCC, skeleton="lapa-106", subject="face", licence_data=_FACE6), "", rows)
    animal = replace(_SIMCC, skeleton="ap10k-17", subject="animal", licence_data=_AP10K)
    rows = {"rtmpose-m-animal": ("rtmpose-m_simcc-ap10k_pt-aic-coco_210e-256x256-7a041aa1_20230206", 72.2)}
    yield from _zoo("rtmposev1", animal, "ap-10k AP", rows)
    # rtmlib's table heads these figures "AP10K", though the files are the heads for APT-36K, and gives the huge file the large one's name.
    rows = {
        "vitpose-s-animal": ("apt36k/vitpose-s-apt36k.onnx", 74.2),
        "vitpose-b-animal": ("apt36k/vitpose-b-apt36k.onnx", 75.9),
        "vitpose-h-animal": ("apt36k/vitpose-h-apt36k.onnx", None),
    }
    yield from _files(_EASY_VITPOSE, replace(_VIT, skeleton="ap10k-17", subject="animal"), "AP in rtmlib's table", rows)


def _augmenters() -> Iterator[Card]:
    """v0.3 with 47 features in and 35 markers out (lower), 23 and 8 (upper): shapes and sums of the files at hand."""
    rows = {
        "opencap-augmenter-lower": ("8dbd686784f6c6e3b42fdfe968a8808a789bdcaff284e3dd9e8c321bbca4e52c", 2080428),
        "opencap-augmenter-upper": ("c674fbf1eafbc30f82141137e4ca6bea8a5578b0c30ce954fc6384f776570b7e", 2523263),
    }
    for name, (sha256, size) in rows.items():
        yield replace(_AUGMENTER, id=name, file=f"{name}.onnx", sha256=sha256, size_bytes=size)


PUBLISHED: Mapping[str, Card] = MappingProxyType(
    {card.id: card for part in (_detectors, _bodies, _whole_bodies, _parts_and_animals, _augmenters) for card in part()}
)
"""Every public network by its id. `file` is the name that it gets in the store."""
