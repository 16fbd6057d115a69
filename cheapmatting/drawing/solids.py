"""Procedural opaque objects with sharp or slightly defocused edges, and the surfaces they are made of."""

from __future__ import annotations

import cv2
import numpy as np

from ..arrays import Floats, Points, Rng
from .compositing import Canvas, over, straight
from .textures import blob, grid, mixed, noise, ramp, random_colour, rotated, smooth_field, smoothstep


def sharp(size: int, rng: Rng) -> tuple[Floats, Floats]:
    """One to four overlapping shaded solids (polygons, ellipses, stars, blobs), perhaps with holes."""
    layer = np.zeros((size, size, 4), np.float32)
    for _ in range(int(rng.integers(1, 5))):
        radius = rng.uniform(0.14, 0.34)
        layer = over(solid(size, rng, rng.uniform(0.25, 0.75, 2), radius), layer)
    if rng.random() < 0.4:
        layer = np.asarray(cv2.GaussianBlur(layer, (0, 0), rng.uniform(0.4, 1.2)), np.float32)
    return straight(layer)


def solid(size: int, rng: Rng, middle: Points, radius: float) -> Floats:
    """A layer [S, S, 4] of one opaque object, textured and lit from a side."""
    canvas = Canvas(size, 3)
    outline = OUTLINES[rng.integers(len(OUTLINES))](rng)
    stretch = np.array([1, rng.uniform(0.5, 1)])
    turn = rng.uniform(0, 2 * np.pi)
    canvas.polygon((rotated(outline * stretch, turn) * radius + middle).astype(np.float32), np.ones(3, np.float32))
    if rng.random() < 0.25:  # a hole through it
        canvas.hole((blob(rng, 0.1) * (radius * rng.uniform(0.2, 0.4)) + middle).astype(np.float32))
    alpha = canvas.layer()[..., 3]
    return np.dstack([surface(size, rng) * relief(alpha, radius, rng)[..., None] * alpha[..., None], alpha]).clip(0, 1)


def relief(mask: Floats, radius: float, rng: Rng) -> Floats:
    """Light [S, S] on a solid whose height swells from its outline: bright on one side, dark on the other."""
    small = cv2.resize(mask, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    height = cv2.GaussianBlur(small, (0, 0), max(1.0, radius * small.shape[0] * 0.22))
    angle = rng.uniform(0, 2 * np.pi)
    slope = cv2.Sobel(height, cv2.CV_32F, 1, 0) * np.cos(angle) + cv2.Sobel(height, cv2.CV_32F, 0, 1) * np.sin(angle)
    light = np.clip(0.85 + slope * (rng.uniform(0.7, 2) * radius * small.shape[0] / 8), 0.4, 1.3)
    return np.asarray(cv2.resize(light, mask.shape[::-1], interpolation=cv2.INTER_LINEAR), np.float32)


def surface(size: int, rng: Rng) -> Floats:
    """Colours [S, S, 3] of a random material: plain, marbled, striped, checked or speckled."""
    first, second = random_colour(rng), random_colour(rng)
    pattern = SURFACES[rng.integers(len(SURFACES))](size, rng)
    grain = 0.97 + 0.06 * smooth_field(size, rng, size // 2)
    return mixed(first, second, pattern) * grain[..., None]


def _plain(size: int, rng: Rng) -> Floats:
    return ramp(size, rng) * np.float32(rng.uniform(0, 0.5))


def _marbled(size: int, rng: Rng) -> Floats:
    return noise(size, rng, int(rng.integers(2, 9)), 5, 0.6)


def _striped(size: int, rng: Rng) -> Floats:
    waves = ramp(size, rng) * np.float32(rng.uniform(20, 90)) + 4 * noise(size, rng, 2, 1) * np.float32(rng.random())
    return smoothstep(np.sin(waves), -0.25, 0.25)


def _checked(size: int, rng: Rng) -> Floats:
    ys, xs = grid(size)
    a, b = rng.uniform(10, 40, 2)
    return smoothstep(np.sin(xs * np.float32(a)) * np.sin(ys * np.float32(b)), -0.1, 0.1)


def _speckled(size: int, rng: Rng) -> Floats:
    return smoothstep(smooth_field(size, rng, int(rng.integers(16, 64))), 0.7, 0.85)


SURFACES = [_plain, _plain, _marbled, _striped, _checked, _speckled]


def _polygon(rng: Rng) -> Floats:
    corners = int(rng.integers(3, 8))
    angles = (np.arange(corners) + rng.uniform(-0.3, 0.3, corners)) * (2 * np.pi / corners)
    return np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)


def _ellipse(rng: Rng) -> Floats:
    return blob(rng, 0)


def _star(rng: Rng) -> Floats:
    corners = int(rng.integers(4, 9))
    angles = np.arange(2 * corners) * (np.pi / corners)
    radii = np.where(np.arange(2 * corners) % 2, rng.uniform(0.35, 0.7), 1)
    return (np.stack([np.cos(angles), np.sin(angles)], 1) * radii[:, None]).astype(np.float32)


OUTLINES = [_polygon, _ellipse, _star, blob, blob]
