"""Leaves and needles."""

import cv2
import numpy as np

from cheapmatting.drawing.foregrounds import FOREGROUNDS

SIZE = 128


def alphas_of(kind, count=8, size=SIZE):
    """Alphas [count, S, S] of the first seeds."""
    return np.stack([FOREGROUNDS[kind](size, np.random.default_rng(seed))[1] for seed in range(count)])


def test_leaves_are_solid_with_gaps_between_them():
    alphas = alphas_of("leaves", 12)
    assert 0.1 < np.mean(alphas > 0.95) < 0.8
    gaps = [cv2.connectedComponents((alpha < 0.05).astype(np.uint8))[0] - 1 for alpha in alphas]
    assert np.median(gaps) >= 3


def test_some_leaves_are_green_and_some_are_not():
    hues = []
    for seed in range(30):
        colours, alpha = FOREGROUNDS["leaves"](64, np.random.default_rng(seed))
        red, green, _ = colours[alpha > 0.9].mean(axis=0)
        hues.append(green > red)
    assert 0.4 < np.mean(hues) < 0.95
