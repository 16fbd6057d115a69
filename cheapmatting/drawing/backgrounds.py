"""The procedural backgrounds by name: opaque pictures that foregrounds are composited on.

Each is a function of the picture's side in pixels and a random generator that returns float32 RGB [S, S, 3]
in 0..1. A new one is such a function and a line in `BACKGROUNDS`.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from ..arrays import Floats, Rng
from .compositing import over
from .plants import leaves
from .solids import solid, surface
from .textures import grid, mixed, noise, ramp, random_colour, smooth_field, smoothstep, warped

Background = Callable[[int, Rng], Floats]


def gradient(size: int, rng: Rng) -> Floats:
    """A studio wall: a soft gradient between two colours with fine grain."""
    wall = mixed(random_colour(rng), random_colour(rng), ramp(size, rng))
    return wall + np.float32(0.03) * (smooth_field(size, rng, size // 2)[..., None] - 0.5)


def clouds(size: int, rng: Rng) -> Floats:
    """Multi-octave noise through three colours: stone, sky, rust, bark."""
    first = mixed(random_colour(rng), random_colour(rng), noise(size, rng, int(rng.integers(2, 8)), 6, 0.6))
    weight = smoothstep(noise(size, rng, int(rng.integers(2, 6)), 5), 0.35, 0.7)[..., None]
    return first + (random_colour(rng) - first) * weight


def material(size: int, rng: Rng) -> Floats:
    """A flat, slightly warped surface: plain, marbled, striped, checked or speckled."""
    return warped(surface(size, rng), rng, 3, rng.uniform(0, 0.1)) * (0.7 + 0.45 * noise(size, rng, 2, 2))[..., None]


def bokeh(size: int, rng: Rng) -> Floats:
    """Out-of-focus lights: translucent discs, a little brighter at the rim, on a dim gradient."""
    picture = mixed(random_colour(rng, value=(0, 0.35)), random_colour(rng, value=(0.05, 0.5)), ramp(size, rng))
    ys, xs = np.mgrid[:size, :size].astype(np.float32)
    for _ in range(int(rng.integers(12, 50))):
        radius, strength = size * rng.uniform(0.02, 0.1), np.float32(rng.uniform(0.15, 0.7))
        x, y = rng.uniform(0, size, 2)
        box = tuple(slice(max(0, int(c - radius) - 1), int(c + radius) + 2) for c in (y, x))
        r = np.hypot(xs[box] - x, ys[box] - y)
        disc = np.clip(radius - r + 0.5, 0, 1) * (0.75 + 0.25 * r / radius) * strength
        picture[box] += disc[..., None] * (random_colour(rng, (0, 0.8), (0.6, 1)) - picture[box])
    return np.asarray(picture, np.float32)


def bricks(size: int, rng: Rng) -> Floats:
    """A wall of bricks or tiles, each of its own shade, with mortar, in flat perspective."""
    rows, aspect = rng.uniform(5, 18), rng.uniform(1, 2.6)
    ys, xs = grid(size)
    slope = np.float32(rng.normal(0, 0.15))
    v = (ys + slope * (xs - 0.5)) * np.float32(rows)
    u = xs * np.float32(rows / aspect) + np.float32(0.5) * (np.floor(v) % 2)
    shades = rng.uniform(0.65, 1.15, (64, 64)).astype(np.float32)
    shade = shades[np.floor(v).astype(int) % 64, np.floor(u).astype(int) % 64]
    joint = np.minimum(0.5 - np.abs(v % 1 - 0.5), (0.5 - np.abs(u % 1 - 0.5)) * np.float32(aspect))
    wall = mixed(random_colour(rng, (0, 0.3)), random_colour(rng, (0, 0.7)), smoothstep(joint, 0.03, 0.09))
    return wall * (shade * (0.7 + 0.5 * noise(size, rng, 4, 5, 0.7)))[..., None]


def text(size: int, rng: Rng) -> Floats:
    """Lines of letters and figures in several sizes, as on posters and shelves."""
    paper = mixed(random_colour(rng), random_colour(rng), ramp(size, rng))
    picture = np.rint(paper * 255).astype(np.uint8)
    letters = np.array(list("ABCDEFGHIKLMNOPRSTUVWXYZabcdefghiklmnoprstuvwxyz0123456789"))
    y = 0.0
    while y < size * 1.05:
        height = size * rng.uniform(0.04, 0.16)
        y += height * rng.uniform(1, 1.6)
        line = "".join(rng.choice(letters, 40)).replace("e", " ")
        face = int(rng.choice([cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_TRIPLEX]))
        at = (int(-rng.uniform(0, 0.3) * size), int(y))
        thickness = max(1, int(height * rng.uniform(0.04, 0.2)))
        ink = (random_colour(rng) * 255).tolist()
        cv2.putText(picture, line, at, face, height / 22, ink, thickness, cv2.LINE_AA)
    printed = picture * np.float32(1 / 255)
    return warped(printed, rng, 2, rng.uniform(0, 0.25)) * (0.75 + 0.35 * noise(size, rng, 2, 2))[..., None]


def clutter(size: int, rng: Rng) -> Floats:
    """Many shaded solids that throw soft shadows on each other, on a patterned ground."""
    half = size // 2  # drawn at half size: backgrounds are seldom as sharp as what stands before them
    picture = np.dstack([surface(half, rng), np.ones((half, half), np.float32)])
    for _ in range(int(rng.integers(5, 12))):
        thing = solid(half, rng, rng.uniform(0, 1, 2), rng.uniform(0.06, 0.24))
        shadow = cv2.GaussianBlur(np.roll(thing[..., 3], (half // 30, half // 40), (0, 1)), (0, 0), half / 40)
        picture[..., :3] *= 1 - np.float32(0.5) * shadow[..., None]
        picture = over(thing, picture)
    return np.asarray(cv2.resize(picture[..., :3], (size, size), interpolation=cv2.INTER_CUBIC), np.float32)


def scene(size: int, rng: Rng) -> Floats:
    """A landscape: a sky with clouds over rows of hills that darken towards the viewer."""
    sky = mixed(random_colour(rng, (0.2, 0.7), (0.5, 1)), random_colour(rng, (0, 0.3), (0.8, 1)), grid(size)[0])
    picture = sky + (1 - sky) * (np.float32(0.7) * smoothstep(noise(size, rng, 3, 5), 0.5, 0.9))[..., None]
    ground, level = random_colour(rng, (0.2, 0.6), (0.15, 0.6)), rng.uniform(0.3, 0.6)
    x = np.linspace(0, 1, size)
    for depth in range(int(rng.integers(2, 5))):
        waves = [rng.normal(0, 0.03 / k) * np.sin(x * 6 * k + rng.uniform(0, 6)) for k in (1, 2, 4, 8)]
        skyline = level + 0.12 * depth + np.sum(waves, axis=0)  # [S]
        hill = np.clip((grid(size)[0] - skyline) * size + 0.5, 0, 1).astype(np.float32)[..., None]
        haze = np.float32(0.6**depth)
        texture = ground * (0.5 + 0.9 * noise(size, rng, 8, 5, 0.75))[..., None]
        picture += hill * (texture + haze * (np.float32(0.65) - texture) * 0.6 - picture)
    return _perhaps_defocused(picture, rng)


def foliage(size: int, rng: Rng) -> Floats:
    """Leaves before a blurred green depth with spots of light."""
    depth = mixed(
        random_colour(rng, value=(0.05, 0.3)), np.array([0.55, 0.65, 0.3], np.float32), noise(size, rng, 5, 3)
    )
    colours, alpha = leaves(size, rng)
    return _perhaps_defocused(depth + alpha[..., None] * (colours - depth), rng)


def room(size: int, rng: Rng) -> Floats:
    """A wall with frames or windows over a floor, seen straight on."""
    ys, xs = grid(size)
    line = rng.uniform(0.6, 0.85)
    floor = smoothstep(ys, line, line + 0.01)[..., None]
    picture = surface(size, rng) * np.float32(0.6) + np.float32(0.25)
    picture = picture + floor * (surface(size, rng) * (0.4 + 0.5 * ys)[..., None] - picture)
    for _ in range(int(rng.integers(1, 5))):
        middle, reach = rng.uniform([0.1, 0.1], [0.9, line]), rng.uniform(0.06, 0.2, 2)
        inside = np.minimum(reach[0] - np.abs(xs - middle[0]), reach[1] - np.abs(ys - middle[1])) * size
        frame, pane = (np.clip(inside - border, 0, 1).astype(np.float32)[..., None] for border in (0, size / 50))
        picture = picture + frame * (random_colour(rng) - picture)
        picture = picture + pane * (mixed(random_colour(rng), random_colour(rng), noise(size, rng, 3, 4)) - picture)
    return _perhaps_defocused(np.asarray(picture, np.float32), rng)


def _perhaps_defocused(picture: Floats, rng: Rng) -> Floats:
    """Half of the time blurred, by up to a hundredth or two of the picture's side."""
    if rng.random() < 0.5:
        return picture
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), picture.shape[0] * rng.uniform(0.002, 0.02)), np.float32)


