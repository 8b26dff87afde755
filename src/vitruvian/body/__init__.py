"""Parametric bodies behind one interface: Anny, SMPL, SMPL+H, SMPL-X, MANO, FLAME, HACK.

`model.py` describes a body, `lbs.py` poses it with numpy and `torch.py` with torch (the only file here that imports it), `pose.py` makes
poses from their parts, `points.py` the points that published programs add to the joints, `library.py` reads and keeps users' files.
Not here: drawing (`draw`, `render`), and files of motion (`formats`).
"""

from vitruvian.body.model import BodyModel, BodyOutput, BodyParameters, astype, limit_shape, subset

__all__ = ["BodyModel", "BodyOutput", "BodyParameters", "astype", "limit_shape", "subset"]
