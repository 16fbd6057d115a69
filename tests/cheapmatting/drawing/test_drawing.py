"""Procedural foregrounds and backgrounds, and the layers they are drawn with."""

import numpy as np
import pytest

from cheapmatting.drawing.backgrounds import BACKGROUNDS, camouflaged, procedural_background
from cheapmatting.drawing.compositing import Canvas, as_layer, extended_colours, over, straight
from cheapmatting.drawing.foregrounds import FOREGROUNDS

SIZE = 128


@pytest.mark.parametrize("kind", FOREGROUNDS)
def test_foregrounds_are_in_range_and_seeded(kind):
    for seed in range(4):
        colours, alpha = FOREGROUNDS[kind](SIZE, np.random.default_rng(seed))
        assert colours.shape == (SIZE, SIZE, 3) and alpha.shape == (SIZE, SIZE)
        assert colours.dtype == alpha.dtype == np.float32
        for field in (colours, alpha):
            assert np.isfinite(field).all() and field.min() >= 0 and field.max() <= 1
        again = FOREGROUNDS[kind](SIZE, np.random.default_rng(seed))
        np.testing.assert_array_equal(colours, again[0])
        np.testing.assert_array_equal(alpha, again[1])
    assert not np.array_equal(alpha, FOREGROUNDS[kind](SIZE, np.random.default_rng(99))[1])


@pytest.mark.parametrize("kind", FOREGROUNDS)
def test_foregrounds_are_there_but_not_everywhere(kind):
    means = [FOREGROUNDS[kind](SIZE, np.random.default_rng(seed))[1].mean() for seed in range(20)]
    assert min(means) > 0.005 and max(means) < 0.9


@pytest.mark.parametrize(
    ("kind", "least"),
    [
        ("hair", 0.04),
        ("fur", 0.04),
        ("leaves", 0.04),
        ("lace", 0.2),
        ("net", 0.04),
        ("mesh", 0.15),
        ("wings", 0.08),
        ("smoke", 0.15),
        ("glass", 0.1),
        ("veil", 0.3),
        ("defocused", 0.08),
        ("moving", 0.08),
    ],
)
def test_alpha_is_truly_soft(kind, least):
    alphas = [FOREGROUNDS[kind](SIZE, np.random.default_rng(seed))[1] for seed in range(8)]
    shares = [((alpha > 0.05) & (alpha < 0.95)).mean() for alpha in alphas]
    assert np.mean(shares) > least and min(shares) > least / 4
    assert len(np.unique(np.rint(np.stack(alphas) * 255))) > 200


