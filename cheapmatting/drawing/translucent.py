"""Procedural smoke and glass: alpha that is soft over whole areas, not only at edges."""

from __future__ import annotations

import cv2
import numpy as np

from ..arrays import Floats, Rng
from .compositing import as_layer, over, straight
from .textures import billows, grid, mixed, noise, ramp, random_colour, smoothstep, stretched, warped


def smoke(size: int, rng: Rng) -> tuple[Floats, Floats]:
    """A plume, wisps, a mist bank or fire: multi-octave noise, pulled about, in a soft envelope."""
    kind = rng.choice(["plume", "wisps", "mist", "fire"])
    density = billows(size, rng, 3, 6) if kind == "plume" else noise(size, rng, 3, 6, gain=0.62)
    if kind == "wisps":
        density = (1 - np.abs(2 * density - 1)) ** 3  # ridges: thin sheets of smoke
    for cells, strength in ((3, 0.4), (8, 0.12)):
        density = warped(density, rng, cells, strength)
    density = stretched(density + np.float32(0.25) * noise(size, rng, 12, 4, 0.7))
    if kind == "fire":
        return _fire(density, rng)
    envelope = _mist_bank(size, rng) if kind == "mist" else _plume(size, rng)
    alpha = smoothstep(envelope * (0.2 + 1.3 * density), 0.08, rng.uniform(1.0, 1.7))
    light = np.clip(0.4 + 0.6 * density + 0.4 * (ramp(size, rng) - 0.5), 0, 1)
    grey = rng.random() < 0.8
    tint = random_colour(rng, (0, 0.12), (0.75, 1)) if grey else random_colour(rng, (0.2, 0.8), (0.4, 1))
    return mixed(tint * np.float32(rng.uniform(0.25, 0.7)), tint, light), np.clip(alpha, 0, 1)


def _fire(density: Floats, rng: Rng) -> tuple[Floats, Floats]:
    """Flames that narrow upwards; colour follows heat, from red over orange and yellow to white."""
    size = density.shape[0]
    ys, xs = grid(size)
    rise = np.clip(1.02 - ys, 0, 1)
    middle = rng.uniform(0.4, 0.6) + 0.06 * np.sin(rise * rng.uniform(4, 10)) * rise
    width = rng.uniform(0.2, 0.4) * (1 - rise) ** np.float32(0.6) + 0.02
    envelope = warped(np.exp(-(((xs - middle) / width) ** 2)).astype(np.float32), rng, 6, 0.12)
    heat = np.clip(envelope * 1.1 + 0.9 * density - 0.85 - 0.3 * rise, 0, 1)
    channels = [
        np.clip(0.45 + heat * 1.6, 0, 1),
        np.clip(heat * 1.5 - 0.05, 0, 1),
        np.clip(heat * 1.6 - 0.7, 0, 1),
    ]
    return np.stack(channels, 2).astype(np.float32), smoothstep(heat, 0.02, rng.uniform(0.4, 0.8))


def _plume(size: int, rng: Rng) -> Floats:
    """A column [S, S] in 0..1 that rises from near the bottom, widens and sways."""
    ys, xs = grid(size)
    rise = 1 - ys
    lean, sway, phase = rng.normal(0, 0.25), rng.uniform(0.02, 0.1), rng.uniform(0, 6)
    middle = rng.uniform(0.35, 0.65) + lean * rise + sway * np.sin(phase + rise * rng.uniform(3, 9)) * rise
    width = rng.uniform(0.06, 0.14) + rise * rng.uniform(0.1, 0.35)
    across = np.exp(-(((xs - middle) / width) ** 2))
    column = across * (1 - smoothstep(rise, rng.uniform(0.4, 0.8), 1.05))
    return warped(column.astype(np.float32), rng, 7, 0.15)


