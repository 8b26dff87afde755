"""Deformable attention: equal to a slow loop over its definition, batches, references, padding, errors, ONNX."""

import math

import numpy as np
import pytest
import torch

from vitruvian.nn.deformable import MultiScaleDeformableAttention, ring_of_offsets, sample_levels, sampling_locations
from vitruvian.systems.export import export_onnx

SHAPES = [(6, 5), (3, 4), (2, 1)]
TOKENS = sum(h * w for h, w in SHAPES)


def bilinear(grid, x, y):
    """The definition: (rows, columns, c) at the place (x, y) in fractions, zero outside."""
    rows, columns, _ = grid.shape
    x, y = x * columns - 0.5, y * rows - 0.5
    out = np.zeros(grid.shape[2])
    for row in (math.floor(y), math.floor(y) + 1):
        for column in (math.floor(x), math.floor(x) + 1):
            if 0 <= row < rows and 0 <= column < columns:
                out += (1 - abs(x - column)) * (1 - abs(y - row)) * grid[row, column]
    return out


def slow(value, locations, weights):
    value, locations, weights = (a.detach().double().numpy() for a in (value, locations, weights))
    batch, queries, heads, levels, points, _ = locations.shape
    out = np.zeros((batch, queries, heads, value.shape[-1]))
    for b in range(batch):
        for h in range(heads):
            start = 0
            for level, (rows, columns) in enumerate(SHAPES):
                grid = value[b, start : start + rows * columns, h].reshape(rows, columns, -1)
                start += rows * columns
                for q in range(queries):
                    for p in range(points):
                        out[b, q, h] += weights[b, q, h, level, p] * bilinear(grid, *locations[b, q, h, level, p])
    return out


def example(batch=2, queries=5, width=16, heads=4, points=3, references=2):
    generator = torch.Generator().manual_seed(1)
    torch.manual_seed(1)
    model = MultiScaleDeformableAttention(width, heads, len(SHAPES), points)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    query = torch.randn(batch, queries, width, generator=generator)
    reference = torch.rand(batch, queries, len(SHAPES), references, generator=generator)
    return model, query, reference, torch.randn(batch, TOKENS, width, generator=generator)


def test_sampling_equals_the_loop_inside_and_outside():
    generator = torch.Generator().manual_seed(0)
    value = torch.randn(2, TOKENS, 2, 3, generator=generator)
    locations = 1.6 * torch.rand(2, 4, 2, 3, 2, 2, generator=generator) - 0.3
    weights = torch.rand(2, 4, 2, 3, 2, generator=generator)
    assert np.allclose(sample_levels(value, SHAPES, locations, weights).numpy(), slow(value, locations, weights), atol=1e-5)


@pytest.mark.parametrize("references", [2, 4])
def test_layer_equals_the_loop(references):
    model, query, reference, value = example(references=references)
    heads, points = model.heads, model.points
    offsets = model.sampling_offsets(query).reshape(2, 5, heads, 3, points, 2)
    weights = model.attention_weights(query).reshape(2, 5, heads, 3 * points).softmax(-1).reshape(2, 5, heads, 3, points)
    places = torch.zeros_like(offsets)
    for level, (rows, columns) in enumerate(SHAPES):
        for point in range(points):
            step = offsets[:, :, :, level, point]
            if references == 2:
                scaled = step / torch.tensor([columns, rows])
            else:
                scaled = step / points * reference[:, :, None, level, 2:] / 2
            places[:, :, :, level, point] = reference[:, :, None, level, :2] + scaled
    values = model.value_proj(value).reshape(2, TOKENS, heads, -1)
    expected = model.output_proj(torch.from_numpy(slow(values, places, weights)).float().flatten(2))
    assert torch.allclose(model(query, reference, value, SHAPES), expected, atol=1e-4)


def test_one_reference_serves_all_levels():
    model, query, reference, value = example()
    same = reference[:, :, :1]
    assert torch.allclose(model(query, same, value, SHAPES), model(query, same.expand(-1, -1, 3, -1), value, SHAPES))


