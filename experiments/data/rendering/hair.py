"""Kinds of pictures with hair and fur. Each function draws one subject at random."""

from __future__ import annotations

import numpy as np

from .bodies import beast, blob, bust, jaw, pet_head, scalp
from .shapes import Array, Body, Mesh, scatter, unit, waves
from .strands import (
    Groom,
    Strands,
    Subject,
    along,
    bright_colour,
    clump,
    curl,
    dye_absorption,
    flyaways,
    frizz,
    grow,
    hair_colours,
    melanin_absorption,
    taper,
)


def portrait(
    body: Body, meshes: list[Mesh], strands: list[Strands], rng: np.random.Generator, room: float = 0.0
) -> Subject:
    """A bust with its brows, framed as portraits are: from any side, the chest cut by the lower edge."""
    azimuth = rng.normal(0, 40) if rng.uniform() < 0.72 else rng.uniform(90, 270)
    extent = rng.uniform(3.0, 4.6) + room
    centre = np.array([rng.normal(0, 0.1), 0, 1.35 + room * 0.4 - extent / 2 + rng.uniform(0, 0.25)])
    brows = _brows(body, rng, strands[0].colour[0, 0])
    return Subject(meshes, [*strands, brows], centre, extent, azimuth, rng.normal(4, 7), rng.normal(0, 5))


def _brows(body: Body, rng: np.random.Generator, colour: Array) -> Strands:
    count = 500
    x = rng.uniform(0.1, 0.45, count)
    roots = np.stack([x, np.full(count, -0.85), 0.17 + 0.1 * np.sin(x * 6) + rng.normal(0, 0.02, count)], -1)
    roots[:, 0] *= rng.choice([-1, 1], count)
    for _ in range(4):
        roots = roots - body.distance(roots)[:, None] * body.gradient(roots)
    direction = body.gradient(roots) * 0.5 + np.stack([np.sign(roots[:, 0]), 0 * x, 0.3 + 0 * x], -1)
    curves = grow(roots, direction, rng.uniform(0.05, 0.1, count), 5, Groom(gravity=0), rng, None)
    return Strands(curves, taper(rng, count, 5, 0.5), np.maximum(colour, 0.15))


def combed(roots: Array, normals: Array, rng: np.random.Generator) -> Array:
    """Directions in which hair leaves the scalp: parted, swept back, or with a fringe over the forehead."""
    side = np.sign(roots[:, :1] - rng.uniform(-0.35, 0.35))
    style = rng.choice(["parted", "back", "fringe"], p=[0.55, 0.2, 0.25])
    sweep = np.array([[0, 1.0, 0.2]]) if style == "back" else side * [[1.0, 0, 0]] + [[0, 0.35, 0]]
    if style == "fringe":
        front = np.clip((-0.25 - roots[:, 1:2]) / 0.2, 0, 1) * (np.abs(roots[:, :1]) < 0.5)
        sweep = sweep * (1 - front) + front * (side * [[0.25, 0, 0]] + [[0, -0.9, -0.1]])
    return normals * rng.uniform(0.4, 0.9) + sweep


def breeze(rng: np.random.Generator, chance: float = 0.3) -> Array:
    """No wind, or wind from a side."""
    if rng.uniform() > chance:
        return np.zeros(3)
    angle = rng.choice([0, np.pi]) + rng.normal(0, 0.6)
    return rng.uniform(0.04, 0.2) * np.array([np.cos(angle), np.sin(angle), rng.uniform(-0.1, 0.6)])


def long_hair(rng: np.random.Generator) -> Subject:
    """Straight or wavy hair to the chin or the waist, with loose strands, sometimes in the wind."""
    body, meshes = bust(rng)
    width = rng.uniform(0.25, 0.5)
    count, points = int(min(5500 / width, 19000)), 32
    roots = scatter(meshes[0], count, rng, scalp)
    lengths = rng.choice([1.3, 2.2, 3.2]) * rng.uniform(0.8, 1.15) * (1 - rng.beta(1, 6, count) * 0.6)
    groom = Groom(
        rng.uniform(0.08, 0.2),
        breeze(rng),
        rng.uniform(0.02, 0.12),
        rng.uniform(0.8, 2.0),
        rng.uniform(0.005, 0.03),
        0.03,
    )
    curves = grow(roots, combed(roots, body.gradient(roots), rng), lengths, points, groom, rng, body)
    curves, _ = clump(curves, int(rng.integers(60, 500)), rng.uniform(0.2, 0.85), rng, rng.uniform(0.7, 2))
    if rng.uniform() < 0.5:
        phase = waves(rng, 1.2)(roots)[:, 0] * 3 + rng.normal(0, 0.3, count)
        curves = curl(curves, rng.uniform(0.02, 0.08), lengths * rng.uniform(0.5, 1.4), phase, 0.5)
    curves = frizz(curves, rng.uniform(0.004, 0.03), rng)
    curves = flyaways(curves, rng.uniform(0.01, 0.07), rng.uniform(0.08, 0.3), rng)
    colour = hair_colours(count, points, rng, roots)
    hair = Strands(
        curves, taper(rng, count, points, width), colour, roughness=rng.uniform(0.2, 0.4), coat=rng.uniform(0, 0.4)
    )
    return portrait(body, meshes, [hair], rng, 0.7 if groom.wind.any() else 0.0)


