"""The published reordering of COCO-WholeBody to OpenPose's 134 points (rtmlib, DWPose)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tests.parity.fill import Case

from vitruvian.skeletons import COCO_WHOLEBODY_133, OPENPOSE_134, convert, neck_score_binary


def test_reordering_equals_the_published_programs():
    case = Case(Path(__file__).parent / "cases" / "dwpose" / "openpose134")
    inputs = case.inputs()
    got = convert(inputs["keypoints"], inputs["scores"], COCO_WHOLEBODY_133, OPENPOSE_134)
    found = {
        "keypoints134": got.keypoints,
        "scores134_min_neck": got.scores,
        "neck_score_binary": neck_score_binary(inputs["scores"]),
    }
    for name, expected in case.outputs().items():
        assert found[name].dtype == expected.dtype
        np.testing.assert_allclose(found[name], expected, rtol=case.meta["rtol"], atol=case.meta["atol"], err_msg=name)
