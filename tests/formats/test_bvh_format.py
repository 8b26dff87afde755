"""BVH: any dialect is read exactly, forward kinematics against a reading by hand, write-read, real files, hostile files."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from format_takes import SHARED
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from vitruvian.errors import FormatError, VitruvianError
from vitruvian.formats.bvh import MAX_JOINTS, Bvh, end_positions, forward_kinematics, read_bvh, renamed, rescaled, write_bvh

TWO_JOINTS = """HIERARCHY
ROOT Hips
{
  OFFSET 1 2 3
  CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation
  JOINT Left Leg
  {
    OFFSET 0 -4 0
    CHANNELS 3 Zrotation Xrotation Yrotation
    End Site
    {
      OFFSET 0 -3 0.5
    }
  }
}
MOTION
Frames: 2
Frame Time: 0.04
0 90 0 0 0 0 0 0 0
5 80 -1 90 0 0 10 20 30
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "a.bvh"
    path.write_bytes(text.encode())
    return path


def test_reads_names_offsets_times_and_end_sites(tmp_path: Path):
    motion = read_bvh(written(tmp_path, TWO_JOINTS))
    assert motion.names == ("Hips", "Left Leg") and motion.parents == (-1, 0) and motion.orders == ("ZXY", "ZXY")
    assert motion.offsets.tolist() == [[1, 2, 3], [0, -4, 0]] and motion.ends == (1,) and motion.end_offsets.tolist() == [[0, -3, 0.5]]
    assert len(motion) == 2 and motion.times.tolist() == [0, 0.04] and motion.translation.tolist() == [[0, 90, 0], [5, 80, -1]]
    assert motion.positions is None


def test_forward_kinematics_is_the_product_in_channel_order(tmp_path: Path):
    motion = read_bvh(written(tmp_path, TWO_JOINTS))
    positions, orientations = forward_kinematics(motion)
    # By hand: the root turns by 90 degrees about z, which takes -y to +x; root positions replace the root's OFFSET.
    np.testing.assert_allclose(positions[0], [[0, 90, 0], [0, 86, 0]], atol=1e-12)
    np.testing.assert_allclose(positions[1], [[5, 80, -1], [9, 80, -1]], atol=1e-12)
    expected = Rotation.from_euler("Z", 90, degrees=True) * Rotation.from_euler("ZXY", [10, 20, 30], degrees=True)
    np.testing.assert_allclose(orientations[1, 1], expected.as_matrix(), atol=1e-12)
    np.testing.assert_allclose(end_positions(motion)[1, 0], [9, 80, -1] + expected.apply([0, -3, 0.5]), atol=1e-12)


DIALECTS = {
    "carriage returns": TWO_JOINTS.replace("\n", "\r\n"),
    "braces on the line": TWO_JOINTS.replace("\n{", " {").replace("\n  {", " {"),
    "lower case": TWO_JOINTS.replace("HIERARCHY", "Hierarchy").replace("OFFSET", "Offset").replace("MOTION", "Motion"),
    "tabs, blank lines, a byte order mark": "\ufeff" + TWO_JOINTS.replace("  ", "\t").replace("\n", "\n\n"),
    "rows wrapped": TWO_JOINTS.replace("5 80 -1 90 0", "5 80 -1\n90 0"),
    "exponents": TWO_JOINTS.replace("-4", "-4.0e0").replace("80", "8e+1"),
    "no newline at the end": TWO_JOINTS.rstrip(),
    "spaces before the colon": TWO_JOINTS.replace("Frames:", "Frames :").replace("Frame Time:", "Frame Time :\t"),
    "a named end site": TWO_JOINTS.replace("End Site", "End Site toe"),
    "channels before the offset": TWO_JOINTS.replace(
        "    OFFSET 0 -4 0\n    CHANNELS 3 Zrotation Xrotation Yrotation\n",
        "    CHANNELS 3 Zrotation Xrotation Yrotation\n    OFFSET 0 -4 0\n",
    ),
}