BACKGROUNDS: dict[str, Background] = {
    "gradient": gradient,
    "clouds": clouds,
    "material": material,
    "bokeh": bokeh,
    "bricks": bricks,
    "text": text,
    "clutter": clutter,
    "scene": scene,
    "foliage": foliage,
    "room": room,
}


def procedural_background(size: int, rng: Rng) -> Floats:
    """A background of a random kind, float32 RGB [S, S, 3] in 0..1."""
    kind = list(BACKGROUNDS)[rng.integers(len(BACKGROUNDS))]
    return np.clip(BACKGROUNDS[kind](size, rng), 0, 1).astype(np.float32, copy=False)


def camouflaged(background: Floats, foreground: Floats, alpha: Floats, rng: Rng) -> Floats:
    """The background with its mean colour moved most of the way to the visible foreground's: a hard case.

    Shapes: background and foreground [S, S, 3], alpha [S, S]; all in 0..1, and so is what is returned.
    """
    weights = alpha[..., None] / max(float(alpha.sum()), 1e-6)
    wanted = (foreground * weights).sum(axis=(0, 1))
    shift = (wanted - background.mean(axis=(0, 1))) * np.float32(rng.uniform(0.6, 1))
    return np.clip(background + shift, 0, 1).astype(np.float32, copy=False)
