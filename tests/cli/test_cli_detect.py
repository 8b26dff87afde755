"""`vitruvian detect` as a user sees it."""

import pytest
from cyclopts import App

from scenes import picture

owner_nets = pytest.importorskip("owner_nets", reason="needs onnx")

from vitruvian.cli.detect import detect  # noqa: E402
from vitruvian.errors import VitruvianError, WeightsError  # noqa: E402
from vitruvian.media import write_image  # noqa: E402

app = App(result_action="return_value")
app.default(detect)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_image("two.png", picture(owner_nets.BODIES))
    return tmp_path


def run(*arguments):
    return app([str(argument) for argument in arguments], exit_on_error=False)


def test_files_and_counts_are_told(here, capsys):
    assert run("two.png", "-o", "out", "--detector", owner_nets.heads(here), "--count-heads") == 0
    out = capsys.readouterr().out
    assert "2 person, 3 head" in out and "2 of 3 parts belong to somebody (the network's owners)" in out
    assert "2 of 3 heads belong to a body" in out
    for name in ("overlay.png", "objects.json", "objects.csv", "heads.csv"):
        assert f"out/{name}" in out and (here / "out" / name).is_file()
    assert (here / "out/heads.csv").read_text().splitlines()[1] == "0,0.000000,two.png,3,2,2"


def test_by_default_results_lie_beside(here, capsys):
    assert run("two.png", "--detector", owner_nets.facing(here), "--no-overlay", "--formats", "csv") == 0
    assert [path.name for path in (here / "two_objects").iterdir()] == ["objects.csv"]
    assert "2 people with the way they face" in capsys.readouterr().out


def test_contacts_are_a_table(here, capsys):
    assert run("two.png", "-o", "out", "--detector", owner_nets.contact_hands(here), "--contacts", "--no-overlay") == 0
    lines = (here / "out/contacts.csv").read_text().splitlines()
    assert lines[0].startswith("frame,time_s,file,hand,person,touched") and "hands may touch something" in capsys.readouterr().out


def test_what_is_live_is_for_capture(here):
    with pytest.raises(VitruvianError, match="vitruvian capture only"):
        run("camera:0")


def test_a_film_is_no_detector(here):
    (here / "film.mp4").write_bytes(b"film")
    with pytest.raises(WeightsError, match="not an .onnx"):
        run("two.png", "--detector", "film.mp4")
