"""Collect the recipe's background pictures and print their paths: those below FOLDER (unpacked packages) and scikit-image's samples.

python recipes/backgrounds.py FOLDER PICTURES > photographs.local.txt

Every line of photographs.txt names one file: below `usr/share` of a package, or `ARCHIVE!MEMBER` inside a zip file (.pk3, .sh3f, .zip) or a
Qt resource file (.rcc) of one, or `skimage/...`. Small copies are written to the folder PICTURES: photographs with longer sides of
480 to 1000 pixels, textures (the games' pictures) of 384 at most, cut-outs (pictures with transparent parts) of 200; by that
`vitruvian.synth.backgrounds` tells the three apart.
"""

from __future__ import annotations

import io
import struct
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import skimage
from PIL import Image


def resources(data: bytes) -> dict[str, bytes]:
    """The uncompressed files of a Qt resource file, by path."""
    version, tree, start, names = struct.unpack(">4I", data[4:20])
    step, found = 14 if version < 2 else 22, {}

    def walk(node: int, path: str) -> None:
        at = tree + node * step
        name_at, flags, a, b = struct.unpack(">IHII", data[at : at + 14])
        length = struct.unpack(">H", data[names + name_at : names + name_at + 2])[0] if node else 0
        name = data[names + name_at + 6 : names + name_at + 6 + 2 * length].decode("utf-16-be")
        path = f"{path}/{name}" if path else name
        if flags & 2:
            for child in range(b, b + a):
                walk(child, path)
        elif not flags & 5:
            size = struct.unpack(">I", data[start + b : start + b + 4])[0]
            found[path] = data[start + b + 4 : start + b + 4 + size]

    walk(0, "")
    return found


def opened(archive: Path) -> Callable[[str], bytes]:
    """A reader of the members of a zip or Qt resource file."""
    return resources(archive.read_bytes()).__getitem__ if archive.suffix == ".rcc" else zipfile.ZipFile(archive).read


def small(data: bytes, name: str) -> Image.Image:
    """A picture resized to what its kind needs; with an alpha channel only if it is a cut-out. A landscape with a clear sky is none."""
    image = Image.open(io.BytesIO(data)).convert("RGBA")
    if not name.startswith("stellarium/") and (np.asarray(image)[..., 3] < 40).mean() > 0.05:
        image.thumbnail((200, 200), Image.Resampling.LANCZOS)
        return image
    least, most = (1, 384) if name.startswith("games/") else (480, 1000)
    scale = np.clip(1, least / max(image.size), most / max(image.size))
    return image.convert("RGB").resize([max(1, round(side * scale)) for side in image.size], Image.Resampling.LANCZOS)


def main() -> None:
    """Write the small copies and print their paths; what is missing is named on stderr."""
    root, out, here = Path(sys.argv[1]), Path(sys.argv[2]).resolve(), Path(__file__).parent
    out.mkdir(parents=True, exist_ok=True)
    found = {str(p).split("/usr/share/", 1)[-1]: p for p in root.rglob("*") if p.is_file()}
    readers: dict[Path, Callable[[str], bytes]] = {}
    for number, name in enumerate((here / "photographs.txt").read_text().splitlines()):
        outer, _, member = name.partition("!")
        path = Path(skimage.__file__).parent.parent / name if name.startswith("skimage/") else found.get(outer)
        try:
            if member and path not in readers:
                readers[path] = opened(path)
            image = small(readers[path](member) if member else path.read_bytes(), name)
        except (OSError, KeyError, AttributeError, zipfile.BadZipFile) as error:
            print(f"missing: {name} ({error})", file=sys.stderr)
            continue
        file = out / f"{number:04d}-{Path(member or name).stem}{'.png' if image.mode == 'RGBA' else '.jpg'}"
        image.save(file, quality=92)
        print(file)


if __name__ == "__main__":
    main()
