"""Cheap random fields, colours and outlines that the procedural foregrounds and backgrounds are made of."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from ..arrays import Floats, Points, Rng


def smooth_field(size: int, rng: Rng, cells: int, channels: int = 1) -> Floats:
    """A random field [S, S] or [S, S, channels] in about 0..1 that varies over 1/`cells` of the picture."""
    grid = rng.random((cells + 1, cells + 1, channels), np.float32)
    return resized(grid, size, cv2.INTER_CUBIC)


def resized(field: Floats, size: int, interpolation: int) -> Floats:
    """A square field or picture [A, A, ...] as [size, size, ...]."""
    return np.asarray(cv2.resize(field, (size, size), interpolation=interpolation), np.float32)


def noise(size: int, rng: Rng, cells: int = 3, octaves: int = 5, gain: float = 0.5) -> Floats:
    """Multi-octave noise [S, S], stretched to 0..1; each octave twice as fine and `gain` times as strong."""
    total = np.zeros((cells + 1, cells + 1), np.float32)
    strength = 1.0
    for _ in range(octaves):
        total += np.float32(strength) * rng.random(total.shape, np.float32)
        if 2 * total.shape[0] > size:
            break
        total = resized(total, 2 * total.shape[0], cv2.INTER_CUBIC)
        strength *= gain
    return stretched(resized(total, size, cv2.INTER_CUBIC))


def billows(size: int, rng: Rng, cells: int = 3, octaves: int = 5, gain: float = 0.6) -> Floats:
    """Noise [S, S] in 0..1 made of rounded lumps with creases between them, as in thick smoke."""
    total = np.zeros((size, size), np.float32)
    for octave in range(octaves):
        total += np.float32(gain**octave) * np.abs(2 * smooth_field(size, rng, cells * 2**octave) - 1)
    return stretched(total)


def stretched(field: Floats) -> Floats:
    """A field moved and scaled to span exactly 0..1."""
    low, high = float(field.min()), float(field.max())
    return (field - np.float32(low)) / np.float32(max(high - low, 1e-6))


def warped(field: Floats, rng: Rng, cells: int, strength: float) -> Floats:
    """A field [S, S, ...] pulled about by up to about half of `strength` (a share of the picture's side)."""
    size = field.shape[0]
    ys, xs = grid(size)
    moves = (smooth_field(size, rng, cells, 2) - np.float32(0.5)) * np.float32(strength)
    maps = [(axis + moves[..., i]) * np.float32(size) - np.float32(0.5) for i, axis in enumerate((xs, ys))]
    return np.asarray(cv2.remap(field, maps[0], maps[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT), np.float32)


def grid(size: int) -> tuple[Floats, Floats]:
    """Unit coordinates of the pixel centres: ys and xs, each [S, S] in 0..1."""
    axis = (np.arange(size, dtype=np.float32) + np.float32(0.5)) / np.float32(size)
    return np.repeat(axis[:, None], size, 1), np.repeat(axis[None], size, 0)


def ramp(size: int, rng: Rng) -> Floats:
    """A linear gradient [S, S] in 0..1 in a random direction."""
    ys, xs = grid(size)
    angle = rng.uniform(0, 2 * np.pi)
    return stretched(xs * np.float32(np.cos(angle)) + ys * np.float32(np.sin(angle)))


def smoothstep(field: Floats, low: float, high: float) -> Floats:
    """0 below `low`, 1 above `high`, a smooth cubic between."""
    t = np.clip((field - np.float32(low)) / np.float32(high - low), 0, 1)
    return t * t * (3 - 2 * t)


def mixed(low: Floats, high: Floats, weight: Floats) -> Floats:
    """Colours [..., 3] between `low` [3] and `high` [3] by `weight` [...] in 0..1."""
    return np.asarray(low + (high - low) * weight[..., None], np.float32)


def random_colour(rng: Rng, saturation: tuple[float, float] = (0, 1), value: tuple[float, float] = (0.1, 1)) -> Floats:
    """An RGB colour [3] of any hue, its saturation and value (HSV) drawn from ranges within 0..1."""
    hsv = np.array([[[rng.uniform(0, 360), rng.uniform(*saturation), rng.uniform(*value)]]], np.float32)
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, 0], np.float32)


def varied(colour: Floats, rng: Rng, count: int, brightness: float = 0.3, hue: float = 0.08) -> Floats:
    """`count` relatives of a colour [3], as [count, 3]: brighter, darker, and a little off in hue."""
    factors = rng.uniform(1 - brightness, 1 + brightness, (count, 1)) + rng.normal(0, hue, (count, 3))
    return np.clip(colour * factors, 0, 1).astype(np.float32)


def blob(rng: Rng, roughness: float = 0.3, points: int = 90) -> Floats:
    """A smooth closed outline [points, 2] about the origin, of radius about 1; roughness 0 is a circle."""
    angles = np.linspace(0, 2 * np.pi, points, endpoint=False)
    radius = np.ones(points)
    for wave in range(2, 7):
        radius += roughness / wave * rng.normal() * np.cos(wave * angles + rng.uniform(0, 2 * np.pi))
    radius = np.maximum(radius, 0.25)
    return np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32) * radius[:, None].astype(np.float32)


def rotated(points: Points, angle: float) -> Floats:
    """Points [..., 2] turned about the origin by `angle` radians (clockwise on screen, y pointing down)."""
    c, s = np.cos(angle), np.sin(angle)
    return np.asarray(points @ np.array([[c, s], [-s, c]]), np.float32)


def placement(rng: Rng, angle: float, strength: float) -> Callable[[Points], Floats]:
    """A fixed map of points [..., 2] into the picture: origin to its middle, turned by `angle`, then pulled
    about by four plane waves of up to `strength` each, a smooth warp of the whole plane."""
    waves, phases = rng.normal(0, 5, (2, 4)), rng.uniform(0, 2 * np.pi, 4)
    reach = strength * rng.uniform(-1, 1, (4, 2))

    def place(points: Points) -> Floats:
        still = rotated(points, angle) + np.float32(0.5)
        return np.asarray(still + np.sin(still @ waves + phases) @ reach, np.float32)

    return place
