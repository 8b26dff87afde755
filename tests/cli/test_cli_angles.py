"""`vitruvian capture --angles`: which files it writes, and that each holds what its name says."""

import numpy as np
import pytest

for package in ("cyclopts", "onnx"):
    pytest.importorskip(package)

from scenes import walk  # noqa: E402
from vitruvian.cli import main  # noqa: E402
from vitruvian.media import read_image  # noqa: E402


def test_each_person_gets_angles_as_page_table_and_picture_and_a_table_of_gait(capsys, networks, tmp_path):
    film, out = walk(tmp_path / "walk.mp4", np.arange(3) / 30), tmp_path / "out"
    nets = ["--detector", networks["detector"], "--pose", networks["pose"], "--no-mesh", "--no-overlay", "--device", "cpu"]
    assert main([str(word) for word in ("capture", film, "-o", out, "--angles", *nets)]) == 0
    printed = capsys.readouterr().out
    written = sorted(path.name for pattern in ("angles*", "gait*") for path in out.glob(pattern))
    assert written == [
        *(f"angles_person{person}.{end}" for person in (1, 2) for end in ("csv", "html", "png")),
        *(f"gait_person{person}.csv" for person in (1, 2)),
    ]
    assert all(name in printed for name in written)
    for person in (1, 2):
        table = (out / f"angles_person{person}.csv").read_text().splitlines()
        assert table[0].startswith("time [s],") and "[deg]" in table[0] and len(table) == 4
        assert (out / f"gait_person{person}.csv").read_text().startswith("parameter,unit,mean,standard deviation,count")
        assert read_image(out / f"angles_person{person}.png").ndim == 3
