"""`vitruvian body`: import, list and info."""

import pytest

from published_bodies import entries, write_npz, write_pickle
from vitruvian.cli.body import app
from vitruvian.errors import VitruvianError


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("VITRUVIAN_HOME", str(tmp_path / "home"))


def run(*arguments: str) -> object:
    return app([str(argument) for argument in arguments], exit_on_error=False, print_error=False)


def test_import_list_and_info(tmp_path, capsys):
    write_npz(tmp_path / "files" / "SMPLX_NEUTRAL.npz", entries("smplx"))
    write_pickle(tmp_path / "files" / "MANO_LEFT.pkl", entries("mano"))
    assert run("import", tmp_path / "files") == 0
    printed = capsys.readouterr().out
    assert "smplx-neutral" in printed and "fix_left_shape: unknown" in printed and "non-commercial" in printed
    run("list")
    listed = capsys.readouterr().out
    assert "compact" in listed and "mano-left" in listed and "55 joints" in listed
    run("info", "smplx-neutral")
    shown = capsys.readouterr().out
    assert "left_index1" in shown and "51, and the contour's" in shown and "45 components" in shown


def test_import_with_options(tmp_path, capsys):
    write_npz(tmp_path / "SMPLX_NEUTRAL.npz", entries("smplx", shapes=400))
    assert run("import", tmp_path / "SMPLX_NEUTRAL.npz", "--shapes", 10, "--expressions", 5) == 0
    run("list")
    assert "10 shape    5 expression" in capsys.readouterr().out


def test_a_refused_file_is_said_and_counts(tmp_path, capsys):
    (tmp_path / "SMPL_MALE.pkl").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    assert run("import", tmp_path) == 1
    assert "os.system" in capsys.readouterr().err


def test_an_empty_folder_is_an_error_with_a_remedy(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(VitruvianError, match="SMPLX_NEUTRAL"):
        run("import", tmp_path / "empty")