def test_a_mesh_is_as_dense_as_cloth_and_a_net_is_not():
    """Cover over windows of an eighth of the picture; threads of a net are a small part of it."""

    def covers(kind):
        alphas = np.stack([FOREGROUNDS[kind](SIZE, np.random.default_rng(seed))[1] for seed in range(20)])
        windows = alphas.reshape(20, 8, SIZE // 8, 8, SIZE // 8).mean(axis=(2, 4))
        return windows[windows > 0.05]

    assert np.quantile(covers("net"), 0.75) < 0.45
    low, high = np.quantile(covers("mesh"), [0.2, 0.8])
    assert low < 0.45 and high > 0.8


def test_wings_are_clear_between_solid_veins():
    for seed in range(8):
        alpha = FOREGROUNDS["wings"](4 * SIZE, np.random.default_rng(seed))[1]
        inside = alpha > 0.02
        assert ((alpha < 0.65) & inside).sum() > 0.15 * inside.sum()  # membranes
        assert (alpha > 0.6).sum() > 0.05 * inside.sum()  # veins and body


def test_sharp_objects_are_soft_only_at_their_edges():
    alpha = np.stack([FOREGROUNDS["sharp"](SIZE, np.random.default_rng(seed))[1] for seed in range(8)])
    assert 0.002 < ((alpha > 0.05) & (alpha < 0.95)).mean() < 0.08


@pytest.mark.parametrize("kind", FOREGROUNDS)
def test_foreground_colour_varies(kind):
    """One plain colour would tell alpha away: visible pixels differ in brightness."""
    spreads = []
    for seed in range(6):
        colours, alpha = FOREGROUNDS[kind](SIZE, np.random.default_rng(seed))
        spreads.append(colours[alpha > 0.3].mean(axis=1).std() if (alpha > 0.3).any() else 0)
    assert np.median(spreads) > 0.01


@pytest.mark.parametrize("kind", BACKGROUNDS)
def test_backgrounds_are_pictures(kind):
    first, again, other = (BACKGROUNDS[kind](SIZE, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first.shape == (SIZE, SIZE, 3) and first.dtype == np.float32
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).mean() > 0.01
    assert first.std() > 0.01


@pytest.mark.parametrize("size", [32, 100, 161])
def test_any_size(size):
    for seed in range(10):
        background = procedural_background(size, np.random.default_rng(seed))
        assert background.shape == (size, size, 3)
        assert background.min() >= 0 and background.max() <= 1
    for make in FOREGROUNDS.values():
        colours, alpha = make(size, np.random.default_rng(0))
        assert colours.shape == (size, size, 3) and alpha.shape == (size, size)


def test_camouflage_brings_mean_colours_together():
    rng = np.random.default_rng(0)
    alpha = np.zeros((16, 16), np.float32)
    alpha[4:12, 4:12] = 1
    foreground = np.full((16, 16, 3), (0.6, 0.4, 0.5), np.float32)
    background = np.full((16, 16, 3), (0.3, 0.5, 0.5), np.float32)
    moved = camouflaged(background, foreground, alpha, rng)
    assert np.abs(moved - foreground).max() < 0.41 * np.abs(background - foreground).max()


def test_a_line_of_one_canvas_pixel_is_a_sub_pixel_strand():
    canvas = Canvas(32, oversampling=4)
    line = np.float32([[[-0.1, 0.5], [1.1, 0.5]]])
    canvas.strands(line, np.float32([[1, 0.5, 0]]))
    layer = canvas.layer()
    coverage = layer[:, 5:-5, 3].sum(axis=0)  # pixels of full cover in each column
    assert coverage.min() > 0.2 and coverage.max() < 0.8
    np.testing.assert_allclose(layer[..., 1], layer[..., 3] * 0.5, atol=2 / 255)


def test_drawing_is_over():
    canvas = Canvas(8)
    square = np.float32([[-1, -1], [2, -1], [2, 2], [-1, 2]])
    canvas.polygon(square, np.float32([1, 0, 0]))
    canvas.polygon(square * 0.5, np.float32([0, 0, 1]))
    np.testing.assert_allclose(canvas.layer()[2, 2], [0, 0, 1, 1])
    np.testing.assert_allclose(canvas.layer()[7, 7], [0, 0, 1, 1])
    canvas.hole(square)
    assert canvas.layer().max() == 0
    red, blue = np.float32([[[0.5, 0, 0, 0.5]]]), np.float32([[[0, 0, 0.8, 0.8]]])
    np.testing.assert_allclose(over(red, blue)[0, 0], [0.5, 0, 0.4, 0.9])


def test_extended_colours_leave_no_dark_fringe():
    """A red disc on transparent black: every pixel becomes red, so no soft or resized edge can darken."""
    ys, xs = np.mgrid[:61, :61]
    alpha = np.clip(20.5 - np.hypot(ys - 25, xs - 33), 0, 1).astype(np.float32)
    red = np.float32([0.9, 0.2, 0.1])
    colours = np.where(alpha[..., None] > 0, red, 0).astype(np.float32)
    np.testing.assert_allclose(extended_colours(as_layer(colours, alpha)), np.broadcast_to(red, (61, 61, 3)), atol=1e-4)


def test_extended_colours_come_from_the_neighbourhood():
    """Left half red at its edge, right half blue: transparent pixels take the colour of the nearer side."""
    layer = np.zeros((64, 64, 4), np.float32)
    layer[:, :8] = 1, 0, 0, 1
    layer[:, 56:] = 0, 0, 1, 1
    colours, alpha = straight(layer)
    np.testing.assert_array_equal(colours[:, :8], np.broadcast_to(np.float32([1, 0, 0]), (64, 8, 3)))
    assert colours[:, 8:20, 0].min() > 0.7 and colours[:, 44:56, 2].min() > 0.7
    np.testing.assert_allclose(colours.sum(axis=2), 1, atol=1e-5)
    np.testing.assert_array_equal(alpha, layer[..., 3])
