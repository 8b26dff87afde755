"""How many labels hSDB-instrument has of each class, from its site (card hsdb-instrument.md section 6): what has to be balanced."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Count(NamedTuple):
    """Real labels of the splits, and those that synthetic and randomised frames add to training."""

    train: int
    val: int
    test: int
    added: int


# fmt: off
_CHOLECYSTECTOMY = {
    "AtraumaticGrasper_Body": (6639, 1204, 1235, 0), "AtraumaticGrasper_Head": (10227, 2482, 2515, 0),
    "ClipApplier(Hem-O-Lok)_Body": (9, 5, 44, 2000), "ClipApplier(Hem-O-Lok)_Head": (10, 8, 102, 2000),
    "ClipApplier(Metal)_Body": (471, 63, 106, 2000), "ClipApplier(Metal)_Head": (658, 77, 120, 2000),
    "CurvedAtraumaticGrasper_Body": (1931, 382, 181, 0), "CurvedAtraumaticGrasper_Head": (3796, 554, 267, 0),
    "Electrichook": (8122, 1500, 2526, 0), "Ligasure_Body": (0, 411, 0, 2000), "Ligasure_Head": (0, 422, 0, 2000),
    "Overholt_Body": (335, 83, 88, 2000), "Overholt_Head": (392, 125, 99, 2000), "Scissors_Body": (239, 142, 146, 2000),
    "Scissors_Head": (305, 201, 182, 2000), "Specimanbag": (1462, 145, 425, 0), "Suction-Irrigation": (1180, 405, 466, 0),
}
_GASTRECTOMY = {
    "AtraumaticGrasper_Body": (0, 118, 0, 2000), "AtraumaticGrasper_Head": (0, 151, 0, 2000), "Baxter": (1672, 25, 35, 0),
    "CadiereForceps_Body": (5787, 815, 1477, 0), "CadiereForceps_Head": (9346, 1337, 3986, 0),
    "CadiereForceps_Wrist": (6284, 800, 1815, 0), "CovidienUltrasonic_Body": (505, 512, 501, 0),
    "CovidienUltrasonic_Head": (506, 558, 505, 0), "CurvedAtraumaticGrasper_Body": (3220, 903, 482, 0),
    "CurvedAtraumaticGrasper_Head": (4404, 1537, 677, 0), "HarmonicAce_Body": (14189, 2006, 2948, 0),
    "HarmonicAce_Head": (18963, 2509, 4088, 0), "MarylandBipolarForceps_Body": (6847, 1140, 2059, 0),
    "MarylandBipolarForceps_Head": (17506, 2656, 5067, 0), "MarylandBipolarForceps_Wrist": (14378, 2196, 4460, 0),
    "Medium-LargeClipApplier_Body": (185, 15, 24, 1971), "Medium-LargeClipApplier_Head": (439, 50, 80, 1765),
    "Medium-LargeClipApplier_Wrist": (330, 30, 57, 1928), "Needle": (949, 727, 44, 0), "Needle-holder_Body": (408, 619, 0, 0),
    "Needle-holder_Head": (441, 623, 0, 0), "Overholt_Body": (0, 105, 0, 1962), "Overholt_Head": (0, 152, 0, 1968),
    "Scissors_Body": (100, 50, 103, 1962), "Scissors_Head": (101, 104, 109, 1952), "SmallClipApplier_Body": (237, 25, 24, 1971),
    "SmallClipApplier_Head": (370, 44, 40, 1793), "SmallClipApplier_Wrist": (323, 36, 34, 1847), "Specimanbag": (1541, 556, 375, 0),
    "Stapler_Body": (676, 111, 1035, 1979), "Stapler_Head": (1581, 264, 1341, 0), "Suction-Irrigation": (143, 11, 19, 1971),
    "Tube": (676, 79, 0, 0),
}
# fmt: on
LABELS: Mapping[str, Mapping[str, Count]] = {
    surgery: {name: Count(*counts) for name, counts in table.items()}
    for surgery, table in (("cholecystectomy", _CHOLECYSTECTOMY), ("gastrectomy", _GASTRECTOMY))
}
"""By surgery and class. Several classes are in one split only."""
