"""DaNet's tables: which joints and which of DensePose's parts belong together, and who hears whom in its graphs (card 4.2, 4.6)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from vitruvian.skeletons import SMPL_24

JOINTS = 24
PARENT = (0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21)
CHILD = (3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 10, 11, 15, 16, 17, 15, 18, 19, 20, 21, 22, 23, 22, 23)
"""The two joints that, with a joint itself, say how large its square is."""


def _by_joint(rows: Mapping[tuple[int, ...], tuple[int, ...]]) -> tuple[tuple[int, ...], ...]:
    """Rows that several joints share -> a row per joint."""
    return tuple(next(row for joints, row in rows.items() if joint in joints) for joint in range(JOINTS))


PARTIAL = _by_joint(
    {
        (0, 3, 6, 9): (7, 8, 9, 10, 1, 2),
        (1, 4): (1, 2, 8, 10, 12, 14),
        (2, 5): (1, 2, 7, 9, 11, 13),
        (7, 10): (8, 10, 12, 14, 5, 5),
        (8, 11): (7, 9, 11, 13, 6, 6),
        (12, 15): (1, 2, 23, 24, 23, 24),
        (13, 16, 18): (1, 2, 15, 17, 19, 21),
        (14, 17, 19): (1, 2, 16, 18, 20, 22),
        (20, 22): (15, 17, 19, 21, 4, 4),
        (21, 23): (16, 18, 20, 22, 3, 3),
    }
)
"""DensePose's parts in channels 1 to 6 of a joint's partial map; channel 0 is the background."""

SHOWING = _by_joint(
    {
        (0, 3, 6, 9): (1, 2),
        (1,): (8, 10),
        (2,): (7, 9),
        (4,): (8, 10, 12, 14),
        (5,): (7, 9, 11, 13),
        (7, 10): (12, 14, 5),
        (8, 11): (11, 13, 6),
        (12,): (1, 2, 23, 24),
        (15,): (23, 24),
        (13, 16): (15, 17),
        (14, 17): (16, 18),
        (18,): (15, 17, 19, 21),
        (19,): (16, 18, 20, 22),
        (20, 22): (19, 21, 4),
        (21, 23): (20, 22, 3),
    }
)
"""DensePose's parts of which one must show at a joint's place, or the joint is hidden."""

EXTRA_PAIRS = ((1, 2), (1, 3), (2, 3), (13, 14), (12, 13), (12, 14), (12, 16), (12, 17))
"""Joints that the refining graph joins beside those at most two bones apart."""


def kinematic_tables() -> tuple[Float[Tensor, "24 24"], Float[Tensor, "24 24"], Float[Tensor, "24 24"]]:
    """Who hears whom, a row per hearer: all joints on the chain to the root in equal shares (the root: nobody); self, parent and children
    in equal shares; and 1 for pairs that the refining graph joins.
    """
    bones, chain = torch.zeros(JOINTS, JOINTS), torch.zeros(JOINTS, JOINTS)
    for parent, child in SMPL_24.links:
        bones[parent, child] = bones[child, parent] = 1
    for joint in range(1, JOINTS):
        above = PARENT[joint]
        chain[joint] = chain[above]
        chain[joint, above] = 1
    near = bones + torch.eye(JOINTS)
    joined = (near @ near > 0).float()
    for a, b in EXTRA_PAIRS:
        joined[a, b] = joined[b, a] = 1
    share = lambda table: table / table.sum(1, keepdim=True).clamp(min=1)  # noqa: E731
    return share(chain), share(near), joined.fill_diagonal_(0)
