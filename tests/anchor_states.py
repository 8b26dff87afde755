"""Published state dicts of the anchor-based family, named from the card's table of modules (bpjdet.md section 4), not by our key map."""

from __future__ import annotations

import torch

from vitruvian.nn.csp_darknet import AnchorNet, published_names
from vitruvian.systems.checkpoint import rename

# Index -> kind and, for C3, the base count of its blocks.
P6 = {
    **{i: ("conv",) for i in (1, 3, 5, 7, 9, 12, 16, 20, 24, 27, 30)},
    **{i: ("c3", n) for i, n in ((2, 3), (4, 9), (6, 9), (8, 3), (11, 3), (15, 3), (19, 3), (23, 3), (26, 3), (29, 3), (32, 3))},
    **{0: ("focus",), 10: ("spp",), 33: ("detect", 4)},
}
P5 = {
    **{i: ("conv",) for i in (1, 3, 5, 7, 10, 14, 18, 21)},
    **{i: ("c3", n) for i, n in ((2, 3), (4, 9), (6, 9), (9, 3), (13, 3), (17, 3), (20, 3), (23, 3))},
    **{0: ("focus",), 8: ("spp",), 24: ("detect", 3)},
}
P5_RELEASE_6 = P5 | {0: ("conv",), 4: ("c3", 6), 8: ("c3", 3), 9: ("spp",)}


def names(table: dict, depth: float) -> list[str]:
    """All entries of a network by the table."""
    out = []
    for index, (kind, *count) in table.items():
        if kind == "detect":
            out += [f"model.{index}.m.{i}.{leaf}" for i in range(count[0]) for leaf in ("weight", "bias")]
            out += [f"model.{index}.anchors", f"model.{index}.anchor_grid"]
            continue
        places = {"conv": [""], "focus": ["conv."], "spp": ["cv1.", "cv2."], "c3": ["cv1.", "cv2.", "cv3."]}[kind]
        if kind == "c3":
            places = places + [f"m.{r}.cv{c}." for r in range(max(round(count[0] * depth), 1)) for c in (1, 2)]
        bn = [f"bn.{leaf}" for leaf in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")]
        out += [f"model.{index}.{place}{leaf}" for place in places for leaf in ("conv.weight", *bn)]
    return out


def published_state(model: AnchorNet, table: dict, depth: float, release: int = 5) -> dict[str, torch.Tensor]:
    """The entries of `model` under their published names."""
    known = names(table, depth)
    numbered = {name: torch.tensor(i) for i, name in enumerate(known) if not name.endswith("anchor_grid")}
    ours = {name: known[int(i)] for name, i in rename(numbered, published_names(len(model.head), release)).items()}
    state = {ours[name]: value for name, value in model.state_dict().items()}
    anchors = next(value for name, value in state.items() if name.endswith(".anchors"))
    strides = torch.tensor(model.strides)[:, None, None]
    return state | {name: (anchors * strides)[:, None, :, None, None] for name in known if name.endswith("anchor_grid")}
