"""Acclaim's ASF and AMC: bone axes and orders by hand, a real motion, hostile files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from format_takes import SHARED
from scipy.spatial.transform import Rotation

from vitruvian.errors import FormatError
from vitruvian.formats.acclaim import INCH, read_amc
from vitruvian.formats.bvh import end_positions, forward_kinematics

ASF = """# a comment
:version 1.10
:units
  length 0.45
  angle deg
:root
   order TX TY TZ RX RY RZ
   axis XYZ
   position 0 0 0
   orientation 0 0 0
:bonedata
  begin
     id 1
     name thigh
     direction 0 -2 0
     length 7
     axis 0 0 20 XYZ
     dof rx ry rz
     limits (-160.0 20.0)
  end
  begin
     name shin
     direction 0 -1 0
     length 8
     axis 10 20 30 XYZ
     dof rx
  end
:hierarchy
  begin
    root thigh
    thigh shin
  end
"""
AMC = ":FULLY-SPECIFIED\n:DEGREES\n1\nroot 1 2 3 10 20 30\nthigh 5 -6 7\nshin 40\n2\nroot 0 0 0 0 0 0\nthigh 0 0 0\nshin 0\n"


def files(tmp_path: Path, asf: str = ASF, amc: str = AMC) -> Path:
    (tmp_path / "11.asf").write_text(asf)
    (tmp_path / "11_01.amc").write_text(amc)
    return tmp_path / "11_01.amc"


def test_bones_turn_about_their_own_axes(tmp_path: Path):
    motion = read_amc(files(tmp_path))
    assert motion.names == ("root", "thigh", "shin") and motion.parents == (-1, 0, 1) and motion.frame_time == pytest.approx(1 / 120)
    assert motion.metres_per_unit == pytest.approx(INCH / 0.45)
    positions, _ = forward_kinematics(motion)
    root = Rotation.from_euler("xyz", [10, 20, 30], degrees=True)  # lower case: about fixed axes, x first
    axes = Rotation.from_euler("xyz", [0, 0, 20], degrees=True)
    thigh = root * axes * Rotation.from_euler("xyz", [5, -6, 7], degrees=True) * axes.inv()
    axes = Rotation.from_euler("xyz", [10, 20, 30], degrees=True)
    shin = thigh * axes * Rotation.from_euler("x", 40, degrees=True) * axes.inv()
    knee = np.array([1, 2, 3]) + thigh.apply([0, -7, 0])
    np.testing.assert_allclose(positions[0], [[1, 2, 3], [1, 2, 3], knee], atol=1e-12)
    np.testing.assert_allclose(end_positions(motion)[0], [knee + shin.apply([0, -8, 0])], atol=1e-12)
    np.testing.assert_allclose(end_positions(motion)[1], [[0, -15, 0]], atol=1e-12)  # all zeros is the rest pose


def test_the_skeleton_is_found_beside_the_motion_or_given(tmp_path: Path):
    path = files(tmp_path)
    (tmp_path / "11.asf").rename(tmp_path / "other.asf")
    with pytest.raises(FormatError, match="asf"):
        read_amc(path)
    assert len(read_amc(path, tmp_path / "other.asf", fps=60)) == 2


@pytest.mark.parametrize(
    ("asf", "amc"),
    [
        ("", AMC),
        ("words", AMC),
        (ASF.replace("root thigh", ""), AMC),
        (ASF.replace("thigh shin", "shin thigh"), AMC.replace("thigh 5 -6 7", "thigh 5")),
        (ASF.replace("thigh shin", "thigh shin arm"), AMC),
        (ASF.replace("direction 0 -1 0", "direction 0 -1"), AMC),
        (ASF.replace("dof rx\n", "dof rx rx\n"), AMC),
        (ASF.replace("dof rx\n", "dof roll\n"), AMC),
        (ASF.replace("10 20 30 XYZ", "10 20 30 XXZ"), AMC),
        (ASF.replace("10 20 30 XYZ", "10 20 nan XYZ"), AMC),
        (ASF, AMC.replace("shin 40", "shin")),
        (ASF, AMC.replace("shin 40", "shin 4e300")),
        (ASF, AMC.replace("shin 40", "shin nan")),
        (ASF, AMC.replace("shin 40", "wing 40")),
    ],
)
def test_hostile_files_are_format_errors(asf: str, amc: str, tmp_path: Path):
    with pytest.raises(FormatError):
        read_amc(files(tmp_path, asf, amc))


def test_bones_in_a_circle_end(tmp_path: Path):
    motion = read_amc(files(tmp_path, ASF.replace("thigh shin", "thigh shin\nshin root")))
    assert motion.names == ("root", "thigh", "shin")
    with pytest.raises(FormatError):  # the root leads nowhere then
        read_amc(files(tmp_path, ASF.replace("thigh shin", "thigh shin\nshin thigh")))


@pytest.mark.shared
def test_a_real_walker_stands_on_the_floor():
    path = SHARED / "motion" / "cmu_11_01.amc"
    if not path.exists():
        pytest.skip("no shared data beside the repository")
    motion = read_amc(path)
    assert len(motion) == 597 and len(motion.names) == 31
    positions = forward_kinematics(motion)[0] * motion.metres_per_unit
    height = {name: positions[:, i, 1] for i, name in enumerate(motion.names)}
    assert 1.4 < height["head"].mean() < 1.7 and 0.8 < height["lfemur"].mean() < 1.0
    toes = (
        end_positions(motion)[..., [motion.ends.index(motion.names.index(name)) for name in ("ltoes", "rtoes")], 1] * motion.metres_per_unit
    )
    lowest = toes.min(axis=1)  # one foot is always near the floor, its toes up as the heel strikes
    assert lowest.min() > -0.02 and lowest.max() < 0.15
    left = positions[:, motion.names.index("lhumerus")] - positions[:, motion.names.index("rhumerus")]
    forward = positions[-1, 0] - positions[0, 0]
    assert (np.cross(left, forward)[:, 1] < 0).mean() > 0.9  # the left shoulder is on the walker's left