@pytest.mark.parametrize("text", DIALECTS.values(), ids=DIALECTS)
def test_dialects_read_alike(text: str, tmp_path: Path):
    plain, other = read_bvh(written(tmp_path, TWO_JOINTS)), read_bvh(written(tmp_path, text))
    assert other.names == plain.names and len(other) == 2
    np.testing.assert_allclose(end_positions(other), end_positions(plain), atol=1e-12)


def test_rotations_before_positions_and_in_another_order(tmp_path: Path):
    text = TWO_JOINTS.replace(
        "Xposition Yposition Zposition Zrotation Xrotation Yrotation", "Yrotation Xrotation Zrotation Zposition Yposition Xposition"
    )
    motion = read_bvh(written(tmp_path, text))
    assert motion.orders[0] == "YXZ" and motion.translation[1].tolist() == [0, 0, 90]
    expected = Rotation.from_euler("YXZ", [5, 80, -1], degrees=True).as_matrix()
    np.testing.assert_allclose(motion.rotations[1, 0], expected, atol=1e-12)


def test_joints_with_one_channel_with_none_and_with_six(tmp_path: Path):
    text = """HIERARCHY
ROOT a { OFFSET 1 2 3 CHANNELS 1 Yrotation
  JOINT b { OFFSET 0 1 0 CHANNELS 0 JOINT c { OFFSET 0 1 0
      CHANNELS 6 Xposition Yposition Zposition Xrotation Yrotation Zrotation End Site { OFFSET 0 1 0 } } } }
MOTION Frames: 1 Frame Time: 1
90 7 8 9 0 0 0"""
    motion = read_bvh(written(tmp_path, text))
    positions, _ = forward_kinematics(motion)
    # Without position channels a root stays at its OFFSET; the six channels of c replace its OFFSET. Ry(90): (7, 8, 9) -> (9, 8, -7).
    np.testing.assert_allclose(positions[0], [[1, 2, 3], [1, 3, 3], [10, 11, -4]], atol=1e-12)
    write_bvh(motion, tmp_path / "b.bvh")
    back = read_bvh(tmp_path / "b.bvh")
    np.testing.assert_allclose(end_positions(back), end_positions(motion), atol=1e-5)
    assert back.orders == ("YXZ", "ZXY", "XYZ")


def test_several_roots_and_equal_names(tmp_path: Path):
    root = "ROOT a { OFFSET 0 0 0 CHANNELS 3 Xposition Yposition Zposition JOINT a { OFFSET 1 0 0 End Site { OFFSET 1 0 0 } } }\n"
    motion = read_bvh(written(tmp_path, f"HIERARCHY\n{root}{root}MOTION\nFrames: 1\nFrame Time: 1\n1 2 3 4 5 6"))
    assert motion.names == ("a", "a_2", "a_3", "a_4") and motion.parents == (-1, 0, -1, 2)
    np.testing.assert_allclose(forward_kinematics(motion)[0][0, [1, 3]], [[2, 2, 3], [5, 5, 6]])
    write_bvh(motion, tmp_path / "b.bvh")
    np.testing.assert_allclose(end_positions(read_bvh(tmp_path / "b.bvh")), end_positions(motion), atol=1e-6)


