"""Strands as arrays of points: growth over a body, clumps, curls, frizz, and their colours."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .shapes import Array, Body, Mesh, unit, waves

DOWN = np.array([0.0, 0.0, -1.0])
EUMELANIN = np.array([0.506, 0.841, 1.653])
PHEOMELANIN = np.array([0.343, 0.733, 1.924])


@dataclass
class Strands:
    """Curves of equal point counts.

    Widths are in pixels of the picture, so that thin strands stay thin, or in units of the scene if `solid` is set.
    Colours are absorptions where `hair` is set, else colours of a surface.
    """

    points: Array
    width: Array
    colour: Array
    hair: bool = True
    solid: bool = False
    roughness: float = 0.3
    coat: float = 0.0

    def __post_init__(self) -> None:
        count, length = self.points.shape[:2]
        self.width = np.broadcast_to(np.atleast_1d(self.width), (count, length))
        self.colour = np.broadcast_to(self.colour, (count, length, 3))


@dataclass
class Subject:
    """What one picture shows: solids, strands, the framed square and the directions to view it from (degrees)."""

    meshes: list[Mesh]
    strands: list[Strands]
    centre: Array
    extent: float
    azimuth: float = 0.0
    elevation: float = 5.0
    lean: float = 0.0


def axes(subject: Subject) -> tuple[Array, Array, Array]:
    """The camera's directions to the right, up, and back towards the viewer."""
    azimuth, elevation, lean = np.radians([subject.azimuth, subject.elevation, subject.lean])
    backward = np.array([np.sin(azimuth) * np.cos(elevation), -np.cos(azimuth) * np.cos(elevation), np.sin(elevation)])
    right = unit(np.cross([0, 0, 1.0], backward))
    up = np.cross(backward, right)
    return np.cos(lean) * right + np.sin(lean) * up, np.cos(lean) * up - np.sin(lean) * right, backward


def fit(subject: Subject, most: float = 1.45) -> None:
    """Widens and moves the frame until no strands leave it at the sides or the top; below, pictures may be cut."""
    right, up, _ = axes(subject)
    points = np.concatenate([strands.points[:, ::2].reshape(-1, 3) for strands in subject.strands]) - subject.centre
    low, high = np.quantile(points @ right, [0.001, 0.999])
    top = np.quantile(points @ up, 0.999)
    wanted = 1.12 * (high - low)
    subject.extent *= float(np.clip(wanted / subject.extent, 1, most))
    half = subject.extent / 2.12
    across = (high + low) / 2 if wanted > subject.extent else np.clip(0, high - half, low + half)
    subject.centre = subject.centre + across * right + max(top - half, 0) * up


@dataclass
class Groom:
    """How strands grow. `stiffness` holds the direction; `wander` bends neighbours alike, `jitter` each on its own."""

    gravity: float = 0.1
    wind: Array = field(default_factory=lambda: np.zeros(3))
    wander: float = 0.1
    wander_frequency: float = 1.5
    jitter: float = 0.02
    clearance: float = 0.02


def along(count: int) -> Array:
    """Positions along a strand, 0 at the root to 1 at the tip."""
    return np.linspace(0, 1, count)


def taper(rng: np.random.Generator, strands: int, points: int, width: float, spread: float = 0.25) -> Array:
    """Widths in pixels: each strand its own, thinning to the tip."""
    own = width * np.exp(rng.normal(0, spread, (strands, 1)))
    return own * (1 - 0.75 * along(points) ** 3)


def grow(
    roots: Array,
    directions: Array,
    lengths: Array,
    points: int,
    groom: Groom,
    rng: np.random.Generator,
    body: Body | None,
) -> Array:
    """Strands from roots: each step bends by gravity, wind and noise, and slides over the body. (n, points, 3)"""
    field_ = waves(rng, groom.wander_frequency, 3)
    step = (lengths / (points - 1))[:, None]
    position, direction = roots.copy(), unit(directions)
    result = [position]
    pull = groom.gravity * DOWN + groom.wind
    scale = 24 / points
    for _ in range(points - 1):
        bend = pull + groom.wander * field_(position) + groom.jitter * rng.normal(size=position.shape)
        direction = unit(direction + scale * bend)
        moved = position + direction * step
        if body is not None:
            moved, direction = _slide(body, moved, direction, groom.clearance)
        position = moved
        result.append(position)
    return np.stack(result, 1)


