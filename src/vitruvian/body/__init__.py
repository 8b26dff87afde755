"""Parametric bodies behind one interface: Anny, SMPL, SMPL+H, SMPL-X, MANO, FLAME, HACK.

`model.py` describes a body, `lbs.py` poses it with numpy and `torch.py` with torch (the only file here that imports it), `pose.py` makes
poses from their parts, `points.py` the points that published programs add to the joints, `regressors.py` the points of keypoint sets.
Where bodies come from: `anny.py`; `compact.py`, the small one of the ground floor; `hack.py`; users' files through `library.py`, which
`published.py`, `pickles.py` and `bodyfile.py` read. `fit.py` and `fitting/` find the body of points, pictures and scans, `correspond.py`
that of another model's. Not here: drawing (`draw`, `render`), and files of motion (`formats`).
"""

from vitruvian.body.model import BodyModel, BodyOutput, BodyParameters, astype, limit_shape, subset

__all__ = ["BodyModel", "BodyOutput", "BodyParameters", "astype", "limit_shape", "subset"]
