"""Importing the package is light, and every public name is where it says it is."""

from __future__ import annotations

import subprocess
import sys

import pytest

import vitruvian

HEAVY = ("torch", "cv2", "onnxruntime", "av", "numpy", "rich", "cyclopts")


def loaded_after(code: str) -> set[str]:
    """The heavy modules that a fresh interpreter holds after `code`."""
    check = f"import sys; {code}; print(','.join(m for m in {HEAVY!r} if m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    return set(filter(None, done.stdout.strip().split(",")))


def test_import_loads_nothing_heavy():
    assert loaded_after("import vitruvian; vitruvian.__version__; dir(vitruvian)") == set()


def test_results_need_numpy_only():
    code = "import vitruvian as vt; vt.Take; vt.convert; import vitruvian.formats.coco, vitruvian.formats.openpose, vitruvian.metrics"
    assert loaded_after(code) == {"numpy"}


@pytest.mark.parametrize("name", sorted(set(vitruvian.__all__) - {"capture"}))
def test_public_name_loads(name: str):
    assert getattr(vitruvian, name) is not None
    assert name in dir(vitruvian)


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="nothing_like_this"):
        _ = vitruvian.nothing_like_this


def test_capture_is_the_function_even_after_its_room_was_imported():
    code = "import vitruvian.capture, vitruvian as vt; from vitruvian.capture import capture; assert vt.capture is capture"
    assert "torch" not in loaded_after(f"{code}; assert callable(capture)")