def _slide(body: Body, position: Array, direction: Array, clearance: float) -> tuple[Array, Array]:
    """Points moved out of the body, their directions turned along its surface."""
    depth = body.grid.distance(position) - clearance
    hit = np.flatnonzero(depth < 0)
    if hit.size:
        normal = body.grid.gradient(position[hit])
        position, direction = position.copy(), direction.copy()
        position[hit] -= depth[hit, None] * normal
        inward = np.minimum((direction[hit] * normal).sum(-1, keepdims=True), 0)
        direction[hit] = unit(direction[hit] - 0.97 * inward * normal)
    return position, direction


def nearest(points: Array, targets: Array) -> Array:
    """The index of the nearest target of each point."""
    squares = (targets**2).sum(-1)
    blocks = [
        np.argmin(squares - 2 * block @ targets.T, 1) for block in np.array_split(points, len(points) // 4000 + 1)
    ]
    return np.concatenate(blocks)


def clump(
    curves: Array, guides: int, strength: float, rng: np.random.Generator, shape: float = 1.0, loose: float = 0.1
) -> tuple[Array, Array]:
    """Strands drawn to the nearest of some guide strands, more at the tips. Returns the strands and their guides.

    A share `loose` of the strands is hardly drawn at all.
    """
    chosen = rng.choice(len(curves), min(guides, len(curves)), replace=False)
    owner = nearest(curves[:, 0], curves[chosen, 0])
    guide = curves[chosen][owner]
    own = strength * rng.uniform(0.6, 1.0, len(curves)) * np.where(rng.uniform(size=len(curves)) < loose, 0.15, 1)
    pull = own[:, None, None] * (along(curves.shape[1]) ** shape)[None, :, None]
    return curves + pull * (guide - curves), owner


def frames(curves: Array) -> tuple[Array, Array]:
    """Two unit vectors across each point of the strands."""
    tangent = unit(np.gradient(curves, axis=1))
    reference = np.where(np.abs(tangent[..., 2:3]) < 0.9, [[[0.0, 0.0, 1.0]]], [[[1.0, 0.0, 0.0]]])
    across = unit(np.cross(tangent, reference))
    return across, np.cross(tangent, across)


def curl(curves: Array, radius: Array | float, turns: Array | float, phase: Array | float, rise: float = 0.25) -> Array:
    """Strands wound around themselves; the radius reaches its full size at the share `rise` of the length."""
    length = len(curves)
    mean = curves.copy()
    for _ in range(3):
        mean[:, 1:-1] = (mean[:, :-2] + mean[:, 1:-1] + mean[:, 2:]) / 3
    chord = np.repeat(unit(mean[:, -1:] - mean[:, :1]), curves.shape[1], 1)
    side = unit(np.cross(chord, [[[0.31, 0.87, 0.38]]]))
    up = np.cross(chord, side)
    t = along(curves.shape[1])
    size = np.broadcast_to(radius, (length,))[:, None] * np.clip(t / rise, 0, 1)
    angle = np.broadcast_to(phase, (length,))[:, None] + 2 * np.pi * np.broadcast_to(turns, (length,))[:, None] * t
    return curves + (size * np.cos(angle))[..., None] * side + (size * np.sin(angle))[..., None] * up


def frizz(curves: Array, amount: Array | float, rng: np.random.Generator, waves_count: float = 3.0) -> Array:
    """Strands bent each on its own: slow at first, faster and weaker on top."""
    t = along(curves.shape[1])[None, :, None]
    result = curves.copy()
    size = np.broadcast_to(amount, (len(curves),))[:, None, None]
    for octave in range(3):
        frequency = waves_count * 2**octave * rng.uniform(0.6, 1.5, (len(curves), 1, 1))
        direction = rng.normal(size=(len(curves), 1, 3)) / 2**octave
        phase = rng.uniform(0, 2 * np.pi, (len(curves), 1, 1))
        result += size * t**0.7 * direction * (np.sin(2 * np.pi * frequency * t + phase) - np.sin(phase) * (1 - t))
    return result


def flyaways(curves: Array, share: float, amount: float, rng: np.random.Generator) -> Array:
    """A share of the strands leaves the others: each in its own direction, some short, some far."""
    stray = rng.uniform(size=len(curves)) < share
    t = along(curves.shape[1])[None, :, None] ** 1.6
    count = int(stray.sum())
    away = rng.normal(size=(count, 1, 3)) + np.array([0, 0, 0.4])
    size = amount * rng.exponential(1.0, (count, 1, 1))
    result = curves.copy()
    result[stray] = frizz(curves[stray] + size * t * away, amount * 0.15, rng, 1.5)
    return result


def melanin_absorption(melanin: Array, redness: Array) -> Array:
    """The absorption of natural hair, in each of red, green and blue."""
    quantity = -np.log(np.maximum(1 - np.clip(melanin, 0, 1), 1e-4))[..., None]
    redness = np.clip(redness, 0, 1)[..., None]
    return quantity * ((1 - redness) * EUMELANIN + redness * PHEOMELANIN)


def dye_absorption(colour: Array, radial_roughness: float = 0.3) -> Array:
    """The absorption that makes a mass of hair look like a colour."""
    b = radial_roughness
    scale = 5.969 - 0.215 * b + 2.532 * b**2 - 10.73 * b**3 + 5.574 * b**4 + 0.245 * b**5
    return (np.log(np.clip(colour, 0.01, 0.99)) / scale) ** 2


def hair_colours(
    count: int, points: int, rng: np.random.Generator, roots: Array | None = None, dyed: float = 0.15
) -> Array:
    """The absorption of a head of hair: one colour, each strand a little off, some grey, sometimes dyed or bleached."""
    melanin = float(np.clip(rng.choice([0.13, 0.28, 0.5, 0.75, 0.95], p=[0.2, 0.2, 0.22, 0.2, 0.18]), 0.05, 1))
    melanin += rng.normal(0, 0.05)
    redness = rng.beta(1.2, 2.5) if rng.uniform() < 0.8 else rng.uniform(0.6, 1)
    own = np.clip(melanin * np.exp(rng.normal(0, 0.18, count)), 0.02, 0.995)
    grey = rng.uniform(size=count) < (rng.uniform(0.1, 1) if rng.uniform() < 0.15 else 0.01)
    own[grey] = rng.uniform(0.01, 0.08, int(grey.sum()))
    if roots is not None and rng.uniform() < 0.4:
        own = np.clip(own + 0.12 * waves(rng, 2.5)(roots)[:, 0], 0.02, 0.995)
    absorption = melanin_absorption(own, np.full(count, redness))[:, None, :]
    fade = 1 - rng.uniform(0, 0.45) * along(points)[None, :, None] ** 1.5
    if rng.uniform() < dyed:
        dye = dye_absorption(np.clip(bright_colour(rng) * np.exp(rng.normal(0, 0.15, (count, 1, 1))), 0.02, 0.95))
        start = rng.uniform(-0.3, 0.5)
        mix = np.clip((along(points) - start) / 0.3, 0, 1)[None, :, None]
        return absorption * fade * (1 - mix) + dye * mix
    return absorption * fade


def bright_colour(rng: np.random.Generator) -> Array:
    """A random colour that is seldom grey."""
    hue = rng.uniform(0, 6)
    wheel = np.clip(np.abs((hue + np.array([0.0, 4.0, 2.0])) % 6 - 3) - 1, 0, 1)
    return rng.uniform(0.15, 0.9) * (1 - rng.uniform(0.4, 0.95) * (1 - wheel))


def dull_colour(rng: np.random.Generator) -> Array:
    """A colour of cloth, wool or straw."""
    return np.clip(bright_colour(rng) * 0.45 + rng.uniform(0.05, 0.5), 0.01, 0.9)
