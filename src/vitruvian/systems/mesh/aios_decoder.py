"""AiOS, second half: queries become people, people become tokens of their parts, and these SMPL-X parameters (card 4.3, 4.4).

Stage 0 finds people; each kept one is spread into its box, 17 body keypoints and the boxes of hands and face (stage 1), then into keypoints
of hands and face too (stage 2). Every token has a reference box (x, y, width, height) as fractions of the picture.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from vitruvian.body.pose import rotations_from_6d
from vitruvian.nn.deformable import MultiScaleDeformableAttention
from vitruvian.systems.mesh.aios_encoder import MLP, Proposals, Scene, logit, sines_of_boxes

BODY_JOINTS, HAND_JOINTS = 22, 15
REST, UPRIGHT = (1.0, 0.0, 0.0, 1.0, 0.0, 0.0), (1.0, 0.0, 0.0, -1.0, 0.0, 0.0)  # six numbers of a rotation, two columns side by side
SMALL = -1.5  # the logit of a new token's size, as a share of its person's or box's
NEAR = 0.05  # the scale of the weak camera at the start: one over metres


class Layout(NamedTuple):
    """Which token of a person means what, in one stage: runs (kind, number of tokens) in order."""

    runs: tuple[tuple[str, int], ...]

    @property
    def size(self) -> int:
        return sum(count for _, count in self.runs)

    def of(self, *kinds: str) -> list[int]:
        """The tokens of some kinds, in the order of the tokens."""
        out, start = [], 0
        for kind, count in self.runs:
            out += range(start, start + count) if kind in kinds else ()
            start += count
        return out


BOXES = ("body", "left", "right", "face")


def layouts(body: int, hand: int, face: int) -> tuple[Layout, Layout, Layout]:
    """The tokens of a person in the three stages, for so many keypoints."""
    box = tuple((kind, 1) for kind in BOXES)
    points = (("points", body), ("left_points", hand), ("right_points", hand), ("face_points", face))
    last = (box[0], points[0], box[1], points[1], box[2], points[2], box[3], points[3])
    return Layout(box[:1]), Layout((box[0], points[0], *box[1:])), Layout(last)


class Body(NamedTuple):
    """SMPL-X of each person: rotations relative to the parent, the root's to the camera, the hands' left then right, absolute (without a
    mean pose); weak camera (scale, shift).
    """

    rotations: Float[Tensor, "b p 22 3 3"]
    hands: Float[Tensor, "b p 2 15 3 3"]
    jaw: Float[Tensor, "b p 3 3"]
    shape: Float[Tensor, "b p s"]
    expression: Float[Tensor, "b p e"]
    camera: Float[Tensor, "b p 3"]


class Found(NamedTuple):
    """What one layer says, as fractions of the picture; boxes are (x, y, width, height). None for what its stage doesn't know yet.

    `denoised` are logits and boxes of the denoising queries.
    """

    logits: Float[Tensor, "b p classes"]
    boxes: Float[Tensor, "b p 4"]
    hands: Float[Tensor, "b p 2 4"] | None = None
    faces: Float[Tensor, "b p 4"] | None = None
    keypoints: Float[Tensor, "b p k 2"] | None = None
    hand_keypoints: Float[Tensor, "b p 2 h 2"] | None = None
    face_keypoints: Float[Tensor, "b p f 2"] | None = None
    body: Body | None = None
    denoised: tuple[Float[Tensor, "b d classes"], Float[Tensor, "b d 4"]] | None = None


class Step(NamedTuple):
    """A layer: what it finds (None where nobody asked), its normalised tokens, and the references (x, y, width, height) of the next."""

    found: Found | None
    tokens: Float[Tensor, "b n d"]
    references: Float[Tensor, "b m 4"]


class Noisy(NamedTuple):
    """Denoising queries (training): what they know, their boxes, and which of them don't see each other (True)."""

    content: Float[Tensor, "b d c"]
    boxes: Float[Tensor, "b d 4"]
    blocked: Bool[Tensor, "d d"]