def curly_hair(rng: np.random.Generator) -> Subject:
    """Curls and ringlets, or the tight coils of an afro."""
    body, meshes = bust(rng)
    afro = rng.uniform() < 0.4
    width = rng.uniform(0.3, 0.5)
    count, points = (13000, 48) if afro else (9000, 80)
    roots = scatter(meshes[0], count, rng, scalp)
    normals = body.gradient(roots)
    lengths = (rng.uniform(0.35, 1.0) if afro else rng.uniform(0.9, 2.6)) * rng.uniform(0.7, 1.1, count)
    gravity = rng.uniform(0, 0.02) if afro else rng.uniform(0.05, 0.15)
    direction = normals if afro else combed(roots, normals, rng)
    groom = Groom(gravity, breeze(rng, 0.15), 0.12, 2.0, 0.03, 0.04)
    curves = grow(roots, direction, lengths, points, groom, rng, body)
    curves, owner = clump(curves, int(rng.integers(250, 900)), rng.uniform(0.5, 0.9), rng, 0.5, 0.12)
    phase = rng.uniform(0, 2 * np.pi, count)[owner] + rng.normal(0, 0.35, count)
    radius = (rng.uniform(0.02, 0.04) if afro else rng.uniform(0.05, 0.13)) * rng.uniform(0.6, 1.3, count)[owner]
    curves = curl(curves, radius, lengths * (rng.uniform(5, 9) if afro else rng.uniform(1.8, 3.6)), phase)
    curves = flyaways(frizz(curves, rng.uniform(0.01, 0.04), rng), rng.uniform(0.02, 0.08), 0.12, rng)
    hair = Strands(curves, taper(rng, count, points, width), hair_colours(count, points, rng, roots), roughness=0.3)
    return portrait(body, meshes, [hair], rng, 0.3)


def tied_hair(rng: np.random.Generator) -> Subject:
    """Hair drawn to a tie at the back of the head: a ponytail that hangs, swings or is blown about."""
    body, meshes = bust(rng)
    width, count, first, rest = rng.uniform(0.25, 0.45), 13000, 14, 26
    roots = scatter(meshes[0], count, rng, scalp)
    tie = np.array([rng.normal(0, 0.25), 0.95, rng.uniform(-0.1, 0.75)])
    t = along(first)[None, :, None]
    path = roots[:, None] * (1 - t) + (tie + rng.normal(0, 0.035, (count, 1, 3))) * t
    flat = path.reshape(-1, 3)
    for _ in range(2):
        depth = body.grid.distance(flat) - 0.03 - np.tile(0.05 * along(first), count)
        flat = flat - np.minimum(depth, 0)[:, None] * body.grid.gradient(flat)
    path = flat.reshape(path.shape)
    lengths = rng.uniform(0.8, 2.4) * (1 - rng.beta(1, 5, count) * 0.7)
    groom = Groom(rng.uniform(0.1, 0.25), breeze(rng, 0.4), 0.06, 1.5, 0.03, 0.03)
    start = rng.normal(0, 0.3, (count, 3)) + np.array([rng.normal(0, 0.4), 0.8, 0.5])
    tail = grow(path[:, -1], start, lengths, rest, groom, rng, body)
    tail, _ = clump(tail, 90, 0.6, rng, 1.0)
    curves = frizz(np.concatenate([path, tail[:, 1:]], 1), rng.uniform(0.005, 0.02), rng)
    curves = flyaways(curves, rng.uniform(0.01, 0.05), 0.18, rng)
    hair = Strands(
        curves, taper(rng, count, first + rest - 1, width), hair_colours(count, first + rest - 1, rng, roots), coat=0.2
    )
    return portrait(body, meshes, [hair, _wisps(body, meshes[0], rng, hair.colour[0, 0])], rng, 0.4)


