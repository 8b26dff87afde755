"""Print the full paths of the recipe's background pictures: those below FOLDER (unpacked Debian packages) and scikit-image's samples.

python recipes/backgrounds.py FOLDER > photographs.local.txt
"""

from __future__ import annotations

import sys
from pathlib import Path

import skimage


def main() -> None:
    """For every name in photographs.txt the file that ends with it; a missing one is named on stderr."""
    root, here = Path(sys.argv[1]), Path(__file__).parent
    found = {str(p).split("/usr/share/", 1)[-1]: p for p in root.rglob("*") if p.is_file()}
    for name in (here / "photographs.txt").read_text().split("\n"):
        path = Path(skimage.__file__).parent.parent / name if name.startswith("skimage/") else found.get(name)
        if name and path and path.exists():
            print(path)
        elif name:
            print(f"missing: {name}", file=sys.stderr)


if __name__ == "__main__":
    main()
