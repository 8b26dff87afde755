"""What a synthetic picture is made with: one switch for each ingredient, so that its worth can be measured by leaving it out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace

from vitruvian.errors import VitruvianError


@dataclass(frozen=True)
class Look:
    """Switches; all on is the default. Those above the line take effect when bodies are drawn, the others at each use.

    clothes: garments that stand off the body, of all cuts; off: one tight suit. hair: hair, beards, hats; off: bald heads.
    objects: things held, worn and sat on. activities: sports and everyday acts; off: the plain attitudes alone.
    perspective: cameras at all distances and angles; off: far, level and centred ones.

    textures: fabrics, prints, freckles, strands; off: plain colours. lights: several lights, shine, shadows cast on the body and
    ground; off: one soft light. backgrounds: rooms, streets, fields; off: plain surfaces. occluders: things before people.
    crowds: other people beside, behind and before. camera: blur, noise, compression, exposure, low resolution.
    """

    clothes: bool = True
    hair: bool = True
    objects: bool = True
    activities: bool = True
    perspective: bool = True
    # At each use.
    textures: bool = True
    lights: bool = True
    backgrounds: bool = True
    occluders: bool = True
    crowds: bool = True
    camera: bool = True

    def without(self, names: Iterable[str]) -> Look:
        """The same look without some ingredients. Raises VitruvianError for a name that is none."""
        names = list(names)
        known = [f.name for f in fields(self)]
        for name in names:
            if name not in known:
                raise VitruvianError(f"no ingredient {name!r}; there are {', '.join(known)}")
        return replace(self, **dict.fromkeys(names, False))

    def as_dict(self) -> dict[str, bool]:
        """Name -> on or off, for the store's file."""
        return asdict(self)