def _wisps(body: Body, mesh: Mesh, rng: np.random.Generator, colour: Array) -> Strands:
    """Short broken hairs that stand off the head."""
    count, points = int(rng.integers(100, 900)), 12
    roots = scatter(mesh, count, rng, scalp)
    groom = Groom(gravity=0.1, wander=0.25, wander_frequency=3, jitter=0.12)
    lengths = rng.exponential(0.14, count).clip(0.03, 0.6)
    direction = body.gradient(roots) + rng.normal(0, 0.9, (count, 3)) + [0, 0.5, 0]
    curves = grow(roots, direction, lengths, points, groom, rng, body)
    return Strands(curves, taper(rng, count, points, 0.28), colour)


def short_hair(rng: np.random.Generator) -> Subject:
    """Cropped or tousled hair, often with a beard."""
    body, meshes = bust(rng)
    count, points, width = 17000, 12, rng.uniform(0.3, 0.5)
    roots = scatter(meshes[0], count, rng, scalp)
    lengths = rng.uniform(0.12, 0.6) * (0.55 + 0.45 * np.clip(roots[:, 2], 0, 1)) * rng.uniform(0.7, 1.1, count)
    sweep = np.array([rng.normal(0, 0.6), rng.uniform(-0.8, 0.6), rng.uniform(0, 0.8)])
    groom = Groom(rng.uniform(0, 0.08), np.zeros(3), rng.uniform(0.05, 0.35), 3.0, 0.05)
    curves = grow(roots, body.gradient(roots) + sweep, lengths, points, groom, rng, body)
    curves, _ = clump(curves, int(rng.integers(300, 2000)), rng.uniform(0.2, 0.8), rng)
    curves = flyaways(frizz(curves, 0.01, rng), 0.04, 0.06, rng)
    colour = hair_colours(count, points, rng, roots, dyed=0.1)
    strands = [Strands(curves, taper(rng, count, points, width), colour)]
    if rng.uniform() < 0.55:
        strands.append(_beard(body, meshes[0], rng, colour))
    return portrait(body, meshes, strands, rng)


def _beard(body: Body, mesh: Mesh, rng: np.random.Generator, colour: Array) -> Strands:
    count, points = 7000, 20
    roots = scatter(mesh, count, rng, jaw)
    lengths = rng.choice([0.12, 0.5, 1.2]) * rng.uniform(0.4, 1.1, count)
    groom = Groom(gravity=0.12, wander=0.15, wander_frequency=3, jitter=0.08)
    curves = grow(roots, body.gradient(roots) + np.array([0, 0, -0.8]), lengths, points, groom, rng, body)
    curves, owner = clump(curves, 500, 0.4, rng)
    curves = curl(curves, rng.uniform(0.005, 0.03), lengths * 3, owner * 2.4 + rng.normal(0, 0.8, count))
    curves = frizz(curves, 0.02, rng, 4)
    return Strands(curves, taper(rng, count, points, 0.42), colour[rng.integers(len(colour), size=count)][:, :1])


def coat_colours(roots: Array, points: int, rng: np.random.Generator) -> Array:
    """The absorption of fur: one colour, patches, stripes or ticked hairs, paler below; sometimes dyed."""
    count = len(roots)
    if rng.uniform() < 0.1:
        own = np.clip(bright_colour(rng) * np.exp(rng.normal(0, 0.15, (count, 1))), 0.02, 0.95)
        return np.broadcast_to(dye_absorption(own)[:, None], (count, points, 3))
    melanin = np.full(count, rng.choice([0.06, 0.2, 0.4, 0.65, 0.9]))
    pattern = rng.choice(["plain", "patches", "stripes"], p=[0.5, 0.3, 0.2])
    if pattern != "plain":
        stretch = np.array([1.0, 1.0, 1.0]) if pattern == "patches" else np.array([3.5, 1.0, 1.0])
        mask = np.clip(waves(rng, rng.uniform(1.5, 3.5))(roots * stretch)[:, 0] * 6, 0, 1)
        melanin += mask * (rng.choice([0.03, 0.5, 0.9]) - melanin)
    pale = np.clip(rng.uniform(-0.8, 0.2) - roots[:, 2] * 0.9, 0, 1)
    melanin = melanin * (1 - rng.uniform(0, 0.9) * pale)
    melanin = np.clip(melanin * np.exp(rng.normal(0, 0.2, count)), 0.01, 0.99)
    bands = 1 + rng.uniform(-0.4, 0.5) * np.cos(along(points) * np.pi * rng.choice([1, 2]))
    return melanin_absorption(melanin, np.full(count, rng.beta(1.5, 2)))[:, None] * bands[None, :, None]


