"""Procedural backgrounds."""

import numpy as np
import pytest

from cheapmatting.drawing.backgrounds import BACKGROUNDS, camouflaged, procedural_background

SIZE = 128


@pytest.mark.parametrize("kind", BACKGROUNDS)
def test_backgrounds_are_pictures(kind):
    first, again, other = (BACKGROUNDS[kind](SIZE, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first.shape == (SIZE, SIZE, 3) and first.dtype == np.float32
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).mean() > 0.01
    assert first.std() > 0.01


@pytest.mark.parametrize("size", [32, 100, 161])
def test_backgrounds_of_any_size_are_in_range(size):
    for seed in range(10):
        background = procedural_background(size, np.random.default_rng(seed))
        assert background.shape == (size, size, 3)
        assert background.min() >= 0 and background.max() <= 1


def test_camouflage_brings_mean_colours_together():
    rng = np.random.default_rng(0)
    alpha = np.zeros((16, 16), np.float32)
    alpha[4:12, 4:12] = 1
    foreground = np.full((16, 16, 3), (0.6, 0.4, 0.5), np.float32)
    background = np.full((16, 16, 3), (0.3, 0.5, 0.5), np.float32)
    moved = camouflaged(background, foreground, alpha, rng)
    assert np.abs(moved - foreground).max() < 0.41 * np.abs(background - foreground).max()