def test_middle_of_a_pixel_is_that_pixel():
    value = torch.arange(float(TOKENS)).reshape(1, TOKENS, 1, 1)
    locations = torch.full((1, 1, 1, 3, 1, 2), 9.0)
    locations[0, 0, 0, 0, 0] = torch.tensor([(2 + 0.5) / 5, (4 + 0.5) / 6])
    assert sample_levels(value, SHAPES, locations, torch.ones(1, 1, 1, 3, 1)).item() == pytest.approx(4 * 5 + 2)


def test_padding_counts_as_zero():
    model, query, reference, value = example()
    mask = torch.zeros(2, TOKENS, dtype=torch.bool)
    mask[1, 7:19] = True
    with torch.no_grad():
        masked = model(query, reference, value, SHAPES, mask)
        changed = model(query, reference, value.masked_fill(mask[..., None], 5.0), SHAPES, mask)
        plain = model(query, reference, value, SHAPES)
    assert torch.equal(masked, changed)
    assert torch.equal(masked[0], plain[0]) and not torch.equal(masked[1], plain[1])


@pytest.mark.parametrize(("batch", "queries"), [(0, 5), (2, 0)])
def test_nothing_is_fine(batch, queries):
    model, query, reference, value = example()
    assert model(query[:batch, :queries], reference[:batch, :queries], value[:batch], SHAPES).shape == (batch, queries, 16)


def test_batch_equals_single():
    model, query, reference, value = example()
    assert torch.allclose(model(query, reference, value, SHAPES)[1:], model(query[1:], reference[1:], value[1:], SHAPES), atol=1e-6)


def test_gradient_reaches_everything():
    model, query, reference, value = example()
    inputs = [a.requires_grad_() for a in (query, reference, value)]
    model(query, reference, value, SHAPES).square().sum().backward()
    assert all(a.grad is not None and a.grad.abs().sum() > 0 for a in (*inputs, *model.parameters()))


def test_late_bias_counts_outside_the_maps_and_is_the_same_inside():
    model, query, reference, value = example()
    late, _, _, _ = example()
    late.late_bias = True
    outside = torch.full_like(reference, 50.0)
    expected = late.output_proj(late.value_proj.bias).expand(2, 5, -1)
    assert torch.allclose(late(query, outside, value, SHAPES), expected, atol=1e-6)
    assert torch.allclose(model(query, outside, value, SHAPES), model.output_proj.bias.expand(2, 5, -1), atol=1e-6)
    big = [(40, 40), (40, 40), (40, 40)]
    middle, tokens = torch.full_like(reference, 0.5), torch.randn(2, 3 * 1600, 16)
    assert torch.allclose(model(query, middle, tokens, big), late(query, middle, tokens, big), atol=1e-5)


def test_start_looks_around():
    bias = ring_of_offsets(8, 2, 3).reshape(8, 2, 3, 2)
    assert torch.allclose(bias[0, 1], torch.tensor([[1.0, 0], [2, 0], [3, 0]]), atol=1e-6)
    assert torch.allclose(bias[1, 0], torch.tensor([[1.0, 1], [2, 2], [3, 3]]), atol=1e-6)
    assert MultiScaleDeformableAttention(16, 4, 3, 2).sampling_offsets.bias.shape == (4 * 3 * 2 * 2,)


def test_published_names():
    names = {name.split(".")[0] for name, _ in MultiScaleDeformableAttention(16, 4, 3, 2).named_parameters()}
    assert names == {"sampling_offsets", "attention_weights", "value_proj", "output_proj"}


@pytest.mark.parametrize("references", [1, 3])
def test_other_references_are_refused(references):
    with pytest.raises(ValueError, match="points"):
        sampling_locations(torch.zeros(1, 1, 1, 3, 1, 2), torch.zeros(1, 1, 3, references), SHAPES)


def test_wrong_maps_are_refused():
    model, query, reference, value = example()
    with pytest.raises(ValueError, match="tokens"):
        model(query, reference, value, [(6, 5), (3, 4), (2, 2)])
    with pytest.raises(ValueError, match="heads"):
        MultiScaleDeformableAttention(10, 4, 1, 1)


def test_onnx_equals_torch(tmp_path):
    model, query, reference, value = example()

    class Fixed(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = model

        def forward(self, query, reference, value):
            return self.attention(query, reference, value, SHAPES)

    inputs = ("query", "reference", "value")
    assert export_onnx(Fixed(), (query, reference, value), tmp_path / "attention.onnx", inputs) < 1e-3