class SelfAttention(nn.Module):
    """Multi-head attention of tokens to each other; queries and keys have their places added, values not."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(
        self, x: Float[Tensor, "b n d"], position: Float[Tensor, "b n d"], blocked: Bool[Tensor, "n n"] | None
    ) -> Float[Tensor, "b n d"]:
        weights, biases = self.in_proj_weight.chunk(3), self.in_proj_bias.chunk(3)
        sources = (x + position, x + position, x)
        heads = (
            F.linear(source, weight, bias).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for source, weight, bias in zip(sources, weights, biases, strict=True)
        )
        out = F.scaled_dot_product_attention(*heads, attn_mask=None if blocked is None else ~blocked)
        return self.out_proj(out.transpose(1, 2).flatten(2))


class DecoderLayer(nn.Module):
    """Tokens look at each other, then at a few places of the picture in and around their boxes; then a perceptron."""

    def __init__(self, width: int, heads: int, levels: int, points: int, hidden: int):
        super().__init__()
        self.self_attn = SelfAttention(width, heads)
        self.cross_attn = MultiScaleDeformableAttention(width, heads, levels, points)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(width) for _ in range(3))
        self.linear1, self.linear2 = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(
        self,
        x: Float[Tensor, "b n d"],
        position: Float[Tensor, "b n d"],
        boxes: Float[Tensor, "b n levels 4"],
        scene: Scene,
        blocked: Bool[Tensor, "n n"] | None,
    ) -> Float[Tensor, "b n d"]:
        x = self.norm2(x + self.self_attn(x, position, blocked))
        x = self.norm1(x + self.cross_attn(x + position, boxes, scene.tokens, scene.shapes, scene.padding))
        return self.norm3(x + self.linear2(F.relu(self.linear1(x))))


def blocked_pairs(layout: Layout, people: int, noisy: Bool[Tensor, "d d"] | None, device: torch.device) -> Bool[Tensor, "n n"] | None:
    """True where a token doesn't see another: those of other people, except boxes that see all boxes. None where everybody sees everybody.

    Denoising queries come first: they see what their own table allows, and every box; nobody sees them.
    """
    if layout.size == 1 and noisy is None:
        return None
    token = torch.arange(layout.size, device=device).repeat(people)
    person = torch.arange(people, device=device).repeat_interleave(layout.size)
    box = torch.isin(token, torch.tensor(layout.of(*BOXES), device=device))
    blocked = (person[:, None] != person) & ~(box[:, None] & box)
    if noisy is None:
        return blocked
    below = torch.cat((torch.ones(len(person), len(noisy), dtype=torch.bool, device=device), blocked), 1)
    return torch.cat((torch.cat((noisy, (~box)[None].expand(len(noisy), -1)), 1), below))


class Decoder(nn.Module):
    """Proposals -> what each layer finds. `stages` are the numbers of layers; `points` numbers of keypoints (body, a hand, face)."""

    def __init__(
        self,
        width: int,
        heads: int,
        levels: int,
        points: int,
        hidden: int,
        stages: tuple[int, int, int],
        keypoints: tuple[int, int, int],
        classes: int,
        shapes: int,
        expressions: int,
    ):
        super().__init__()
        self.width, self.stages, self.layouts = width, stages, layouts(*keypoints)
        self.layers = nn.ModuleList(DecoderLayer(width, heads, levels, points, hidden) for _ in range(sum(stages)))
        self.norm = nn.LayerNorm(width)
        self.ref_point_head = MLP(2 * width, width, width)
        self._tables(*keypoints)
        self._heads(classes, shapes, expressions, *keypoints)
        self._start()

    def _tables(self, body: int, hand: int, face: int) -> None:
        """What new tokens add to what their person or box knows, and their sizes as logits of shares of its size."""
        contents = {"keypoint_embed": body, "lhand_box_embed": 1, "rhand_box_embed": 1, "face_box_embed": 1}
        contents |= {"lhand_keypoint_embed": hand, "rhand_keypoint_embed": hand, "face_keypoint_embed": face}
        sizes = {"hw": body, "hw_lhand_bbox": 1, "hw_rhand_bbox": 1, "hw_face_bbox": 1}
        sizes |= {"hw_lhand_kps": hand, "hw_rhand_kps": hand, "hw_face_kps": face}
        for table, width in ((contents, self.width), (sizes, 2)):
            for name, count in table.items():
                setattr(self, name, nn.Embedding(count, width))
        for name in sizes:
            nn.init.constant_(getattr(self, name).weight, SMALL)

    def _heads(self, classes: int, shapes: int, expressions: int, body: int, hand: int, face: int) -> None:
        """Lists by layer, from the layer on in which their tokens exist; lists of places have one more, which places new tokens."""
        width, total, late, last = self.width, sum(self.stages), sum(self.stages[1:]), self.stages[2]

        def heads(count: int, outputs: int, inputs: int = 1) -> nn.ModuleList:
            return nn.ModuleList(MLP(inputs * width, width, width, outputs) for _ in range(count))

        self.bbox_embed = heads(total, 4)
        self.class_embed = nn.ModuleList(nn.Linear(width, classes) for _ in range(total))
        self.pose_embed, self.pose_hw_embed = heads(late + 1, 2), heads(1, 2)
        for part in ("hand", "face"):
            setattr(self, f"bbox_{part}_embed", heads(late + 1, 2))
            setattr(self, f"bbox_{part}_hw_embed", heads(late, 2))
            setattr(self, f"pose_{part}_embed", heads(last + 1, 2))
            setattr(self, f"pose_{part}_hw_embed", heads(1, 2))
        whole = body + 4
        self.smpl_pose_embed = heads(late, 6 * BODY_JOINTS, whole)
        self.smpl_beta_embed, self.smpl_cam_embed = heads(late, shapes, whole), heads(late, 3, whole)
        for name, outputs, tokens in (("hand_pose", 6 * HAND_JOINTS, hand + 3), ("expr", expressions, face + 2), ("jaw", 6, face + 2)):
            early = heads(self.stages[1], outputs)
            setattr(self, f"smpl_{name}_embed", early.extend(heads(last, outputs, tokens)))

    def _start(self) -> None:
        """Every head says nothing at first: no move, nobody, upright people at rest, some 20 m away."""
        for name, head in self.named_children():
            for module in head if name.endswith("_embed") and isinstance(head, nn.ModuleList) else ():
                if isinstance(module, nn.Linear):
                    nn.init.constant_(module.bias, -math.log(99))
                    continue
                nn.init.zeros_(module.layers[-1].weight)
                bias = module.layers[-1].bias
                nn.init.zeros_(bias)
                with torch.no_grad():
                    if name in ("smpl_pose_embed", "smpl_hand_pose_embed", "smpl_jaw_embed"):
                        bias.copy_(bias.new_tensor(REST).repeat(len(bias) // 6))
                    if name == "smpl_pose_embed":
                        bias[:6] = bias.new_tensor(UPRIGHT)
                    if name == "smpl_cam_embed":
                        bias[0] = NEAR

    def stage_of(self, layer: int) -> int:
        return sum(layer >= sum(self.stages[: stage + 1]) for stage in range(2))

    def forward(self, scene: Scene, proposals: Proposals, people: int, noisy: Noisy | None = None, every: bool = True) -> Iterator[Step]:
        """Layer by layer. After stage 0 the `people` best go on; references pass no gradient from layer to layer.

        `every` False: only the last layer says what it finds.
        """
        content, reference = proposals.tokens.detach(), proposals.boxes.detach()
        extra = 0 if noisy is None else noisy.content.shape[1]
        if noisy is not None:
            content, reference = torch.cat((noisy.content, content), 1), torch.cat((noisy.boxes, reference), 1)
        exact = reference  # with its gradient, for what is reported
        ratios = torch.cat((scene.ratios, scene.ratios), -1)[:, None]
        blocked = None
        for number, layer in enumerate(self.layers):
            stage = self.stage_of(number)
            if number == 0 or stage != self.stage_of(number - 1):
                count = (content.shape[1] - extra) // self.layouts[stage].size
                blocked = blocked_pairs(self.layouts[stage], count, None if noisy is None else noisy.blocked, content.device)
            boxes = reference[:, :, None] * ratios
            position = self.ref_point_head(sines_of_boxes(boxes[:, :, 0], self.width))
            content = layer(content, position, boxes, scene, blocked)
            normed = self.norm(content)
            asked = every or number + 1 == len(self.layers)
            found = self._report(number, normed, exact, extra) if asked else None
            exact = (self._moves(number, content, extra) + logit(reference)).sigmoid()
            if number + 1 < len(self.layers) and self.stage_of(number + 1) > stage:
                spread = self._spread_people if stage == 0 else self._spread_parts
                chosen, kept = content[:, extra:], exact[:, extra:]
                if stage == 0:
                    chosen, kept = self._best(number, chosen, kept, people)
                chosen, kept = spread(chosen, kept)
                content, exact = torch.cat((content[:, :extra], chosen), 1), torch.cat((exact[:, :extra], kept), 1)
            reference = exact.detach()
            yield Step(found, normed, reference)

    def _best(self, number: int, content: Tensor, boxes: Tensor, people: int) -> tuple[Tensor, Tensor]:
        """The people to go on with, the best first."""
        scores = self.class_embed[number](content).amax(-1)
        best = scores.topk(min(people, scores.shape[1]), 1).indices[..., None]
        return content.gather(1, best.expand(-1, -1, content.shape[2])), boxes.gather(1, best.expand(-1, -1, 4))

    def _tokens(self, content: Tensor, boxes: Tensor, names: tuple[str, str], head: MLP) -> tuple[Tensor, Tensor]:
        """New tokens of things (b p d) with boxes (b p 4): their contents (b p k d) and boxes (b p k 4)."""
        added, size = (getattr(self, name).weight for name in names)
        content = content[:, :, None] + added
        centre = (logit(boxes[:, :, None, :2]) + head(content)).sigmoid()
        return content, torch.cat((centre, size.sigmoid() * boxes[:, :, None, 2:]), -1)

    def _spread_people(self, content: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
        hand, face = self.bbox_hand_embed[-1], self.bbox_face_embed[-1]
        new = [
            self._tokens(content, boxes, ("keypoint_embed", "hw"), self.pose_embed[-1]),
            self._tokens(content, boxes, ("lhand_box_embed", "hw_lhand_bbox"), hand),
            self._tokens(content, boxes, ("rhand_box_embed", "hw_rhand_bbox"), hand),
            self._tokens(content, boxes, ("face_box_embed", "hw_face_bbox"), face),
        ]
        contents, references = ([own[:, :, None], *parts] for own, parts in zip((content, boxes), zip(*new, strict=True), strict=True))
        return torch.cat(contents, 2).flatten(1, 2), torch.cat(references, 2).flatten(1, 2)

    def _spread_parts(self, content: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
        content, boxes = (x.unflatten(1, (-1, self.layouts[1].size)) for x in (content, boxes))
        hand, face = self.pose_hand_embed[-1], self.pose_face_embed[-1]
        body = self.layouts[1].of("body", "points")
        contents, references = [content[:, :, body]], [boxes[:, :, body]]
        for kind, name, head in (("left", "lhand", hand), ("right", "rhand", hand), ("face", "face", face)):
            (token,) = self.layouts[1].of(kind)
            new = self._tokens(content[:, :, token], boxes[:, :, token], (f"{name}_keypoint_embed", f"hw_{name}_kps"), head)
            contents += [content[:, :, token : token + 1], new[0]]
            references += [boxes[:, :, token : token + 1], new[1]]
        return torch.cat(contents, 2).flatten(1, 2), torch.cat(references, 2).flatten(1, 2)

    def _moves(self, number: int, x: Float[Tensor, "b n d"], extra: int) -> Float[Tensor, "b n 4"]:
        """By how much each token's reference moves, in logits."""
        stage, late = self.stage_of(number), number - self.stages[0]
        if stage == 0:
            return self.bbox_embed[number](x)
        last = late - self.stages[1]
        tokens, moves, start = x[:, extra:].unflatten(1, (-1, self.layouts[stage].size)), [], 0
        for kind, count in self.layouts[stage].runs:
            part = tokens[:, :, start : start + count]
            start += count
            if kind == "body":
                moves.append(self.bbox_embed[number](part))
                continue
            place, size = self._movers(kind, late, last)
            moves.append(torch.cat((place(part), size(part)), -1))
        main = torch.cat(moves, 2).flatten(1, 2)
        return torch.cat((self.bbox_embed[number](x[:, :extra]), main), 1) if extra else main

    def _movers(self, kind: str, late: int, last: int) -> tuple[MLP, MLP]:
        """The heads of place and size of a kind of tokens, by the layer counted from stage 1 and from stage 2."""
        if kind == "points":
            return self.pose_embed[late], self.pose_hw_embed[0]
        part = "face" if "face" in kind else "hand"
        if kind.endswith("_points"):
            return getattr(self, f"pose_{part}_embed")[last], getattr(self, f"pose_{part}_hw_embed")[0]
        return getattr(self, f"bbox_{part}_embed")[late], getattr(self, f"bbox_{part}_hw_embed")[late]

    def _report(self, number: int, normed: Float[Tensor, "b n d"], reference: Float[Tensor, "b n 4"], extra: int) -> Found:
        stage = self.stage_of(number)
        boxes = (self._moves(number, normed, extra) + logit(reference)).sigmoid()
        denoised = (self.class_embed[number](normed[:, :extra]), boxes[:, :extra]) if extra else None
        layout = self.layouts[stage]
        tokens, boxes = (x[:, extra:].unflatten(1, (-1, layout.size)) for x in (normed, boxes))
        found = Found(self.class_embed[number](tokens[:, :, 0]), boxes[:, :, 0], denoised=denoised)
        if stage == 0:
            return found
        of = lambda kind: boxes[:, :, layout.of(kind)]  # noqa: E731
        found = found._replace(hands=boxes[:, :, layout.of("left", "right")], faces=of("face")[:, :, 0], keypoints=of("points")[..., :2])
        found = found._replace(body=self._body(number - self.stages[0], tokens, layout))
        if stage == 1:
            return found
        hands = torch.stack((of("left_points"), of("right_points")), 2)[..., :2]
        return found._replace(hand_keypoints=hands, face_keypoints=of("face_points")[..., :2])

    def _body(self, late: int, tokens: Float[Tensor, "b p n d"], layout: Layout) -> Body:
        def read(head: nn.ModuleList, *kinds: str) -> Tensor:
            return head[late](tokens[:, :, layout.of(*kinds)].flatten(2))

        whole = ("body", "points", "left", "right", "face")
        if late < self.stages[1]:
            hands, face = (("left",), ("right",)), ("face",)
        else:
            hands = tuple(("body", "left", "right", f"{side}_points") for side in ("left", "right"))
            face = ("body", "face", "face_points")
        turns = lambda six: rotations_from_6d(six.unflatten(-1, (-1, 6)), "interleaved")  # noqa: E731
        return Body(
            turns(read(self.smpl_pose_embed, *whole)),
            torch.stack([turns(read(self.smpl_hand_pose_embed, *kinds)) for kinds in hands], 2),
            turns(read(self.smpl_jaw_embed, *face))[..., 0, :, :],
            read(self.smpl_beta_embed, *whole),
            read(self.smpl_expr_embed, *face),
            read(self.smpl_cam_embed, *whole),
        )
