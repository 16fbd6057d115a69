"""Hair and fur."""

import cv2
import numpy as np
import pytest

from cheapmatting.drawing.foregrounds import FOREGROUNDS

SIZE = 128


def alphas_of(kind, count=8, size=SIZE):
    """Alphas [count, S, S] of the first seeds."""
    return np.stack([FOREGROUNDS[kind](size, np.random.default_rng(seed))[1] for seed in range(count)])


@pytest.mark.parametrize("kind", ["hair", "fur"])
def test_strands_thin_out_from_a_solid_mass(kind):
    """There is an opaque mass, and around it a rim in which most pixels are partly covered."""
    for alpha in alphas_of(kind):
        mass = cv2.erode((alpha > 0.95).astype(np.uint8), np.ones((3, 3), np.uint8))
        assert mass.mean() > 0.02
        rim = (alpha > 0.02) & (cv2.dilate(mass, np.ones((3, 3), np.uint8)) == 0)
        assert rim.mean() > 0.02 and ((alpha > 0.05) & (alpha < 0.95))[rim].mean() > 0.3


def test_fur_follows_no_grid():
    """Fur is planned on a grid of 64 cells; it must not show in alpha."""
    columns = np.mean([np.abs(np.diff(alpha, axis=1)).mean(axis=0) for alpha in alphas_of("fur", 8, 256)], axis=0)
    phases = columns[:252].reshape(63, 4).mean(axis=0)  # a cell is four pixels wide
    assert phases.max() < 1.1 * phases.min()
