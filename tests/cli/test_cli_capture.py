"""`vitruvian capture`: which options go with which kind of capture, several cameras, and what is said before and after the work."""

import re
import subprocess
import sys
from dataclasses import fields
from inspect import signature
from pathlib import Path

import numpy as np
import pytest

from scenes import boxes_at, film, picture, walk

pytest.importorskip("nets", reason="needs onnx")

from two_cameras import write_films  # noqa: E402
from vitruvian import __version__  # noqa: E402
from vitruvian.capture import Progress, capture  # noqa: E402
from vitruvian.capture import cameras as cameras_module  # noqa: E402
from vitruvian.capture.cameras import capture_cameras  # noqa: E402
from vitruvian.cli import main  # noqa: E402
from vitruvian.cli.capture import Told  # noqa: E402
from vitruvian.cli.options import Bodies, Cameras, Films, Networks, Results, offsets_in, refuse  # noqa: E402
from vitruvian.errors import VitruvianError  # noqa: E402
from vitruvian.formats.calibration import write_calibration  # noqa: E402
from vitruvian.geometry.camera import Camera, pinhole  # noqa: E402
from vitruvian.media import write_image  # noqa: E402
from vitruvian.skeletons import COCO_17  # noqa: E402
from vitruvian.take import People, Take  # noqa: E402


def run(capsys, *arguments):
    """Exit code, stdout, stderr of `vitruvian capture ARGUMENTS`."""
    code = main(["capture", *map(str, arguments)])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """left.mp4, right.mp4 and calibration.toml."""
    return write_films(tmp_path_factory.mktemp("films"))


@pytest.fixture
def two(films, networks):
    """The arguments of a capture of both films."""
    nets = ["--detector", networks["detector"], "--pose", networks["pose"], "--device", "cpu"]
    return [films / "left.mp4", films / "right.mp4", "--calibration", films / "calibration.toml", *nets]


