"""Insects' wings."""

import numpy as np

from cheapmatting.drawing.foregrounds import FOREGROUNDS

SIZE = 128


def test_wings_are_clear_between_solid_veins():
    for seed in range(8):
        alpha = FOREGROUNDS["wings"](4 * SIZE, np.random.default_rng(seed))[1]
        inside = alpha > 0.02
        assert ((alpha < 0.65) & inside).sum() > 0.15 * inside.sum()  # membranes
        assert (alpha > 0.6).sum() > 0.05 * inside.sum()  # veins and body
