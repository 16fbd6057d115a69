"""Procedural nets, mesh and lace: regular threads, mostly thinner than a pixel, pulled out of shape."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..arrays import Floats, Points, Rng
from .compositing import Canvas, over, shaded, straight
from .textures import blob, grid, noise, placement, random_colour, rotated, smooth_field

Placement = Callable[[Points], Floats]


def net(size: int, rng: Rng) -> tuple[Floats, Floats]:
    """A net of square, diamond or rounded meshes, stretched across the picture or hanging in a part of it."""
    canvas = Canvas(size, int(rng.integers(3, 5)))
    period = rng.uniform(0.025, 0.09)
    mesh = MESHES[rng.integers(len(MESHES))]
    lines = mesh(period, rng)
    place = placement(rng, rng.uniform(0, np.pi), rng.uniform(0.01, 0.12))
    colour = random_colour(rng, (0, 0.6), (0.2, 1))
    width = int(rng.choice([1, 1, 2, 3]))
    for family in lines:
        canvas.threads([place(line) for line in family], colour * np.float32(rng.uniform(0.75, 1)), width)
    if rng.random() < 0.6:  # a rope along one edge, nothing beyond it
        t = np.linspace(-1, 1, 60)
        edge = np.stack([t, np.full_like(t, rng.uniform(-0.3, 0.1))], 1).astype(np.float32)
        beyond = np.concatenate([edge, np.array([[1, -2], [-1, -2]], np.float32)])
        canvas.hole(place(beyond))
        canvas.threads([place(edge)], colour, width=canvas.fine // 100)
    twist = 0.85 + 0.25 * smooth_field(size, rng, size // 2)
    return straight(shaded(canvas.layer(), twist * (0.75 + 0.5 * noise(size, rng, 2, 3))))


def _square(period: float, rng: Rng) -> list[list[Floats]]:
    """Two families of straight threads, each line [T, 2] through the square -0.8..0.8."""
    t = np.linspace(-0.8, 0.8, 40, dtype=np.float32)
    offsets = np.arange(-0.8, 0.8, period, dtype=np.float32)
    upright = [np.stack([np.full_like(t, x), t], 1) for x in offsets]
    return [upright, [line[:, ::-1] for line in upright]]


def _knotted(period: float, rng: Rng) -> list[list[Floats]]:
    """Wavy threads that touch their neighbours in turn: diamonds, or round meshes."""
    per_wave = int(rng.choice([2, 8]))
    height = period * rng.uniform(0.8, 1.8)
    waves = int(1.6 / height)
    phase = np.linspace(0, waves, waves * per_wave + 1)
    swing = np.cos(2 * np.pi * phase) * (period * 0.5)
    lines = [
        np.stack([x + (-1) ** i * swing, phase * height - 0.8], 1) for i, x in enumerate(np.arange(-0.8, 0.8, period))
    ]
    return [[line.astype(np.float32) for line in lines]]


MESHES = [_square, _knotted, _knotted]


def mesh(size: int, rng: Rng) -> tuple[Floats, Floats]:
    """A cloth of mesh, as bags and curtains are made of: threads up to as wide as the holes, folds of two or three
    layers, and solid seams. Where the mesh is finer than the pixels it is a veil.
    """
    pale = rng.random() < 0.7
    colour = random_colour(rng, (0, 0.2), (0.6, 1)) if pale else random_colour(rng, (0, 0.8), (0.05, 0.6))
    threads = _folded(size, rng, colour)
    cloth = Canvas(size, 2)
    outline = (blob(rng, 0.25) * rng.uniform(0.25, 0.6) + rng.uniform(0.35, 0.65, 2)).astype(np.float32)
    cloth.polygon(outline, np.ones(3, np.float32))
    return straight(over(_seams(size, rng, outline, colour), threads * cloth.layer()[..., 3:]))


def _folded(size: int, rng: Rng, colour: Floats) -> Floats:
    """One to three layers of mesh as a layer [S, S, 4]; the first covers everything, the others what is folded."""
    period = float(np.exp(rng.uniform(np.log(0.006), np.log(0.04))))
    weave, thickness = MESHES[rng.integers(len(MESHES))], np.exp(rng.uniform(np.log(0.04), np.log(0.45)))
    layer = np.zeros((size, size, 4), np.float32)
    for number in range(int(rng.choice([1, 1, 1, 2, 2, 3]))):
        canvas, place = Canvas(size, 3), placement(rng, rng.uniform(0, np.pi), rng.uniform(0.02, 0.15))
        for family in weave(period, rng):
            tone = colour * np.float32(rng.uniform(0.85, 1))
            canvas.threads([place(line) for line in family], tone, max(1, round(thickness * period * canvas.fine)))
        if number:
            beyond = np.array([[-1, 0], [1, rng.uniform(-0.3, 0.3)], [1, -2], [-1, -2]], np.float32)
            canvas.hole(place(_between(beyond)))
        layer = over(shaded(canvas.layer(), 0.7 + 0.4 * noise(size, rng, 3, 3)), layer)
    return layer


def _seams(size: int, rng: Rng, outline: Points, colour: Floats) -> Floats:
    """A solid seam along a part of the outline, and up to two across, as a layer [S, S, 4]."""
    canvas = Canvas(size, 3)
    edge = outline[: int(len(outline) * rng.uniform(0.1, 0.6))]
    canvas.threads([edge], colour, max(1, round(rng.uniform(0.005, 0.05) * canvas.fine)))
    across = [outline[rng.integers(len(outline), size=2)] for _ in range(int(rng.integers(0, 3)))]
    canvas.threads([_between(ends) for ends in across], colour, max(1, round(rng.uniform(0.004, 0.015) * canvas.fine)))
    return shaded(canvas.layer(), 0.6 + 0.5 * noise(size, rng, 4, 4))


def _between(corners: Points) -> Floats:
    """Points [T, 2] along straight lines from corner to corner."""
    t = np.linspace(0, len(corners) - 1, 40)
    return np.stack([np.interp(t, np.arange(len(corners)), axis) for axis in corners.T], 1).astype(np.float32)


def lace(size: int, rng: Rng) -> tuple[Floats, Floats]:
    """A lace cloth: a mesh almost too fine to see, with flowers, folds and a scalloped edge."""
    canvas = Canvas(size, 4)
    pale = rng.random() < 0.8
    colour = random_colour(rng, (0, 0.25), (0.75, 1)) if pale else random_colour(rng, (0, 0.9), (0.02, 0.5))
    angle, level = rng.normal(0, 0.5), rng.uniform(-0.4, -0.1)
    place = placement(rng, angle, rng.uniform(0.01, 0.08))
    for family in MESHES[rng.integers(len(MESHES))](rng.uniform(0.014, 0.024), rng):
        canvas.threads([place(line) for line in family], colour * np.float32(0.92))
    step = rng.uniform(0.16, 0.28)
    columns, rows = np.arange(-0.9, 0.9, step), np.arange(level + step * 0.75, 0.9, step)
    centres = np.array([[x + (row % 2) * step / 2, y] for row, y in enumerate(rows) for x in columns])
    _flowers(canvas, place, centres, step * 0.45, int(rng.integers(5, 9)), colour, rng)
    _scalloped_edge(canvas, place, level, step / 2, colour)
    ys, xs = grid(size)
    across = rotated(np.stack([xs, ys], 2), angle)[..., 0]
    folds = np.sin(across * rng.uniform(8, 30) + 3 * noise(size, rng, 2, 1))
    return straight(shaded(canvas.layer(), 0.85 + 0.13 * folds + 0.1 * smooth_field(size, rng, size // 2)))


def _flowers(
    canvas: Canvas, place: Placement, centres: Points, radius: float, petals: int, colour: Floats, rng: Rng
) -> None:
    """Flowers at centres [n, 2], of looped petals, every petal outlined and half filled with hatching."""
    turns = rng.uniform(0, 2 * np.pi, (len(centres), 1))
    along = turns + 2 * np.pi * np.arange(petals) / petals  # [n, petals]
    axis = np.stack([np.cos(along), np.sin(along)], -1)[:, :, None]  # [n, petals, 1, 2]
    across = np.stack([-np.sin(along), np.cos(along)], -1)[:, :, None] * (1.9 / petals)
    t = np.linspace(0, np.pi, 14)[:, None]
    petal = radius * (axis * np.sin(t) + across * np.sin(2 * t) * np.sin(t))  # [n, petals, 14, 2]
    loops = place((centres[:, None, None] + petal).reshape(-1, 14, 2))
    hatching = np.stack([loops[:, 1:7], loops[:, -2:-8:-1]], 2).reshape(-1, 2, 2)  # across the petal
    canvas.threads(list(hatching), colour * np.float32(0.96))
    canvas.threads(list(loops), colour, width=2)
    for disc in place(centres[:, None] + 0.2 * radius * _circle()):
        canvas.polygon(disc, colour)


def _scalloped_edge(canvas: Canvas, place: Placement, level: float, step: float, colour: Floats) -> None:
    """Cut the cloth off above `level` in arcs, with a dense hem and a round eyelet in every arc."""
    x = np.linspace(-1, 1, 400)
    hem = np.stack([x, level - step * 0.45 * np.abs(np.sin(np.pi * x / step))], 1)
    canvas.hole(place(np.concatenate([hem, [[1, -2], [-1, -2]]])))
    inner = np.stack([x, np.full_like(x, level + 0.02)], 1)
    canvas.polygon(place(np.concatenate([hem, inner[::-1]])), colour * np.float32(0.97))
    arcs = np.arange(int(-0.9 / step), int(0.9 / step) + 1)
    centres = np.stack([(arcs + 0.5) * step, np.full(len(arcs), level - step * 0.12)], 1)
    for eyelet in place(centres[:, None] + step * 0.16 * _circle()):
        canvas.hole(eyelet)


def _circle(points: int = 16) -> Floats:
    """A unit circle [points, 2]."""
    angles = np.linspace(0, 2 * np.pi, points, endpoint=False)
    return np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)
