"""Procedural foliage: branches with leaves, ferns and needles, and the gaps between them."""

from __future__ import annotations

import numpy as np

from ..arrays import Floats, Rng
from .compositing import Canvas, shaded, straight
from .textures import blob, noise, rotated, smooth_field, varied

GREENS = np.array([[0.25, 0.42, 0.14], [0.36, 0.5, 0.2], [0.5, 0.55, 0.2], [0.16, 0.32, 0.16]], np.float32)
AUTUMN = np.array([[0.72, 0.45, 0.12], [0.68, 0.25, 0.1], [0.8, 0.65, 0.25], [0.45, 0.3, 0.15]], np.float32)


def leaves(size: int, rng: Rng) -> tuple[Floats, Floats]:
    """Branches that grow in from the frame, far ones darker, with leaves, leaflets or needles along them."""
    canvas = Canvas(size, 3)
    palette = AUTUMN if rng.random() < 0.25 else GREENS
    colour = palette[rng.integers(len(palette))]
    leaf = LEAF_SHAPES[rng.integers(len(LEAF_SHAPES))](rng)
    scale, spacing = rng.uniform(0.09, 0.24), rng.uniform(0.25, 0.5)
    branches = int(rng.integers(3, 9))
    for depth in range(branches):
        nearness = np.float32(0.55 + 0.45 * (depth + 1) / branches)
        branch = _branch(rng)
        canvas.threads([branch], np.array([0.32, 0.24, 0.16], np.float32) * nearness, width=canvas.fine // 180 + 1)
        if rng.random() < 0.2:
            _needles(canvas, branch, colour * nearness, rng)
        else:
            _draw_leaves(canvas, branch, leaf, colour * nearness, scale, spacing, rng)
    veins = 0.85 + 0.3 * smooth_field(size, rng, size // 5)
    return straight(shaded(canvas.layer(), veins * (0.6 + 0.7 * noise(size, rng, 3, 3))))


def _branch(rng: Rng, points: int = 24) -> Floats:
    """A bent line [points, 2] from outside one side of the picture to somewhere across its middle."""
    side = rng.uniform(0, 2 * np.pi)
    start = 0.5 + 0.72 * np.array([np.cos(side), np.sin(side)])
    end = 0.5 + rng.normal(0, 0.17, 2)
    end = end + (end - start) * rng.uniform(0, 0.35)
    across = rotated((end - start).astype(np.float32), np.pi / 2)
    t = np.linspace(0, 1, points)[:, None]
    return np.asarray(start + (end - start) * t + across * rng.normal(0, 0.22) * np.sin(np.pi * t), np.float32)


def _draw_leaves(
    canvas: Canvas, branch: Floats, leaf: Floats, colour: Floats, scale: float, spacing: float, rng: Rng
) -> None:
    """Leaves to both sides of a branch; `leaf` [T, 2] points along +x from the origin with length 1."""
    length = float(np.linalg.norm(np.diff(branch, axis=0), axis=1).sum())
    count = max(4, int(length / (scale * spacing)))
    at = np.linspace(0.12, 0.999, count) * (len(branch) - 1)
    splay = rng.uniform(0.5, 1.1)
    colours = varied(colour, rng, count, 0.3, 0.05)
    half = len(leaf) // 2
    for i, position in enumerate(at):
        k = min(int(position), len(branch) - 2)
        root = branch[k] + (branch[k + 1] - branch[k]) * (position - k)
        ahead = np.arctan2(*(branch[k + 1] - branch[k])[::-1])
        turn = 0.0 if i == count - 1 else (1 if i % 2 else -1) * splay + rng.normal(0, 0.25)
        foreshortened = np.array([1, rng.uniform(0.35, 1)])  # leaves seen from their side look narrow
        shape = rotated(leaf * foreshortened * (scale * rng.uniform(0.6, 1.25)), ahead + turn) + root
        shape = shape.astype(np.float32)
        canvas.polygon(shape, colours[i])
        canvas.polygon(shape[: half + 1], colours[i] * np.float32(rng.uniform(0.7, 0.92)))  # the half in shade
        if rng.random() < 0.25:
            eaten = blob(rng, 0.3, 16) * (scale * rng.uniform(0.04, 0.1)) + shape.mean(axis=0)
            canvas.hole((eaten + rng.normal(0, scale * 0.1, 2)).astype(np.float32))
        canvas.threads([shape[[0, half]]], np.minimum(colours[i] * np.float32(1.35), 1))


def _needles(canvas: Canvas, branch: Floats, colour: Floats, rng: Rng) -> None:
    """Conifer needles: thin straight strands all along a branch."""
    count = int(rng.integers(250, 500))
    k = rng.integers(0, len(branch) - 1, count)
    ahead = branch[k + 1] - branch[k]
    roots = branch[k] + ahead * rng.random((count, 1))
    angles = np.arctan2(ahead[:, 1], ahead[:, 0]) + rng.choice([-1, 1], count) * rng.normal(0.7, 0.2, count)
    tips = roots + (rng.uniform(0.04, 0.09, count) * np.stack([np.cos(angles), np.sin(angles)])).T
    canvas.strands(np.stack([roots, tips], 1).astype(np.float32), varied(colour, rng, count, 0.4))


def _ovate(rng: Rng) -> Floats:
    """A plain leaf, from willow to beech, smooth or serrated."""
    return _both_sides(rng.uniform(0.12, 0.32), rng.uniform(0.6, 1.1), 0.0 if rng.random() < 0.5 else 0.12, rng)


def _lobed(rng: Rng) -> Floats:
    """A lobed leaf like an oak's."""
    return _both_sides(rng.uniform(0.25, 0.38), 0.8, 0.35, rng)


def _both_sides(width: float, fullness: float, lobes: float, rng: Rng, points: int = 20) -> Floats:
    """Outline [2 * points, 2] from stalk (0, 0) along one edge to the tip (1, 0) and back along the other."""
    t = np.linspace(0, 1, points)
    edge = width * np.sin(np.pi * t**0.8) ** fullness
    edge *= 1 + lobes * np.sin(2 * np.pi * t * rng.integers(3, 7))
    upper, lower = np.stack([t, edge], 1), np.stack([t, -edge], 1)[::-1]
    return np.concatenate([upper, lower]).astype(np.float32)


LEAF_SHAPES = [_ovate, _ovate, _lobed]
