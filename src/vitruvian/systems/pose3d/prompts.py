"""What FinePOSE reads beside the keypoints: a prompt of seven fields, some of its vectors learned and some from words (card section 4).

    field     subject  verb      speed  head  body  arm  leg
    words     A person the action speed head  body  arm  leg

A field is learned vectors followed by the embeddings of four tokens: start, the pieces of its word, end, padding. The whole passes a text
tower and a small trained encoder. Networks for MPI-INF-3DHP have no verb.

Two towers:
    CLIP's     the text tower of ViT-B/32 (Radford et al. 2021), frozen: its weights don't learn, but gradients pass through to the learned
               vectors. (In the published program they don't: there the vectors keep their random start.)
    stand-in   where no CLIP weights are at hand [ours]: the `KNOWN` tokens get learned vectors with learned places, and no blocks.
               Nothing of language comes in: a word is a label, and an unseen one can't be understood.

CLIP's tokenizer isn't here: the words of the card's table are known, other texts are given as their token ids.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from vitruvian.errors import VitruvianError, WeightsError
from vitruvian.systems.checkpoint import rename

CONTEXT = 77  # tokens of a text
WORD = 4  # tokens that a field takes of its word
HEADS = 8
START, END, PADDING = 49406, 49407, 0
VOCABULARY = 49408

PARTS: dict[str, tuple[int, ...]] = {
    "A person": (320, 2533),
    "speed": (4163,),
    "head": (1375,),
    "body": (1774,),
    "arm": (4793,),
    "leg": (4924,),
}
ACTIONS: dict[str, tuple[int, ...]] = {
    "Directions": (16440,),
    "Discussion": (5060,),
    "Eating": (4371,),
    "Greeting": (17754,),
    "Phoning": (745, 5197),
    "Photo": (1125,),
    "Posing": (10518,),
    "Purchases": (21887,),
    "Sitting": (4919,),
    "SittingDown": (42988, 653, 1136),
    "Smoking": (9038,),
    "Waiting": (2680,),
    "WalkDog": (8588, 1929),
    "Walking": (3941,),
    "WalkTogether": (8588, 1952),
}
"""CLIP's ids of the fields' words, and of Human3.6M's actions."""

KNOWN = tuple(sorted({START, END, PADDING, *(i for pieces in (*PARTS.values(), *ACTIONS.values()) for i in pieces)}))
"""The tokens of the stand-in."""

FIELDS = ("subject", "verb", "speed", "head", "body", "arm", "leg")
LEARNED: dict[str, int] = dict(zip(FIELDS, (3, 8, 6, 6, 6, 10, 10), strict=True))
LEARNED_WITHOUT_VERB: dict[str, int] = {"subject": 5, "speed": 8, "head": 8, "body": 8, "arm": 12, "leg": 12}
"""Learned vectors by field: of the networks for Human3.6M, and of those for MPI-INF-3DHP."""

Text = str | Sequence[int] | None
"""An action: a known word, the token ids of any text (without start and end), or None for unknown."""


class Prompt(NamedTuple):
    """A prompt that has been read: its tokens, and one vector for all of it."""

    tokens: Float[Tensor, "b t c"]
    pooled: Float[Tensor, "b c"]


def token_ids(text: Text) -> tuple[int, ...]:
    """Ids of a text without start and end; None is the empty text.

    Only the first word of a name counts, because Human3.6M calls takes "Walking 1". Raises VitruvianError for unknown words and no ids.
    """
    if text is None:
        return ()
    if isinstance(text, str):
        known = {name.lower(): pieces for name, pieces in (PARTS | ACTIONS).items()}
        words = (text.strip().lower(), *text.lower().split()[:1])
        found = next((known[word] for word in words if word in known), None)
        if found is None:
            raise VitruvianError(f"no token ids are known for {text!r}: use one of {', '.join(ACTIONS)}, or give CLIP's ids")
        return found
    ids = tuple(int(i) for i in text)
    if len(ids) > CONTEXT - 2 or not all(0 <= i < START for i in ids):
        raise VitruvianError(f"a text is at most {CONTEXT - 2} ids from 0 to {START - 1}: shorten or correct {ids[:5]}")
    return ids


def tokenise(texts: Sequence[Text]) -> Int[Tensor, "n 77"]:
    """Texts with their start, end and padding. Raises as `token_ids`."""
    rows = [(START, *token_ids(text), END) for text in texts]
    return torch.tensor([row + (PADDING,) * (CONTEXT - len(row)) for row in rows], dtype=torch.long).view(-1, CONTEXT)


