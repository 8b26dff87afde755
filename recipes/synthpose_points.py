"""How the 35 anatomical markers of SynthPose were placed on Anny: `python recipes/synthpose_points.py` writes synthpose52.toml anew.

Each marker is where a ray from inside the resting body leaves it: from a joint of the compact body (which has Anny's vertices), in a
direction that anatomy names. Heights on the trunk are those of the OpenSim model's markers above its hips, in proportion
(marker_sets.SYNTHPOSE). Seen and corrected on docs/images/synthpose52.png (python -m vitruvian.systems.biomechanics.marker_pictures).
The left side mirrors the right one. The 17 joints are COCO-WholeBody's keypoints as `synth` has them.
"""

from __future__ import annotations

import numpy as np

from vitruvian._files import written_whole
from vitruvian.body.compact import compact_arrays, load_compact
from vitruvian.skeletons import SYNTHPOSE_52
from vitruvian.systems.biomechanics.marker_points import SYNTHPOSE_FILE

X, Y, Z = np.eye(3)  # the compact body's: to the person's left, up, forward
HEADER = """# SynthPose's 52 keypoints on Anny: COCO's 17, and 35 anatomical markers as points of the surface (l, m: lateral, medial).
# Made by recipes/synthpose_points.py; drawn in docs/images/synthpose52.png. Names: Gozlan et al., OpenCapBench (arXiv 2406.09788).
name = "synthpose-52"
body = "anny"

[points]
"""


class Body:
    """The resting body: joints by name, and where rays leave it."""

    def __init__(self):
        model = load_compact()
        rest = model.forward(np.zeros((1, len(model.joint_names), 3), np.float32), np.zeros((1, model.num_shape), np.float32))
        self.joints = {name: rest.joints[0, i].astype(float) for i, name in enumerate(model.joint_names)}
        self.vertices, self.faces = rest.vertices[0].astype(float), model.faces.astype(int)
        owner = np.array(model.joint_names)[model.weights.argmax(1)]
        self.is_right = np.char.startswith(owner, "right_")[self.faces[:, 0]]
        limbs = ("right_hip", "left_hip", "right_thigh", "left_thigh", "right_clavicle", "right_scapula", "right_shoulder")
        of_trunk = [np.char.startswith(owner, name) for name in ("pelvis", "spine", "neck", *limbs)]
        self.is_trunk = np.logical_or.reduce(of_trunk)[self.faces[:, 0]]

    def exit(self, origin: np.ndarray, direction: np.ndarray, trunk: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """The three vertices and weights of the outermost place where the ray meets the right side's surface (Moeller, Trumbore 1997)."""
        faces = self.faces[self.is_trunk if trunk else self.is_right]
        a, b, c = (self.vertices[faces[:, i]] for i in range(3))
        along = np.asarray(direction, float) / np.linalg.norm(direction)
        one, two, start = b - a, c - a, np.asarray(origin, float) - a
        across = np.cross(along, two)
        with np.errstate(divide="ignore", invalid="ignore"):
            scale = 1 / (one * across).sum(1)
            u, turned = (start * across).sum(1) * scale, np.cross(start, one)
            v, far = turned @ along * scale, (two * turned).sum(1) * scale
        hit = np.flatnonzero((u >= 0) & (v >= 0) & (u + v <= 1) & (far > 0))
        best = hit[far[hit].argmax()]
        return faces[best], np.array([1 - u[best] - v[best], u[best], v[best]])


def unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


def trunk_markers(body: Body) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    shoulder = body.joints["right_shoulder"]
    spine = {"C7": (0.532, 0.25 * Y - Z), "T6": (0.415, -Z), "T11": (0.29, -Z), "L2": (0.178, -Z)}
    return {
        "sternum": body.exit([0, 0.452, 0], Z, trunk=True),
        "rshoulder": body.exit(shoulder + [0.006, 0, -0.002], Y - 0.05 * X),
        "r_ASIS": body.exit([-0.105, 0.07, 0.02], Z - 0.25 * X, trunk=True),
        "r_PSIS": body.exit([-0.045, 0.082, 0], -Z, trunk=True),
        **{name: body.exit([0, height, 0], direction, trunk=True) for name, (height, direction) in spine.items()},
    }


def arm_markers(body: Body) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    shoulder, elbow, wrist = (body.joints[f"right_{name}"] for name in ("shoulder", "elbow", "wrist"))
    forearm = unit(wrist - elbow)
    axis = unit(np.cross(elbow - shoulder, forearm))  # of flexion; to the thumb's side on the right
    thumb = body.joints["right_index1"] - body.joints["right_pinky1"]
    thumb = unit(thumb - thumb @ forearm * forearm)
    elbow, wrist = elbow - 0.008 * forearm, wrist - 0.012 * forearm
    return {
        "r_lelbow": body.exit(elbow, axis),
        "r_melbow": body.exit(elbow, -axis),
        "r_lwrist": body.exit(wrist, thumb),
        "r_mwrist": body.exit(wrist, -thumb),
    }


def leg_markers(body: Body) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    knee, ankle, toes = (body.joints[f"right_{name}"] for name in ("knee", "ankle", "toes"))
    shank, forward = unit(ankle - knee), unit((toes - ankle) * [1, 0, 1])
    outward = unit(-X + X @ shank * shank)
    aside = np.cross(Y, forward)  # to the left; the foot's outer side is the other one
    middle = knee + [0, -0.025, -0.01]  # the rig's knee lies high and in front
    return {
        "r_knee": body.exit(middle, outward),
        "r_mknee": body.exit(middle, -outward),
        "r_ankle": body.exit(ankle + [0, -0.006, -0.009], outward - 0.15 * Z),
        "r_mankle": body.exit(ankle + [0, 0.006, -0.004], 0.1 * Z - outward),
        "r_5meta": body.exit(toes + [0, -0.008, 0] - 0.022 * forward, -aside),
        "r_toe": body.exit(toes - 0.004 * forward + 0.008 * aside, Y),
        "r_big_toe": body.exit(toes + [0, -0.012, 0] + 0.039 * aside, forward),
        "r_calc": body.exit(ankle + [0, -0.045, 0] - 0.004 * aside, -forward),
    }


def main() -> None:
    """Place them, mirror them, write the file."""
    body, mirror = Body(), compact_arrays()["mirror"].astype(int)
    placed = {**trunk_markers(body), **arm_markers(body), **leg_markers(body)}
    rest = body.vertices
    for name, (corners, weights) in list(placed.items()):
        other = SYNTHPOSE_52.names[SYNTHPOSE_52.swap[SYNTHPOSE_52.index(name)]]
        if other != name:
            placed[other] = (mirror[corners], weights)
        else:  # exactly in the middle
            placed[name] = (np.r_[corners, mirror[corners]], np.r_[weights, weights] / 2)
    lines = []
    for name in SYNTHPOSE_52.names:
        if name not in placed:
            lines.append(f'{name} = {{ keypoint = "{name}" }}')
            continue
        corners, weights = placed[name]
        kept = {int(v): sum(weights[corners == v]) for v in dict.fromkeys(corners.tolist()) if sum(weights[corners == v]) > 0.005}
        place = sum(w * rest[v] for v, w in kept.items()) / sum(kept.values())
        shares = ", ".join(f"{w:.3f}" for w in kept.values())
        lines.append(f"{name} = {{ vertices = {list(kept)}, weights = [{shares}] }}  # {' '.join(f'{1000 * x:+.0f}' for x in place)} mm")
    with written_whole(SYNTHPOSE_FILE) as temporary:
        temporary.write_text(HEADER + "\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