def _mist_bank(size: int, rng: Rng) -> Floats:
    """A few overlapping soft ellipses [S, S] in 0..1."""
    ys, xs = grid(size)
    clear = np.ones((size, size), np.float32)
    for _ in range(int(rng.integers(2, 6))):
        x, y, rx, ry = (
            rng.uniform(0.15, 0.85),
            rng.uniform(0.25, 0.75),
            rng.uniform(0.15, 0.4),
            rng.uniform(0.1, 0.25),
        )
        clear *= 1 - np.float32(0.9) * np.exp(-(((xs - x) / rx) ** 2) - ((ys - y) / ry) ** 2)
    return np.asarray(1 - clear, np.float32)


def glass(size: int, rng: Rng) -> tuple[Floats, Floats]:
    """A vessel, perhaps with liquid in it, or soap bubbles: clear inside, denser at the rim."""
    layer = _vessel(size, rng) if rng.random() < 0.6 else _bubbles(size, rng)
    return straight(layer)


def _vessel(size: int, rng: Rng) -> Floats:
    """A turned glass seen from the side; its profile is a smooth random width along the axis."""
    ys, xs = grid(size)
    axis, top, bottom = rng.uniform(0.4, 0.6), rng.uniform(0.05, 0.2), rng.uniform(0.85, 0.97)
    knots = PROFILES[rng.integers(len(PROFILES))] * rng.uniform(0.94, 1.06, 9)
    rows = np.interp(np.linspace(0, 8, size), np.arange(9), knots).astype(np.float32)
    rows = cv2.GaussianBlur(rows[:, None], (1, 0), 0, sigmaY=size / 30) * np.float32(rng.uniform(0.8, 1.1))
    height = np.clip((ys - top) / (bottom - top), 0, 1)
    width = np.asarray(rows[np.minimum((height[:, 0] * (size - 1)).astype(int), size - 1)], np.float32)  # [S, 1]
    u = (xs - axis) / width  # -1..1 across the glass
    inside = np.clip((width - np.abs(xs - axis)) * size + 0.5, 0, 1)
    inside *= np.clip((ys - top) * size + 0.5, 0, 1) * np.clip((bottom - ys) * size + 0.5, 0, 1)
    # The longer the way of light through the wall, the denser: like Fresnel's law, steep at the rim.
    clear, steep = rng.uniform(0.04, 0.25), rng.uniform(4, 12)
    alpha = clear + (0.9 - clear) * np.clip(np.abs(u), 0, 1) ** steep
    alpha = np.maximum(alpha, 0.8 * smoothstep(height, 0.965, 0.99))  # the thick foot
    tint = random_colour(rng, (0, 0.5), (0.45, 0.95))
    colours = mixed(tint * np.float32(0.35), tint, np.clip(0.4 + 0.6 * ramp(size, rng) + 0.15 * u, 0, 1))
    if rng.random() < 0.5:
        level = rng.uniform(0.25, 0.7)
        liquid = smoothstep(height, level, level + 0.012) * smoothstep(1 - np.abs(u), 0.06, 0.14)
        drink = random_colour(rng, (0.3, 1), (0.3, 0.9))
        strength = liquid * np.float32(rng.uniform(0.35, 0.95))
        colours = colours + (drink * (0.6 + 0.4 * noise(size, rng, 2, 2))[..., None] - colours) * liquid[..., None]
        alpha = alpha + (1 - alpha) * strength
    shine = _highlight(u, -0.62, 0.07) * 0.85 + _highlight(u, 0.5, 0.04) * 0.5 + _highlight(u, -0.3, 0.15) * 0.15
    shine = shine * smoothstep(noise(size, rng, 2, 1), 0.1, 0.5)
    base = as_layer(np.clip(colours, 0, 1).astype(np.float32), (np.clip(alpha, 0, 1) * inside).astype(np.float32))
    return over(as_layer(np.ones((size, size, 3), np.float32), (shine * inside).astype(np.float32)), base)


def _highlight(u: Floats, at: float, width: float) -> Floats:
    return np.asarray(np.exp(-(((u - at) / width) ** 2)), np.float32)


