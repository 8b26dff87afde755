"""`python -m tests.parity DIR`: run every parity case under DIR and print how each one compares with its tolerance.

Exit code 1 if a case misses, 2 if there is no case. Cases of systems that have no runner yet are listed and don't count.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.parity.check import check, find_cases


def main() -> int:
    """Print the table; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.parity", description="Compare vitruvian with published programs.")
    parser.add_argument("folder", type=Path, nargs="?", default=Path(__file__).parent / "cases", help="holds SYSTEM/CASE.json and .npz")
    stems = find_cases(parser.parse_args().folder)
    if not stems:
        print("no cases found: give a folder that holds SYSTEM/CASE.json and SYSTEM/CASE.npz")
        return 2
    print(f"{'system':<14} {'case':<36} {'error / tolerance':>17} {'seconds':>8}  worst output")
    failed = 0
    for stem in stems:
        result = check(stem)
        failed += result.failed
        worst = "-" if result.worst is None else f"{result.worst:.3g}" + (" MISS" if result.failed else "")
        print(f"{result.system:<14} {result.case:<36} {worst:>17} {result.seconds:>8.2f}  {result.note}", flush=True)
    print(f"{len(stems)} cases, {failed} missed")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