class TowerBlock(nn.Module):
    """A block of CLIP's text tower: pre-norm, causal attention, a perceptron with x * sigmoid(1.702 x)."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.c_fc, self.c_proj = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Float[Tensor, "b t c"]) -> Float[Tensor, "b t c"]:
        query, key, value = self.qkv(self.ln_1(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        x = x + self.out(F.scaled_dot_product_attention(query, key, value, is_causal=True).transpose(1, 2).flatten(2))
        hidden = self.c_fc(self.ln_2(x))
        return x + self.c_proj(hidden * (1.702 * hidden).sigmoid())


class Tower(nn.Module):
    """CLIP's text tower without its projection, frozen; or with `depth` 0 the stand-in, which is trained."""

    def __init__(self, width: int, depth: int):
        super().__init__()
        self.stand_in = depth == 0
        self.token_embedding = nn.Embedding(len(KNOWN) if self.stand_in else VOCABULARY, width)
        self.positional_embedding = nn.Parameter(torch.zeros(CONTEXT, width))
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        nn.init.normal_(self.positional_embedding, std=0.01)
        self.blocks = nn.ModuleList(TowerBlock(width, max(width // 64, 1)) for _ in range(depth))
        self.ln_final = nn.Identity() if self.stand_in else nn.LayerNorm(width)
        self.register_buffer("known", torch.tensor(KNOWN), persistent=False)
        self.requires_grad_(self.stand_in)

    def embed(self, tokens: Int[Tensor, "*n"]) -> Float[Tensor, "*n c"]:
        """The tokens' own vectors. Raises VitruvianError for a token that the stand-in doesn't know."""
        if self.stand_in:
            rows = torch.searchsorted(self.known, tokens.contiguous()).clamp(max=len(self.known) - 1)
            if not torch.equal(self.known[rows], tokens):
                raise VitruvianError("a network without CLIP knows the listed actions only: use one of them, or leave the text away")
            tokens = rows
        return self.token_embedding(tokens)

    def forward(self, x: Float[Tensor, "b t c"]) -> Float[Tensor, "b t c"]:
        x = x + self.positional_embedding
        for block in self.blocks:
            x = block(x)
        return self.ln_final(x)


class PromptEncoder(nn.Module):
    """Tokens of the action -> the prompt, read. `learned` is how many learned vectors each field has."""

    def __init__(self, width: int, learned: dict[str, int], tower_depth: int, depth: int, hidden: int):
        super().__init__()
        if sum(learned.values()) + WORD * len(learned) != CONTEXT:
            raise ValueError(f"the fields must fill {CONTEXT} tokens, {WORD} of each by its word: change {learned}")
        self.fields = tuple(learned)  # a ParameterDict sorts its names
        self.contexts = nn.ParameterDict({name: nn.Parameter(0.02 * torch.randn(count, width)) for name, count in learned.items()})
        self.tower = Tower(width, tower_depth)
        layers = (nn.TransformerEncoderLayer(width, HEADS, hidden, 0.0, F.gelu, batch_first=True) for _ in range(depth))
        self.layers = nn.ModuleList(layers)
        self.norm = nn.LayerNorm(width)
        self.pool = nn.Linear(width, width)
        self.register_buffer("parts", tokenise(tuple(PARTS)), persistent=False)

    def forward(self, action: Int[Tensor, "b 77"], parts: Int[Tensor, "b 6 77"] | None = None) -> Prompt:
        """`parts` are the words of the other fields, in the order of `PARTS`; None takes those.

        The pooled vector is the token at the place where the action's own text ends, as published; without a verb the last one.
        """
        parts = self.parts.expand(len(action), -1, -1) if parts is None else parts
        words = dict(zip((name for name in FIELDS if name != "verb"), parts.unbind(1), strict=True)) | {"verb": action}
        pieces = []
        for name in self.fields:
            pieces += [self.contexts[name].expand(len(action), -1, -1), self.tower.embed(words[name][:, :WORD])]
        x = self.tower(torch.cat(pieces, 1))
        for layer in self.layers:
            x = layer(x)
        x = self.norm(x)
        place = action.argmax(1) if "verb" in self.contexts else torch.full_like(action[:, 0], CONTEXT - 1)
        return Prompt(x, self.pool(x[torch.arange(len(x), device=x.device), place]))


_TRANSFORMERS_NAMES = (
    (r"^text_model\.embeddings\.token_embedding\.", "token_embedding."),
    (r"^text_model\.embeddings\.position_embedding\.weight$", "positional_embedding"),
    (r"^text_model\.final_layer_norm\.", "ln_final."),
    (r"^text_model\.encoder\.layers\.(\d+)\.layer_norm(\d)\.", r"transformer.resblocks.\1.ln_\2."),
    (r"^text_model\.encoder\.layers\.(\d+)\.mlp\.fc1\.", r"transformer.resblocks.\1.mlp.c_fc."),
    (r"^text_model\.encoder\.layers\.(\d+)\.mlp\.fc2\.", r"transformer.resblocks.\1.mlp.c_proj."),
    (r"^text_model\.encoder\.layers\.(\d+)\.self_attn\.out_proj\.", r"transformer.resblocks.\1.attn.out_proj."),
)
_TRANSFORMERS_QUERY = re.compile(r"^text_model\.encoder\.layers\.(\d+)\.self_attn\.q_proj\.(weight|bias)$")


def openai_names(clip: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A CLIP state dict of the transformers package under OpenAI's names, where query, key and value are one matrix; others as they are.

    Raises WeightsError where one of the three is missing.
    """
    if not any(name.startswith("text_model.") for name in clip):
        return dict(clip)
    parts = r"^(vision_model|visual_projection|text_projection|logit_scale|text_model\.embeddings\.position_ids)|\.[qkv]_proj\."
    out = rename(clip, _TRANSFORMERS_NAMES, (parts,))
    for name in clip:
        if found := _TRANSFORMERS_QUERY.match(name):
            three = [clip.get(name.replace(".q_proj.", f".{letter}_proj.")) for letter in "qkv"]
            if any(part is None for part in three):
                raise WeightsError(f"the text tower has {name}, and no key or value beside it: get the file again")
            out[f"transformer.resblocks.{found[1]}.attn.in_proj_{found[2]}"] = torch.cat(three)
    return out
