"""Nets, mesh and lace."""

import cv2
import numpy as np
import pytest

from cheapmatting.drawing.foregrounds import FOREGROUNDS

SIZE = 128


def alphas_of(kind, count=8, size=SIZE):
    """Alphas [count, S, S] of the first seeds."""
    return np.stack([FOREGROUNDS[kind](size, np.random.default_rng(seed))[1] for seed in range(count)])


def test_a_mesh_is_as_dense_as_cloth_and_a_net_is_not():
    """Cover over windows of an eighth of the picture; threads of a net are a small part of it."""

    def covers(kind):
        alphas = np.stack([FOREGROUNDS[kind](SIZE, np.random.default_rng(seed))[1] for seed in range(20)])
        windows = alphas.reshape(20, 8, SIZE // 8, 8, SIZE // 8).mean(axis=(2, 4))
        return windows[windows > 0.05]

    assert np.quantile(covers("net"), 0.75) < 0.45
    low, high = np.quantile(covers("mesh"), [0.2, 0.8])
    assert low < 0.45 and high > 0.8


@pytest.mark.parametrize("kind", ["net", "lace"])
def test_threads_are_thin_and_between_them_nothing_is_visible(kind):
    """Eroded by three pixels little is left; the holes are clear."""
    alphas = alphas_of(kind)
    thin = [cv2.erode(alpha, np.ones((7, 7), np.uint8)) for alpha in alphas]
    assert np.mean(np.stack(thin) > 0.9) < 0.2 * np.mean(alphas > 0.3)
    assert np.mean(alphas < 0.05) > 0.2
