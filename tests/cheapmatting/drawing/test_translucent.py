"""Smoke, glass and gauze: soft over whole areas."""

import cv2
import numpy as np
import pytest

from cheapmatting.drawing.foregrounds import FOREGROUNDS

SIZE = 128


def alphas_of(kind, count=8, size=SIZE):
    """Alphas [count, S, S] of the first seeds."""
    return np.stack([FOREGROUNDS[kind](size, np.random.default_rng(seed))[1] for seed in range(count)])


@pytest.mark.parametrize("kind", ["smoke", "glass", "veil"])
def test_translucency_is_not_only_at_edges(kind):
    """Pixels that are translucent for three pixels around them."""
    shares = []
    for alpha in alphas_of(kind, 12):
        between = ((alpha > 0.04) & (alpha < 0.96)).astype(np.uint8)
        shares.append(cv2.erode(between, np.ones((7, 7), np.uint8)).mean())
    assert np.mean(shares) > 0.1


def test_smoke_has_no_edges():
    steps = [np.abs(np.diff(alpha, axis=0)).max() for alpha in alphas_of("smoke", 12, 256)]
    assert np.median(steps) < 0.25


def test_a_veil_is_denser_in_creases_and_clear_above_its_edge():
    for alpha in alphas_of("veil"):
        inside = alpha[alpha > 0.05]
        assert np.quantile(inside, 0.95) - np.quantile(inside, 0.25) > 0.1


def test_glass_is_denser_at_its_rim_than_inside():
    """Means over many glasses: within three pixels of the outside, and further in."""
    rims, insides = [], []
    for alpha in alphas_of("glass", 20):
        visible = (alpha > 0.02).astype(np.uint8)
        within = cv2.erode(visible, np.ones((7, 7), np.uint8)) > 0
        rims.append(alpha[(visible > 0) & ~within].mean())
        insides.append(alpha[within].mean())
    assert np.mean(rims) > np.mean(insides)