def fur_layers(
    body: Body, mesh: Mesh, origin: Array | None, rng: np.random.Generator, length: float, count: int
) -> list[Strands]:
    """A dense short undercoat and longer, sparser guard hairs. Fur lies away from the point `origin`."""
    layers = []
    gravity, puff = rng.uniform(0, 0.08), rng.uniform(0.35, 1.2)
    clumps, strength = int(rng.integers(500, 3000)), rng.uniform(0.1, 0.75)
    variation = waves(rng, 1.5)
    roots = scatter(mesh, count, rng, lambda p: body.furry(p).astype(float))
    colour = coat_colours(roots, 10, rng)
    split = int(count * rng.uniform(0.6, 0.85))
    for part, scale, width in ((slice(0, split), 0.7, 0.42), (slice(split, None), 1.15, 0.55)):
        base = roots[part]
        own = length * scale * (1 + 0.35 * variation(base)[:, 0]) * rng.uniform(0.6, 1.15, len(base))
        lie = unit(base - origin) if origin is not None else np.zeros(3)
        groom = Groom(gravity, np.zeros(3), 0.12, 2.5, 0.04, 0.01)
        curves = grow(
            base, body.gradient(base) * puff + lie + rng.normal(0, 0.12, base.shape), own, 10, groom, rng, body
        )
        curves, _ = clump(curves, clumps, strength, rng)
        curves = flyaways(frizz(curves, 0.04 * length, rng, 1.5), 0.02, 0.3 * length, rng)
        layers.append(
            Strands(curves, taper(rng, len(base), 10, width * rng.uniform(0.8, 1.2)), colour[part], roughness=0.35)
        )
    return layers


def pet_portrait(rng: np.random.Generator) -> Subject:
    """The furry head and chest of an animal, with whiskers."""
    body, meshes, nose = pet_head(rng)
    layers = fur_layers(body, meshes[0], nose, rng, rng.uniform(0.12, 0.5), 34000)
    count = 26
    start = nose + np.array([0, 0.25, -0.02]) + rng.normal(0, 0.04, (count, 3))
    away = np.stack([rng.choice([-1, 1], count), rng.uniform(-0.5, 0.2, count), rng.uniform(-0.3, 0.3, count)], -1)
    start[:, 0] += away[:, 0] * 0.22
    whiskers = grow(start, away, rng.uniform(0.5, 1.1, count), 12, Groom(0.02, jitter=0), rng, None)
    layers.append(Strands(whiskers, taper(rng, count, 12, 0.7), np.full(3, rng.choice([0.02, 1.5]))))
    extent = rng.uniform(2.6, 4.2)
    centre = np.array([rng.normal(0, 0.15), -0.2, 1.35 - extent / 2 + rng.uniform(-0.1, 0.3)])
    return Subject(meshes, layers, centre, extent, rng.normal(0, 40), rng.normal(5, 10), rng.normal(0, 6))


def fur_animal(rng: np.random.Generator) -> Subject:
    """A whole animal with short or shaggy fur."""
    body, meshes = beast(rng)
    layers = fur_layers(body, meshes[0], np.array([3.0, 0, 1.0]), rng, rng.uniform(0.06, 0.35), 40000)
    extent = rng.uniform(3.2, 5.0)
    centre = np.array([rng.uniform(0, 0.7), 0, rng.uniform(-0.1, 0.3)])
    return Subject(
        meshes, layers, centre, extent, rng.choice([0, 180]) + rng.normal(0, 35), rng.normal(6, 8), rng.normal(0, 4)
    )


def fur_thing(rng: np.random.Generator) -> Subject:
    """Fur on a shapeless body: a toy, a hat, a cushion."""
    body, meshes = blob(rng)
    flow = None if rng.uniform() < 0.3 else unit(rng.normal(size=3)) * 3
    layers = fur_layers(body, meshes[0], flow, rng, rng.uniform(0.1, 0.6), 26000)
    return Subject(
        meshes,
        layers,
        np.zeros(3),
        rng.uniform(2.2, 3.6),
        rng.uniform(0, 360),
        rng.normal(10, 15),
        rng.uniform(-30, 30),
    )