@pytest.fixture
def nets(networks):
    return ["--detector", networks["detector"], "--pose", networks["pose"], "--no-mesh", "--device", "cpu"]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_python_m_vitruvian_is_the_command():
    done = subprocess.run([sys.executable, "-m", "vitruvian", "--version"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and done.stdout.strip() == __version__


def test_help_is_grouped_and_tells_the_defaults_of_the_library(capsys):
    assert main(["capture", "--help"]) == 0
    out = capsys.readouterr().out
    for group in ("Networks", "Films", "Several cameras", "Bodies", "Results"):
        assert f"─ {group} ─" in out
    for function, names in ((capture, ("detector", "pose", "threshold", "lift")), (capture_cameras, ("min_views", "smooth"))):
        for name in names:
            assert str(signature(function).parameters[name].default) in out, name


def test_every_option_belongs_to_a_function_of_the_library():
    known = set(signature(capture).parameters) | set(signature(capture_cameras).parameters)
    options = {field.name for theme in (Networks, Films, Cameras, Bodies, Results) for field in fields(theme)}
    assert options - known == {"mesh_network", "voxels", "angles", "opensim", "profile"}


@pytest.mark.parametrize(
    "options",
    ["--repair-swaps", "--ground", "--fov 60", "--realtime", "--lift lift-s"],
)
def test_options_that_mean_nothing_for_several_cameras_are_refused(capsys, two, here, options):
    code, out, err = run(capsys, *two, *options.split())
    assert code == 2 and out == "" and err.count("\n") == 1
    assert f"these options mean nothing with --calibration, for several cameras: {options.split()[0]};" in err
    assert not list(here.iterdir())


@pytest.mark.parametrize("options", ["--offsets auto", "--up y", "--up=-y", "--min-views 3"])
def test_options_of_several_cameras_mean_nothing_for_one(capsys, nets, here, options):
    walk(here / "walk.mp4", np.arange(2) / 30)
    code, _, err = run(capsys, "walk.mp4", *nets, *options.split())
    assert code == 2 and f"without --calibration: {options.replace('=', ' ').split()[0]};" in err


def test_options_of_bodies_mean_nothing_without_bodies(capsys, nets, here):
    walk(here / "walk.mp4", np.arange(2) / 30)
    code, _, err = run(capsys, "walk.mp4", *nets, "--fov", "60", "--ground")
    assert code == 2 and "without bodies (--no-mesh): --fov, --ground;" in err


def test_a_calibration_tells_how_wide_a_single_camera_sees(capsys, monkeypatch, nets, here):
    asked = {}

    def instead(source, out, *, on_progress, **options):
        asked.update(options)
        out.mkdir()
        return Take.load(_nobody(out))

    instead.__signature__ = signature(capture)
    monkeypatch.setattr(sys.modules["vitruvian.capture"], "capture", instead)
    walk(here / "walk.mp4", np.arange(2) / 30)
    write_calibration([Camera(pinhole((160, 120), 73), size=(160, 120))], here / "c.toml")
    assert run(capsys, "walk.mp4", "--calibration", "c.toml")[0] == 0 and abs(asked["fov"] - 73) < 1e-6
    code, _, err = run(capsys, "walk.mp4", "--calibration", "c.toml", "--fov", "60")
    assert code == 2 and "leave --fov away" in err
    code, _, err = run(capsys, "walk.mp4", "--calibration", "c.toml", "--up", "y")
    assert code == 2 and "mean nothing for one camera: --up;" in err


def test_options_reach_the_capture_of_several_cameras(capsys, monkeypatch, films, here):
    asked = {}
    monkeypatch.setattr(cameras_module, "capture_cameras", _like(capture_cameras, asked))
    options = "--no-mesh --smooth one-euro --offsets -0.1,0 --up -y --min-views 2 --formats csv,trc --threshold 0.5"
    code, *_ = run(capsys, "a.mp4", "b.mp4", "--calibration", "c.toml", "-o", "out", *options.split())
    assert code == 0 and asked == {
        **{"smooth": "one-euro", "offsets": [-0.1, 0.0], "up": "-y", "min_views": 2, "formats": ["csv", "trc"], "threshold": 0.5},
        "mesh": False,
    }


def test_voxels_see_several_cameras_at_once(capsys, monkeypatch, films, here):
    module = pytest.importorskip("vitruvian.systems.pose3d.voxel_capture")
    asked = {}
    monkeypatch.setattr(module, "capture_voxels", _like(module.capture_voxels, asked, "weights"))
    two = ["a.mp4", "b.mp4", "--calibration", "c.toml", "-o", "out", "--voxels", "w.pth.tar"]
    assert run(capsys, *two, "--offsets", "0,-0.1", "--up", "y")[0] == 0
    assert asked == {"weights": Path("w.pth.tar"), "offsets": [0.0, -0.1], "up": "y"}
    for options, words in (("--offsets auto", "give seconds"), ("--pose rtmw-m", "with --voxels, which alone finds the people: --pose;")):
        code, _, err = run(capsys, *two, *options.split())
        assert code == 2 and words in err
    code, _, err = run(capsys, "a.mp4", "--voxels", "w.pth.tar")
    assert code == 2 and "without --calibration: --voxels;" in err


def _like(function, asked, *more):
    """A function with the same parameters that keeps what it is asked for."""

    def instead(sources, calibration, *rest, on_progress, **options):
        *given, out = rest
        asked.update(options, **dict(zip(more, given, strict=True)))
        out.mkdir()
        return Take.load(_nobody(out))

    instead.__signature__ = signature(function)
    return instead


def _nobody(folder):
    Take(People.empty(17), COCO_17, np.zeros(0), np.zeros((0, 2)), ()).save(folder / "take.npz")
    return folder / "take.npz"


def test_several_cameras_count_the_frames_and_times_of_all(capsys, two, here):
    code, out, _ = run(capsys, *two, "-o", "out", "--formats", "csv", "--profile")
    lines = out.splitlines()
    assert code == 0 and lines[0].startswith("12 frames of 2 cameras, 1 track, ") and "points.csv" in out and "people.trc" not in out
    assert main(["info", "out/take.npz"]) == 0 and "0 x 0" not in capsys.readouterr().out
    decode = next(line.split() for line in lines if line.split()[0] == "detect")
    assert float(decode[3]) == pytest.approx(1000 * float(decode[1]) / 24, rel=0.2, abs=0.5)


def test_stages_and_frames_are_those_of_all_films():
    told = Told()
    told.newest |= {"left": Progress(12, 12, 1, {"pose": 2.0, "track": 1.0}, resumed=4), "right": Progress(10, 12, 1, {"pose": 3.0})}
    assert told.frames == 22 and told.seconds == {"pose": 5.0, "track": 1.0}
    assert told.done_now == 18


@pytest.mark.parametrize("names", [["a.png"], ["a.png", "b.png"]])
def test_angles_of_pictures_are_refused_before_any_work(capsys, nets, here, names):
    for name in names:
        write_image(here / name, picture(boxes_at(0)))
    code, out, err = run(capsys, *names, "-o", "out", "--angles", *nets)
    assert code == 2 and out == "" and "leave --angles away" in err and not (here / "out").exists()


def test_angles_of_nobody_are_said_to_be_none(capsys, nets, here):
    walk(here / "walk.mp4", np.arange(3) / 30)
    code, out, err = run(capsys, "walk.mp4", "-o", "out", "--angles", "--threshold", "0.95", *nets)
    assert code == 0 and "0 people" in out and "nobody is in this take: no joint angles" in out and err == ""
    assert out.index("take.npz") < out.index("nobody")


def test_what_a_capture_wrote_is_listed_before_a_report_fails(capsys, monkeypatch, nets, here):
    walk(here / "walk.mp4", np.arange(3) / 30)

    def fails(*_):
        raise VitruvianError("no report")

    monkeypatch.setattr("vitruvian.biomechanics.report.write_report", fails)
    code, out, err = run(capsys, "walk.mp4", "-o", "out", "--angles", *nets)
    assert code == 2 and "3 frames, 2 tracks" in out and "take.npz" in out and "no report" in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["walk.mp4", "walk.mp4"], "2 videos: capture one at a time; .*--calibration"),
        (["walk.mp4", "--pose", "walk.mp4"], "walk.mp4 is a file, but not an .onnx"),
        (["walk.mp4", "--mesh-network", "walk.mp4"], "not an .onnx"),
        (["walk.mp4", "-o", "walk.mp4"], "walk.mp4 is a file, and a folder is needed"),
        (["camera:0", "--mesh-network", "multi-hmr.onnx"], "can't be seen twice, as meshes need it: leave --mesh-network away"),
        (["camera:0", "--ground"], "for cameras and streams, which get no bodies: --ground"),
    ],
)
def test_mistakes_are_told_by_what_to_do(capsys, here, arguments, words):
    walk(here / "walk.mp4", np.arange(2) / 30)
    code, out, err = run(capsys, *arguments)
    assert code == 2 and out == "" and re.search(words, err), err


def test_info_of_a_video_says_how_to_make_a_take(capsys, here):
    assert main(["info", "short.mp4"]) == 2
    assert "vitruvian capture short.mp4 makes one" in capsys.readouterr().err


def test_one_track_is_one(capsys, nets, here):
    film(here / "one.mp4", np.arange(3) / 30, [picture(boxes_at(time)[:1]) for time in np.arange(3) / 30])
    assert "3 frames, 1 track, " in run(capsys, "one.mp4", *nets)[1]


def test_offsets_are_seconds_or_auto():
    assert offsets_in("auto") == "auto" and offsets_in("0, -0.52,1.3") == [0.0, -0.52, 1.3]
    with pytest.raises(VitruvianError, match="write auto"):
        offsets_in("0;1")


def test_what_is_not_wanted_is_not_refused_and_zero_is_a_value():
    refuse({"mesh": False}, ["mesh"], "here")
    with pytest.raises(VitruvianError, match="nothing here: --fov, --min-views;"):
        refuse({"fov": 0.0, "mesh": False, "min_views": 2}, ["fov", "mesh", "min_views"], "here")