@st.composite
def motions(draw: st.DrawFn) -> Bvh:
    joints, frames = draw(st.integers(1, 6)), draw(st.integers(0, 4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    parents, last = [-1], [0]
    for joint in range(1, joints):  # depth first: a parent is the last joint or one that it hangs from
        keep = draw(st.integers(1, len(last)))
        last = last[:keep]
        parents.append(last[-1])
        last.append(joint)
    ends = tuple(sorted(draw(st.sets(st.integers(0, joints - 1)))))
    offsets = rng.normal(scale=20, size=(joints, 3))
    positions = None
    if draw(st.booleans()):
        positions = np.tile(offsets, (frames, 1, 1))
        positions[:, rng.integers(joints)] = rng.normal(scale=20, size=(frames, 3))
    return Bvh(
        names=tuple(f"joint {i}" for i in range(joints)),
        parents=tuple(parents),
        offsets=offsets,
        rotations=Rotation.random(frames * joints, rng=rng).as_matrix().reshape(frames, joints, 3, 3)
        if frames
        else np.zeros((0, joints, 3, 3)),
        translation=rng.normal(scale=100, size=(frames, 3)) if positions is None else positions[:, 0],
        frame_time=draw(st.sampled_from([1 / 30, 0.0083333, 1.0])),
        orders=tuple(draw(st.sampled_from(["XYZ", "ZXY", "ZYX", "YXZ", "YZX", "XZY"])) for _ in range(joints)),
        ends=ends,
        end_offsets=rng.normal(size=(len(ends), 3)),
        positions=positions,
    )


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(motion=motions())
def test_write_read(motion: Bvh, tmp_path: Path):
    write_bvh(motion, tmp_path / "a.bvh")
    back = read_bvh(tmp_path / "a.bvh")
    assert (back.names, back.parents, back.orders, back.ends) == (motion.names, motion.parents, motion.orders, motion.ends)
    assert math.isclose(back.frame_time, motion.frame_time, rel_tol=1e-8) and len(back) == len(motion)
    np.testing.assert_allclose(back.offsets[1:], motion.offsets[1:], atol=6e-7)
    np.testing.assert_allclose(back.rotations, motion.rotations, atol=1e-7)
    np.testing.assert_allclose(end_positions(back), end_positions(motion), atol=2e-5)


def test_written_as_the_card_says(tmp_path: Path):
    motion = read_bvh(written(tmp_path, TWO_JOINTS))
    write_bvh(motion, tmp_path / "b.bvh")
    lines = [line.strip() for line in (tmp_path / "b.bvh").read_text().splitlines()]
    assert lines[:5] == [
        "HIERARCHY", "ROOT Hips", "{", "OFFSET 0.000000 0.000000 0.000000",
        "CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation",
    ]  # fmt: skip
    start = lines.index("MOTION")
    assert lines[start : start + 3] == ["MOTION", "Frames: 2", "Frame Time: 0.04"]
    assert [float(cell) for cell in lines[start + 4].split()] == pytest.approx([5, 80, -1, 90, 0, 0, 10, 20, 30])


def test_gaps_and_unfit_motions_are_refused(tmp_path: Path):
    motion = read_bvh(written(tmp_path, TWO_JOINTS))
    gap = motion.translation.copy()
    gap[1] = np.nan
    with pytest.raises(FormatError, match="gaps"):
        write_bvh(replace(motion, translation=gap), tmp_path / "b.bvh")
    assert not (tmp_path / "b.bvh").exists()
    for change in (
        {"parents": (0, 0)},
        {"translation": np.zeros((1, 3))},
        {"frame_time": 0.0},
        {"ends": (5,), "end_offsets": np.zeros((1, 3))},
    ):
        with pytest.raises(VitruvianError, match="hold together"):
            replace(motion, **change)


def test_joints_can_be_renamed(tmp_path: Path):
    motion = read_bvh(written(tmp_path, TWO_JOINTS))
    assert renamed(motion, {"Hips": "mixamorig:Hips"}).names == ("mixamorig:Hips", "Left Leg")


def test_rescaled_to_another_unit(tmp_path: Path):
    motion = replace(read_bvh(written(tmp_path, TWO_JOINTS)), metres_per_unit=0.0254)
    found = rescaled(motion, 0.01)
    np.testing.assert_allclose(end_positions(found), end_positions(motion) * 2.54)
    assert found.metres_per_unit == 0.01
    with pytest.raises(FormatError, match="unit"):
        rescaled(replace(motion, metres_per_unit=None), 0.01)


HOSTILE = {
    "empty": "",
    "no hierarchy": "MOTION\nFrames: 1\nFrame Time: 1\n1",
    "no joints": "HIERARCHY\nMOTION\nFrames: 0\nFrame Time: 1\n",
    "not closed": TWO_JOINTS.replace("}\nMOTION", "MOTION"),
    "closed twice": TWO_JOINTS.replace("}\nMOTION", "}\n}\nMOTION"),
    "a joint without a root": TWO_JOINTS.replace("ROOT", "JOINT"),
    "a root within": TWO_JOINTS.replace("JOINT", "ROOT"),
    "a joint in an end site": TWO_JOINTS.replace("OFFSET 0 -3 0.5", "JOINT x { OFFSET 0 0 0 }"),
    "an unknown channel": TWO_JOINTS.replace("Zrotation", "Wrotation"),
    "a wrong number of channels": TWO_JOINTS.replace("CHANNELS 3", "CHANNELS 4"),
    "two numbers for an offset": TWO_JOINTS.replace("OFFSET 0 -4 0", "OFFSET 0 -4"),
    "an infinite offset": TWO_JOINTS.replace("-4", "-inf"),
    "a NaN offset": TWO_JOINTS.replace("-4", "nan"),
    "a word among the numbers": TWO_JOINTS.replace("80", "eighty"),
    "NaN among the numbers": TWO_JOINTS.replace("80", "nan"),
    "a huge number": TWO_JOINTS.replace("80", "1e300"),
    "a row too few": TWO_JOINTS.replace("Frames: 2", "Frames: 3"),
    "a row too many": TWO_JOINTS.replace("Frames: 2", "Frames: 1"),
    "a number too few": TWO_JOINTS.rstrip()[:-3],
    "billions of frames": TWO_JOINTS.replace("Frames: 2", "Frames: 999999999"),
    "more digits than a number": TWO_JOINTS.replace("Frames: 2", "Frames: " + "9" * 5000),
    "no frame time": TWO_JOINTS.replace("0.04", "0"),
    "a negative frame time": TWO_JOINTS.replace("0.04", "-1"),
    "nested deep": "HIERARCHY\nROOT a {" + "JOINT a {" * 100_000,
    "binary": "\0" * 1000,
    "millions of joints": "HIERARCHY\nROOT a {" + "JOINT a { }" * 200_000,
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_files_are_format_errors(text: str, tmp_path: Path):
    with pytest.raises(FormatError):
        read_bvh(written(tmp_path, text))


def test_missing_and_oversized_files(tmp_path: Path):
    with pytest.raises(FormatError, match="check the path"):
        read_bvh(tmp_path / "none.bvh")
    with pytest.raises(FormatError, match="max_bytes"):
        read_bvh(written(tmp_path, TWO_JOINTS), max_bytes=100)
    assert MAX_JOINTS > 1000


@pytest.mark.shared
@pytest.mark.parametrize("name", ["cmu_01_01", "cmu_12_01", "cmu_131_01", "cmu_131_03"])
def test_real_files_survive_a_write(name: str, tmp_path: Path):
    path = SHARED / "motion" / f"{name}.bvh"
    if not path.exists():
        pytest.skip("no shared data beside the repository")
    motion = read_bvh(path)
    assert len(motion.names) == 31 and len(motion.ends) == 7 and motion.frame_time == 0.0083333
    rest = np.linalg.norm(motion.offsets[2:], axis=-1)
    positions, _ = forward_kinematics(motion)
    bones = np.linalg.norm(positions[:, 2:] - positions[:, list(motion.parents[2:])], axis=-1)
    np.testing.assert_allclose(bones, np.broadcast_to(rest, bones.shape), atol=1e-9)  # rotations change no length
    assert positions[..., 1].min() > -3 and np.ptp(positions[..., 1], axis=1).min() > 10  # upright, and on the floor
    write_bvh(motion, tmp_path / "again.bvh")
    np.testing.assert_allclose(forward_kinematics(read_bvh(tmp_path / "again.bvh"))[0], positions, atol=1e-5)
