"""Dense correspondence: one part per pixel, parts that vanish, losses that see what they should."""

import torch

from vitruvian.nn.iuv import COARSE_OF, IUV, IUVHead, IUVLabels, IUVPoints, clean, cleaned_labels, map_losses, point_losses, without_parts


def maps(batch=2, channels=25, annotation=True, size=(6, 8), seed=0):
    random = torch.Generator().manual_seed(seed)
    draw = lambda c: torch.randn(batch, c, *size, generator=random)  # noqa: E731
    return IUV(draw(channels), draw(channels), draw(channels), draw(15) if annotation else None)


def labels(batch=2, channels=25, size=(6, 8), seed=1):
    random = torch.Generator().manual_seed(seed)
    u, v = torch.rand(2, batch, *size, generator=random)
    return IUVLabels(torch.randint(0, channels, (batch, *size), generator=random), u, v)


def test_cleaned_pixels_show_one_part():
    raw = maps()
    cleaned = clean(raw)
    assert (cleaned.index.sum(1) == 1).all() and torch.equal(cleaned.index.argmax(1), raw.index.argmax(1))
    assert torch.equal(cleaned.u, raw.u * cleaned.index) and torch.equal(clean(cleaned).u, cleaned.u)
    assert (cleaned.annotation.sum(1) == 1).all() and clean(maps(annotation=False)).annotation is None


def test_equal_logits_show_the_first_part():
    cleaned = clean(IUV(*torch.ones(3, 1, 25, 2, 2)))
    assert (cleaned.index[:, 0] == 1).all() and cleaned.index.sum() == 4


def test_labels_become_cleaned_maps():
    truth = labels()
    cleaned = cleaned_labels(truth)
    assert torch.equal(cleaned.index.argmax(1), truth.index) and torch.allclose(cleaned.u.sum(1), truth.u)
    assert torch.equal(clean(cleaned).v, cleaned.v)


def test_nothing_is_left_of_a_dropped_part():
    cleaned = clean(maps())
    dropped = torch.zeros(2, 25, dtype=torch.bool)
    dropped[0, 3] = True
    left = without_parts(cleaned, dropped)
    assert (left.index[0, 3] == 0).all() and (left.u[0, 3] == 0).all() and torch.equal(left.index[1], cleaned.index[1])
    assert torch.equal(left.index[0].sum(0) == 0, cleaned.index[0, 3] == 1)  # no background in its place


def test_gradient_passes_coordinates_but_no_choice():
    raw = IUV(*(x.requires_grad_() for x in maps()))
    sum(x.sum() for x in clean(raw)).backward()
    assert raw.u.grad.abs().sum() > 0 and raw.index.grad is None


def test_right_maps_cost_nothing():
    truth = labels()
    right = cleaned_labels(truth)
    coarse = torch.nn.functional.one_hot(torch.tensor(COARSE_OF)[truth.index], 15).permute(0, 3, 1, 2).float()
    terms = map_losses(IUV(right.u, right.v, 50 * right.index, 50 * coarse), truth)
    assert set(terms) == {"index", "uv", "annotation"} and all(value < 1e-5 for value in terms.values())


def test_coordinates_count_in_the_channel_of_the_true_part_only():
    truth = labels()
    right = cleaned_labels(truth)
    noise = (1 - right.index) + (truth.index == 0)[:, None]  # other channels, and all of the background
    terms = map_losses(IUV(right.u + noise, right.v + noise, right.index), truth)
    assert terms["uv"] == 0


def test_maps_without_labels_do_not_count():
    raw, truth = maps(), labels()
    one = map_losses(raw, truth, torch.tensor([True, False]))
    alone = map_losses(IUV(*(x[:1] for x in raw)), IUVLabels(*(x[:1] for x in truth)))
    assert all(torch.allclose(one[name], alone[name]) for name in alone)
    none = map_losses(raw, truth, torch.zeros(2, dtype=torch.bool))
    assert all(value == 0 for value in none.values())


def test_partial_maps_have_fewer_channels_and_one_axis_more():
    raw = IUV(*torch.randn(3, 2, 4, 7, 5, 5))
    truth = IUVLabels(torch.randint(0, 7, (2, 4, 5, 5)), *torch.rand(2, 2, 4, 5, 5))
    terms = map_losses(raw, truth, torch.ones(2, 4, dtype=torch.bool))
    assert set(terms) == {"index", "uv"} and all(value.isfinite() for value in terms.values())


def marked(truth, valid=True):
    """Points at the centres of pixels (2, 1) and (5, 4) of maps of 6 x 8."""
    places = torch.tensor([[2 / 7 * 2 - 1, 1 / 5 * 2 - 1], [5 / 7 * 2 - 1, 4 / 5 * 2 - 1]]).expand(2, 2, 2)
    read = lambda x: torch.stack((x[:, 1, 2], x[:, 4, 5]), 1)  # noqa: E731
    flags = torch.full((2, 2), valid)
    return IUVPoints(places, *map(read, truth), flags, torch.tensor(COARSE_OF)[truth.index], torch.tensor([True, False]))


def test_marked_points_are_read_where_they_are():
    truth = labels()
    right = cleaned_labels(truth)
    terms = point_losses(IUV(right.u, right.v, 50 * right.index), marked(truth))
    assert set(terms) == {"index", "uv"} and all(value < 1e-4 for value in terms.values())
    assert point_losses(maps(), marked(truth))["uv"] > 0.01


def test_no_marked_point_costs_nothing():
    terms = point_losses(maps(), marked(labels(), valid=False)._replace(marked=torch.zeros(2, dtype=torch.bool)))
    assert set(terms) == {"index", "uv", "annotation"} and all(value == 0 for value in terms.values())


def test_head_gives_maps_of_the_features_size():
    out = IUVHead(12)(torch.randn(2, 12, 5, 9))
    assert [tuple(x.shape) for x in out] == [(2, 25, 5, 9)] * 3 + [(2, 15, 5, 9)]
