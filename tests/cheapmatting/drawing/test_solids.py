"""Opaque objects and their surfaces."""

import numpy as np

from cheapmatting.drawing.foregrounds import FOREGROUNDS
from cheapmatting.drawing.solids import relief, solid, surface

SIZE = 128


def test_sharp_objects_are_soft_only_at_their_edges():
    alpha = np.stack([FOREGROUNDS["sharp"](SIZE, np.random.default_rng(seed))[1] for seed in range(8)])
    assert 0.002 < ((alpha > 0.05) & (alpha < 0.95)).mean() < 0.08


def test_a_solid_is_where_it_is_put_and_premultiplied():
    for seed in range(10):
        layer = solid(SIZE, np.random.default_rng(seed), np.float32([0.3, 0.6]), 0.2)
        assert layer.shape == (SIZE, SIZE, 4) and layer.min() >= 0 and layer.max() <= 1
        assert np.all(layer[..., :3] <= 1.45 * layer[..., 3:] + 1e-6)  # lit by up to 1.3, with grain
        ys, xs = np.nonzero(layer[..., 3] > 0.5)
        assert abs(xs.mean() / SIZE - 0.3) < 0.12 and abs(ys.mean() / SIZE - 0.6) < 0.12


def test_relief_is_bright_on_one_side_and_dark_on_the_other():
    ys, xs = np.mgrid[:SIZE, :SIZE] - SIZE / 2
    mask = (np.hypot(xs, ys) < 40).astype(np.float32)
    for seed in range(8):
        light = relief(mask, 0.3, np.random.default_rng(seed))
        rim = light[(mask > 0) & (np.hypot(xs, ys) > 30)]
        assert light.min() >= 0.4 and light.max() <= 1.3 and rim.max() - rim.min() > 0.1
        np.testing.assert_allclose(light[SIZE // 2, SIZE // 2], 0.85, atol=0.1)  # the top is level


def test_surfaces_are_of_two_colours_and_differ():
    surfaces = [surface(SIZE, np.random.default_rng(seed)) for seed in range(12)]
    assert all(picture.shape == (SIZE, SIZE, 3) and np.isfinite(picture).all() for picture in surfaces)
    assert np.abs(surfaces[0] - surfaces[1]).mean() > 0.05
    assert np.median([picture.std(axis=(0, 1)).max() for picture in surfaces]) > 0.05
