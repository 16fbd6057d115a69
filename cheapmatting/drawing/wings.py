"""Procedural wings of insects: clear membranes between solid veins, on a solid body."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np

from ..arrays import Floats, Points, Rng
from .compositing import Canvas, as_layer, over, straight
from .solids import solid
from .textures import mixed, noise, random_colour, rotated

Shape = Callable[[Points], Floats]  # from a wing's own points [..., 2] into the picture


def wings(size: int, rng: Rng) -> tuple[Floats, Floats]:
    """One or two pairs of wings behind a body; a pair is one wing and its mirror image."""
    middle, tilt = rng.uniform(0.35, 0.65, 2), rng.uniform(0, 2 * np.pi)
    tint, vein = random_colour(rng, (0, 0.5), (0.5, 1)), random_colour(rng, (0, 0.6), (0.05, 1))
    clear, strength = rng.uniform(0.03, 0.6), rng.uniform(0.6, 1)
    layer = np.zeros((size, size, 4), np.float32)
    for _ in range(int(rng.integers(1, 3))):
        lines, width = _veins(rng), int(rng.integers(1, 4))
        shape = _shape(rng)
        for mirror in (1, -1):
            placed = [(rotated(shape(line) * [1, mirror], tilt) + middle).astype(np.float32) for line in lines]
            membrane, veins = Canvas(size, 2), Canvas(size, 3)
            membrane.polygon(placed[0], np.ones(3, np.float32))  # within the rim
            veins.threads(placed, np.ones(3, np.float32), width)
            density = clear * (0.5 + noise(size, rng, 3, 3)) * membrane.layer()[..., 3]
            film = as_layer(mixed(tint * np.float32(0.6), tint, noise(size, rng, 2, 3)), density)
            lattice = as_layer(np.broadcast_to(vein, (size, size, 3)), veins.layer()[..., 3] * strength)
            layer = over(over(lattice, film), layer)
    return straight(over(solid(size, rng, middle.astype(np.float32), rng.uniform(0.06, 0.2)), layer))


def _shape(rng: Rng) -> Shape:
    """A wing's outline: from its root at the origin, in a direction of its own, bent backwards.

    In its own coordinates a wing runs from 0 (root) to 1 (tip), and from -1 to 1 across.
    """
    spread, length, breadth = rng.uniform(0.3, 1.3), rng.uniform(0.3, 0.75), rng.uniform(0.1, 0.25)
    belly, bend = rng.uniform(0.8, 1.6), rng.normal(0, 0.1)

    def shape(points: Points) -> Floats:
        along, across = points[..., 0], points[..., 1]
        half = breadth * np.sin(np.pi * along.clip(0, 1) ** belly)
        return rotated(np.stack([along * length, across * half + bend * along**2], -1), spread)

    return shape


def _rim() -> Floats:
    """Around a wing, [T, 2]: along one edge to the tip, and back along the other."""
    t = np.linspace(0, 1, 40)
    there = np.stack([t, np.ones_like(t)], 1)
    return np.concatenate([there, there[::-1] * [1, -1]])


def _veins(rng: Rng) -> list[Floats]:
    """The rim first, a fan of veins from root to rim, and short ones from each of these to the next."""
    t = np.linspace(0, 1, 40)
    fan = np.sort(rng.uniform(-0.95, 0.95, int(rng.integers(3, 9))))
    lines = [_rim(), *(np.stack([t, v * t ** rng.uniform(0.1, 0.6)], 1) for v in fan)]
    between = np.array([-1, *fan, 1])
    for low, high in pairwise(between):
        for at in rng.uniform(0.15, 0.95, int(rng.integers(0, 14))):
            lines.append(np.array([[at, low], [at + rng.normal(0, 0.03), high]]).clip([0, -1], [1, 1]))
    return lines
