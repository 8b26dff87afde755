"""A body of random numbers with the joints of a published model, for tests that need no real one."""

from __future__ import annotations

import numpy as np

from vitruvian.body.model import BodyModel, HandSpace
from vitruvian.body.names import JOINT_NAMES

JOINTS = {"smpl": 24, "smplh": 52, "smplx": 55}


def random_body(kind: str = "smplx") -> BodyModel:
    """A body of 60 random vertices with the published joints, a pelvis far from the origin, and mean hands."""
    random, j, v = np.random.default_rng(1), JOINTS[kind], 60
    weights = random.uniform(0, 1, (v, j)) ** 8
    hand = HandSpace(np.eye(45), random.normal(0, 0.3, 45))
    return BodyModel(
        name=f"{kind}-random",
        kind=kind,
        licence="none",
        joint_names=JOINT_NAMES[kind],
        parents=(-1, *random.integers(0, np.arange(1, j)).tolist()),
        faces=random.integers(0, v, (20, 3)).astype(np.int32),
        template=random.normal(0, 0.5, (v, 3)),
        weights=weights / weights.sum(1, keepdims=True),
        joints=random.normal(0, 0.4, (j, 3)) + [0.1, -0.3, 0.05],
        shape_directions=random.normal(0, 0.05, (10, v, 3)),
        joint_shape_directions=random.normal(0, 0.05, (10, j, 3)),
        expression_directions=random.normal(0, 0.05, (10, v, 3)),
        joint_expression_directions=np.zeros((10, j, 3)),
        shape_names=tuple(f"shape{i}" for i in range(10)),
        expression_names=tuple(f"expression{i}" for i in range(10)),
        shape_default=np.zeros(10),
        hands={"left_hand": hand, "right_hand": hand} if kind != "smpl" else {},
    )