def wiry(rng: np.random.Generator) -> Subject:
    """Sparse stiff bristles and bent wires."""
    body, meshes = blob(rng)
    count, points = int(rng.integers(400, 6000)), 24
    roots = scatter(meshes[0], count, rng)
    lengths = rng.uniform(0.3, 1.1) * rng.uniform(0.4, 1.2, count)
    groom = Groom(rng.uniform(0, 0.08), np.zeros(3), rng.uniform(0.05, 0.35), 2.5, rng.uniform(0.02, 0.15))
    curves = grow(roots, body.gradient(roots) + rng.normal(0, 0.3, (count, 3)), lengths, points, groom, rng, body)
    curves = frizz(curves, rng.uniform(0.01, 0.06), rng, 3)
    width = rng.uniform(0.4, 1.6)
    return Subject(
        meshes,
        [
            Strands(
                curves, taper(rng, count, points, width), hair_colours(count, points, rng, roots, dyed=0.3), coat=0.3
            )
        ],
        np.zeros(3),
        rng.uniform(2.4, 4.0),
        rng.uniform(0, 360),
        rng.normal(5, 12),
    )


def braids(rng: np.random.Generator) -> Subject:
    """Hair plaited into two or more braids of three locks, with hairs that escape."""
    body, meshes = bust(rng)
    plaits = int(rng.choice([2, 2, 7, 16]))
    first, rest, count, width = 12, 60, 12000, rng.uniform(0.3, 0.45)
    roots = scatter(meshes[0], count, rng, scalp)
    angle = np.linspace(-0.1, np.pi + 0.1, plaits) + rng.normal(0, 0.1, plaits)
    ties = np.stack([0.86 * np.cos(angle), 0.1 + 0.85 * np.sin(angle), np.full(plaits, -0.42)], -1)
    fall = grow(
        ties,
        ties * [0.6, 0.4, 0] + [0, 0, -1],
        rng.uniform(1.0, 2.2, plaits),
        rest,
        Groom(0.15, breeze(rng, 0.15), 0.03, clearance=0.1),
        rng,
        body,
    )
    owner = np.argmin(((roots[:, None] - ties) ** 2).sum(-1), 1)
    t = along(first)[None, :, None]
    flat = (roots[:, None] * (1 - t) + ties[owner][:, None] * t).reshape(-1, 3)
    for _ in range(2):
        flat = flat - np.minimum(body.grid.distance(flat) - 0.04, 0)[:, None] * body.grid.gradient(flat)
    head = flat.reshape(count, first, 3)
    thick = rng.uniform(0.6, 1.0) * (0.13 if plaits <= 2 else 0.3 / plaits**0.75)
    tail = _plait(fall[owner], rng, thick)
    blend = np.clip(along(rest) * 12, 0, 1)[None, :, None]
    tail = head[:, -1:] * (1 - blend) + tail * blend
    curves = flyaways(frizz(np.concatenate([head, tail[:, 1:]], 1), 0.008, rng, 6), rng.uniform(0.02, 0.06), 0.12, rng)
    length = first + rest - 1
    hair = Strands(curves, taper(rng, count, length, width), hair_colours(count, length, rng, roots))
    return portrait(body, meshes, [hair, _wisps(body, meshes[0], rng, hair.colour[0, 0])], rng)


def _plait(centres: Array, rng: np.random.Generator, thick: float) -> Array:
    """Strands that follow centre lines in one of three locks that cross over each other; the end is a loose tuft."""
    count, length = centres.shape[:2]
    t = along(length)[None]
    lock = rng.integers(3, size=(count, 1)) * 2 * np.pi / 3
    reach = np.linalg.norm(np.diff(centres, axis=1), axis=-1).sum(1, keepdims=True)
    phase = lock + 2 * np.pi * t * reach / (thick * 5.5)
    side = np.broadcast_to(unit(np.cross(centres[:, -1] - centres[:, 0], [0.3, 1.0, 0.0]))[:, None], centres.shape)
    depth = unit(np.cross(side, np.gradient(centres, axis=1)))
    inside = unit(rng.normal(size=(count, 1, 3))) * thick * 0.42 * rng.uniform(0, 1, (count, 1, 1)) ** 0.4
    spread = (1 - 0.35 * t + 2.5 * np.clip(t - 0.9, 0, 1) * 4)[..., None]
    weave = thick * (0.62 * np.sin(phase)[..., None] * side + 0.4 * np.sin(2 * phase)[..., None] * depth)
    return centres + weave * (1 - 0.35 * t)[..., None] * (t < 0.93)[..., None] + inside * spread