# Half widths along the axis from rim to foot, as shares of the picture's side.
PROFILES = np.array(
    [
        [0.24, 0.235, 0.23, 0.225, 0.22, 0.21, 0.205, 0.2, 0.2],  # tumbler
        [0.2, 0.25, 0.26, 0.24, 0.15, 0.03, 0.03, 0.06, 0.2],  # wine glass
        [0.06, 0.06, 0.06, 0.09, 0.2, 0.22, 0.22, 0.22, 0.21],  # bottle
        [0.11, 0.08, 0.1, 0.2, 0.28, 0.3, 0.28, 0.2, 0.14],  # vase
    ],
    np.float32,
)


def _bubbles(size: int, rng: Rng) -> Floats:
    """One to five soap bubbles with faintly rainbow rims and a window's reflection."""
    layer = np.zeros((size, size, 4), np.float32)
    for _ in range(int(rng.integers(1, 6))):
        radius = int(size * rng.uniform(0.1, 0.34))
        bubble = _bubble(2 * radius + 2, rng)
        top, left = (int(size * rng.uniform(0.2, 0.8)) - radius for _ in range(2))
        ys, xs = (slice(max(start, 0), min(start + len(bubble), size)) for start in (top, left))
        shown = bubble[ys.start - top : ys.stop - top, xs.start - left : xs.stop - left]
        layer[ys, xs] = over(shown, layer[ys, xs])
    return layer


def _bubble(side: int, rng: Rng) -> Floats:
    """One bubble that fills a layer [side, side, 4]."""
    ys, xs = (2 * axis - 1 for axis in grid(side))
    r = np.sqrt(xs**2 + ys**2)
    inside = np.clip((0.98 - r) * np.float32(side / 2) + 0.5, 0, 1)
    rim = np.clip(r, 0, 1) ** np.float32(rng.uniform(4, 10))
    film = (noise(side, rng, 3, 2) + r) * np.float32(rng.uniform(3, 9))
    phases = np.array([0, 2.1, 4.2], np.float32) + np.float32(rng.uniform(0, 6))
    rainbow = 0.75 + np.float32(rng.uniform(0.05, 0.3)) * np.sin(film[..., None] + phases)
    window = np.exp(-((((xs + 0.4) / 0.22) ** 2 + ((ys + 0.45) / 0.16) ** 2) ** 2))
    ball = as_layer(rainbow.clip(0, 1), (rng.uniform(0.03, 0.12) + 0.7 * rim) * inside)
    shine = as_layer(np.ones_like(rainbow), 0.9 * window * inside)
    return over(shine, ball)


def veil(size: int, rng: Rng) -> tuple[Floats, Floats]:
    """A sheet of gauze or plastic film: evenly translucent, denser in thin creases."""
    ys, xs = grid(size)
    edge = rng.uniform(0.05, 0.4) + 0.08 * (noise(size, rng, 2, 2) - 0.5)
    inside = np.clip((ys + rng.normal(0, 0.3) * (xs - 0.5) - edge) * size + 0.5, 0, 1)
    creases, light = np.zeros_like(xs), noise(size, rng, 3, 4)
    for _ in range(3):
        sheet = warped(xs + np.float32(rng.normal(0, 0.5)) * ys, rng, 3, 0.25) * np.float32(rng.uniform(6, 20))
        strength = smoothstep(noise(size, rng, 2, 2), 0.3, 0.8)  # a crease comes and goes along its length
        creases = np.maximum(creases, strength * np.exp(-((np.sin(sheet) / rng.uniform(0.1, 0.35)) ** 2)))
        light = light + np.float32(0.35) * np.sin(sheet + np.float32(0.6)) * strength
    clear, dense = rng.uniform(0.12, 0.5), rng.uniform(0.6, 0.98)
    alpha = (clear + (dense - clear) * creases + 0.15 * clear * (light - 0.5)) * inside
    tint = random_colour(rng, (0, 0.5), (0.6, 1))
    return mixed(tint * np.float32(0.45), tint, stretched(light + creases)), np.clip(alpha, 0, 1).astype(np.float32)
