"""ViT: the plain vision transformer (Dosovitskiy et al. 2020, arXiv 2010.11929), as pose networks and DINOv2 use it.

A picture is cut into square patches by a strided convolution; each patch is a token with a learned place, and blocks of self-attention
follow. The table of places is resampled when the picture has another size than in training.

    family    patch  padding  table             heads by width                    other
    ViTPose   16     2        192 (16x12)       384: 12, 768: 12, 1024: 16, 1280: 16
    OSX       16     2        1 + 192           768: 12, 1024: 16                 its 31 tokens are put before, without a place
    DINOv2    14     0        1 + 1369 (37x37)  384: 6, 768: 12, 1024: 16         class token, layer scale, offset 0.1

Sources: cards rmpg.md 4.6, osx.md 4.1, multi-hmr.md 4.1. ViTPose's heads of 384 channels, and its sizes L and H, from memory of the
published configurations [mem].
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from vitruvian.nn.transformer import EPS, blocks, initialise


def resample_positions(
    table: Float[Tensor, "1 n d"], grid: tuple[int, int], target: tuple[int, int], first: int = 0, offset: float = 0.0
) -> Float[Tensor, "1 m d"]:
    """A table of places for `grid` (rows, columns) -> one for `target`: bicubic, half-pixel corners, no antialiasing.

    The `first` entries (a class token's) are kept. `offset` is added to the target's size when the scale is taken: DINOv2's published
    rule has 0.1, and sees slightly other places for it.
    """
    if grid == target:
        return table
    places = table[:, first:].transpose(1, 2).unflatten(2, grid)  # (1, d, rows, columns)
    options = {"scale_factor": tuple((t + offset) / g for t, g in zip(target, grid, strict=True))} if offset else {"size": target}
    places = F.interpolate(places.float(), mode="bicubic", align_corners=False, **options).to(table.dtype)
    return torch.cat((table[:, :first], places.flatten(2).transpose(1, 2)), 1)


class PatchEmbed(nn.Module):
    """Picture -> a map of patches: one strided convolution with bias."""

    def __init__(self, width: int, patch: int, padding: int):
        super().__init__()
        self.proj = nn.Conv2d(3, width, patch, patch, padding)

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d rows columns"]:
        return self.proj(image)


class ViT(nn.Module):
    """Normalised pictures -> one map of d channels at the patches' stride. `tokens` and `encode` are its two halves.

    `grid` is (rows, columns) of the table of places; `class_token` puts a learned token before the patches (left out of the map);
    `offset` as in `resample_positions`. Other picture sizes than the grid's are resampled to.
    """

    def __init__(
        self,
        width: int,
        depth: int,
        heads: int,
        grid: tuple[int, int],
        patch: int = 16,
        padding: int = 0,
        hidden: int | None = None,
        class_token: bool = False,
        layer_scale: float | None = None,
        drop_path: float = 0.0,
        offset: float = 0.0,
    ):
        super().__init__()
        self.grid, self.offset, self.first = grid, offset, int(class_token)
        self.channels = (width,)
        self.patch_embed = PatchEmbed(width, patch, padding)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width)) if class_token else None
        self.pos_embed = nn.Parameter(torch.zeros(1, self.first + grid[0] * grid[1], width))
        self.blocks = blocks(width, heads, hidden or 4 * width, depth, drop_path, layer_scale)
        self.norm = nn.LayerNorm(width, eps=EPS)
        self.apply(initialise)
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        if self.cls_token is not None:
            nn.init.normal_(self.cls_token, std=EPS)

    def tokens(self, image: Float[Tensor, "b 3 h w"]) -> tuple[Float[Tensor, "b n d"], tuple[int, int]]:
        """The tokens with their places (the class token first, if there is one), and the size (rows, columns) of the patches' map."""
        patches = self.patch_embed(image)
        target = (patches.shape[2], patches.shape[3])
        tokens = patches.flatten(2).transpose(1, 2)
        if self.cls_token is not None:
            tokens = torch.cat((self.cls_token.expand(tokens.shape[0], -1, -1), tokens), 1)
        return tokens + resample_positions(self.pos_embed, self.grid, target, self.first, self.offset), target

    def encode(self, tokens: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        """All blocks and the last normalisation. Tokens of a system's own may be put beside those of `tokens`."""
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens)

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> tuple[Float[Tensor, "b d rows columns"]]:
        """A tuple of one map, as every backbone gives a tuple of maps."""
        tokens, size = self.tokens(image)
        return (self.encode(tokens)[:, self.first :].transpose(1, 2).unflatten(2, size),)
