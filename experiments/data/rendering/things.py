"""Kinds of pictures with yarn, cloth, plants and feathers. Each function draws one subject at random."""

from __future__ import annotations

import numpy as np

from .bodies import blob
from .shapes import Array, Mesh, scatter, sheet_faces, unit, waves
from .strands import (
    Groom,
    Strands,
    Subject,
    along,
    bright_colour,
    clump,
    curl,
    dull_colour,
    frames,
    frizz,
    grow,
    taper,
)

FRONT = np.array([0.0, -1.0, 0.0])


def shades(base: Array, count: int, rng: np.random.Generator, spread: float = 0.12) -> Array:
    """Slightly different colours for strands, (count, 1, 3)."""
    return np.clip(base * np.exp(rng.normal(0, spread, (count, 1, 1))), 0.003, 0.95)


def spun(
    centres: Array, radius: float, colour: Array, rng: np.random.Generator, fuzz: int = 20, plies: int = 3
) -> list[Strands]:
    """Yarn along centre lines (n, k, 3): twisted plies and the fuzz of loose fibres around them.

    `colour` is one colour or one for each line; `fuzz` counts the loose fibres on each unit of length.
    """
    count, length = centres.shape[:2]
    reach = np.linalg.norm(np.diff(centres, axis=1), axis=-1).sum(1)
    across, over = frames(centres)
    colour = np.broadcast_to(np.asarray(colour).reshape(-1, 1, 3), (count, 1, 3))
    angle = 2 * np.pi * (along(length)[None] * (reach / (radius * 9))[:, None])
    strands = []
    for ply in range(plies):
        turned = (angle + 2 * np.pi * ply / plies)[..., None]
        curves = centres + 0.55 * radius * (np.cos(turned) * across + np.sin(turned) * over)
        width = np.full((count, length), 1.15 * radius)
        strands.append(Strands(curves, width, colour * (0.94 + 0.06 * ply), hair=False, solid=True, roughness=0.9))
    total = int(min(fuzz * reach.sum(), 12000))
    if total:
        strands.append(_fuzz(centres, radius, colour, total, rng))
    return strands


def _fuzz(centres: Array, radius: float, colour: Array, total: int, rng: np.random.Generator) -> Strands:
    """Fine fibres that leave yarn in all directions."""
    line, knot = rng.integers(len(centres), size=total), rng.integers(1, centres.shape[1], size=total)
    share = rng.uniform(size=(total, 1))
    roots = centres[line, knot - 1] * share + centres[line, knot] * (1 - share)
    tangent = unit(centres[line, knot] - centres[line, knot - 1])
    outward = unit(np.cross(tangent, rng.normal(size=(total, 3))))
    lengths = radius * rng.exponential(2.2, total).clip(0.8, 7)
    groom = Groom(0.01, np.zeros(3), 0.2, 0.6 / radius, 0.2)
    curves = grow(
        roots + 0.8 * radius * outward, outward + tangent * rng.normal(0, 1, (total, 1)), lengths, 8, groom, rng, None
    )
    return Strands(curves, taper(rng, total, 8, 0.3), np.clip(colour[line] * 1.25, 0, 0.95), hair=False, roughness=0.9)


def yarn(rng: np.random.Generator) -> Subject:
    """A pompon or a mop of yarn ends on a ball, or a wound ball of wool with a loose end."""
    colours = np.array([bright_colour(rng), dull_colour(rng), dull_colour(rng)])
    radius = rng.uniform(0.02, 0.05)
    if rng.uniform() < 0.5:
        body, meshes = blob(rng, colours[0] * 0.5)
        count = int(rng.integers(250, 900))
        roots = scatter(meshes[0], count, rng)
        groom = Groom(rng.uniform(0.02, 0.25), np.zeros(3), 0.2, 2.0, 0.06, radius)
        centres = grow(
            roots, body.gradient(roots), rng.uniform(0.4, 1.3) * rng.uniform(0.8, 1.1, count), 20, groom, rng, body
        )
        pick = colours[rng.integers(len(colours), size=count)]
        return Subject(
            meshes,
            spun(centres, radius, pick, rng, 12),
            np.array([0, 0, -0.15]),
            rng.uniform(2.6, 4.0),
            rng.uniform(0, 360),
            8,
        )
    turns, length = 60, 60
    axis = unit(rng.normal(size=(turns, 3)))
    side = unit(np.cross(axis, rng.normal(size=(turns, 3))))
    angle = 2 * np.pi * along(length)[None, :, None]
    ring = np.cos(angle) * side[:, None] + np.sin(angle) * np.cross(axis, side)[:, None]
    centres = ring * rng.uniform(0.92, 1.0, (turns, 1, 1)) + 0.25 * rng.normal(size=(turns, 1, 1)) * axis[:, None] * 0.3
    end = grow(
        np.array([[0.7, -0.4, -0.75]]),
        np.array([[1.0, -0.3, -0.2]]),
        np.array([1.6]),
        length,
        Groom(0, wander=0.3),
        rng,
        None,
    )
    ball_strands = spun(np.concatenate([centres, end]), radius * 1.3, colours[0], rng, 50)
    core, meshes = blob(rng, colours[0] * 0.5)
    core.parts = core.parts[:1]
    meshes[0].vertices = unit(meshes[0].vertices) * 0.9
    return Subject(
        meshes, ball_strands, np.array([0.2, 0, 0]), rng.uniform(2.6, 3.4), rng.normal(0, 20), rng.uniform(0, 40)
    )


def tassels(rng: np.random.Generator) -> Subject:
    """Tassels on a cord: a knotted head and a skirt of many threads."""
    amount = int(rng.integers(1, 6))
    spread = np.linspace(-1, 1, amount) if amount > 1 else np.zeros(1)
    strands, lowest = [], 0.0
    cord_x = np.linspace(-1.5, 1.5, 80)
    sag = rng.uniform(0.0, 0.3)
    cord = np.stack([cord_x, 0 * cord_x, sag * (cord_x**2 - 1)], -1)[None]
    colour = bright_colour(rng) if rng.uniform() < 0.6 else dull_colour(rng)
    strands += spun(cord, 0.035, colour, rng, 25)
    for place in spread:
        top = np.array([place, 0, sag * (place**2 - 1) - 0.05])
        strands += _tassel(top, rng.uniform(0.5, 1.1) if amount > 1 else rng.uniform(1, 1.5), colour, rng)
        lowest = min(lowest, top[2] - 1.1)
    extent = rng.uniform(2.2, 3.2)
    return Subject(
        [], strands, np.array([0, 0, lowest / 2]), extent, rng.normal(0, 15), rng.normal(0, 10), rng.normal(0, 12)
    )


def _tassel(top: Array, length: float, colour: Array, rng: np.random.Generator) -> list[Strands]:
    count, points = int(rng.integers(500, 1800)), 22
    angle, out = rng.uniform(0, 2 * np.pi, count), 0.09 * np.sqrt(rng.uniform(size=count))
    disc = np.stack([out * np.cos(angle), out * np.sin(angle), 0 * out], -1)
    start = top + disc * 0.5
    t = along(points)[None, :, None]
    neck = np.clip(t / 0.12, 0, 1)
    profile = np.where(t < 0.12, 0.5 + 0.9 * np.sin(np.pi * neck), 0.5 + rng.uniform(0.4, 1.6) * (t - 0.12))
    curves = top + disc[:, None] * 2 * profile + np.array([0, 0, -length]) * t * rng.uniform(0.93, 1.02, (count, 1, 1))
    curves = curves + rng.normal(0, 0.12) * t**2 * [1.0, 0, 0] + 0 * start[:, None]
    curves = frizz(curves, rng.uniform(0.005, 0.03), rng, 3)
    curves, owner = clump(curves, int(rng.integers(60, 300)), rng.uniform(0, 0.7), rng, 1.0, 0.05)
    curves = curl(curves, 0.008, 9.0, owner * 1.7 + rng.uniform(0, 6, count), 0.2)
    wrap_t = along(120)
    wrap = 0.075 * np.stack([np.cos(wrap_t * 44), np.sin(wrap_t * 44), 0 * wrap_t], -1) + top + [[0, 0, -0.11 * length]]
    wrap = wrap + np.array([0, 0, 0.06]) * wrap_t[:, None]
    threads = Strands(
        curves, taper(rng, count, points, rng.uniform(0.5, 1.1)), shades(colour, count, rng), hair=False, roughness=0.6
    )
    return [threads, *spun(wrap[None], 0.012, np.clip(colour * rng.uniform(0.6, 1.5), 0, 0.9), rng, 0)]


def flag(rng: np.random.Generator) -> Subject:
    """A flag or a shawl that waves, striped, its edge frayed or fringed."""
    rows, columns = 60, 90
    v, u = np.meshgrid(np.linspace(0, 1, rows), np.linspace(0, 1, columns), indexing="ij")
    shape = waves(rng, rng.uniform(3, 6))
    depth = shape(np.stack([u * 1.5, v * 0.6, 0 * u], -1).reshape(-1, 3)).reshape(rows, columns) * 0.14 * (0.1 + u)
    droop = rng.uniform(0, 0.5) * u**2
    sheet = np.stack([u * 2 * (1 - 0.08 * v) - 1, depth, 0.65 - 1.3 * v - droop + 0.1 * depth], -1)
    palette = np.array([bright_colour(rng), dull_colour(rng), bright_colour(rng)])
    band = (v if rng.uniform() < 0.6 else u) * rng.integers(1, 9)
    colours = palette[(band.astype(int)) % 3].reshape(-1, 3)
    cloth = Mesh(sheet.reshape(-1, 3), sheet_faces(rows, columns), colours, 0.85, 0.4)
    strands = [*_fringe(sheet, colours.reshape(rows, columns, 3), rng)]
    pole = np.array([[[-1.02, 0.0, 0.85], [-1.02, 0.0, 0.0], [-1.02, 0.0, -2.5]]])
    strands.append(Strands(pole, np.full((1, 3), 0.06), dull_colour(rng) * 0.6, hair=False, solid=True, roughness=0.4))
    return Subject(
        [cloth],
        strands,
        np.array([0.1, 0, -0.15]),
        rng.uniform(2.3, 3.2),
        rng.normal(0, 25),
        rng.normal(0, 10),
        rng.normal(0, 8),
    )


def _fringe(sheet: Array, colours: Array, rng: np.random.Generator) -> list[Strands]:
    """Threads that leave the outer edge and the lower edge of a cloth."""
    count, points = int(rng.integers(300, 1500)), 14
    place = rng.uniform(size=count)
    lower = rng.uniform(size=count) < 0.5
    row = np.where(lower, len(sheet) - 1, place * (len(sheet) - 1)).astype(int)
    column = np.where(lower, place * (sheet.shape[1] - 1), sheet.shape[1] - 1).astype(int)
    away = np.where(lower[:, None], [0.1, 0, -1.0], [1.0, 0, -0.2])
    lengths = rng.uniform(0.05, 0.45) * rng.exponential(0.6, count).clip(0.1, 1.3)
    groom = Groom(0.06, np.zeros(3), 0.15, 4.0, 0.08)
    curves = grow(sheet[row, column], away + rng.normal(0, 0.2, (count, 3)), lengths, points, groom, rng, None)
    curves, _ = clump(curves, 90, rng.uniform(0, 0.8), rng)
    return [
        Strands(
            curves,
            taper(rng, count, points, rng.uniform(0.4, 1.0)),
            colours[row, column][:, None],
            hair=False,
            roughness=0.9,
        )
    ]


def knit(rng: np.random.Generator) -> Subject:
    """Loosely knitted cloth: interlocked loops of fuzzy yarn, some with gaps one sees through."""
    rows, columns, points = int(rng.integers(12, 24)), int(rng.integers(12, 24)), 16
    t = np.arange(columns * points) / points * 2 * np.pi
    lines = []
    loop = rng.uniform(0.85, 1.15)
    for row in range(rows):
        x = t / (2 * np.pi) - 0.28 * loop * np.sin(2 * t)
        z = row * 0.78 + 0.62 * loop * (1 - np.cos(t)) / 2 * 1.35
        y = 0.2 * np.cos(2 * t)
        lines.append(np.stack([x - columns / 2, y, z - rows * 0.39], -1))
    centres = np.stack(lines) / max(rows * 0.78, columns) * 2.2
    bend = waves(rng, rng.uniform(1, 2.2))
    centres[..., 1] += 0.15 * bend(centres)[..., 0] + rng.uniform(0, 0.5) * centres[..., 0] ** 2
    scale = 2.2 / max(rows * 0.78, columns)
    base = np.array([bright_colour(rng) if rng.uniform() < 0.4 else dull_colour(rng) for _ in range(3)])
    colour = base[(np.arange(rows) // rng.integers(1, 8)) % rng.integers(1, 4)]
    strands = spun(centres, scale * rng.uniform(0.07, 0.16), colour, rng, int(rng.integers(10, 90)))
    return Subject(
        [], strands, np.zeros(3), rng.uniform(1.7, 2.9), rng.normal(0, 25), rng.normal(0, 20), rng.uniform(-25, 25)
    )


def lace(rng: np.random.Generator) -> Subject:
    """A doily, a net or a veil of thin threads: rings, petals and meshes with holes between them."""
    lines, points = [], 160
    angle = 2 * np.pi * along(points)
    petals = int(rng.integers(6, 18))
    if rng.uniform() < 0.6:
        for ring in np.linspace(0.12, 1, int(rng.integers(5, 11))):
            for shift in (0, np.pi):
                reach = ring + rng.uniform(0.02, 0.12) * np.abs(np.sin(angle * petals / 2 + shift / 2))
                lines.append(np.stack([reach * np.cos(angle), 0 * angle, reach * np.sin(angle)], -1))
        for spoke in range(petals * 2):
            reach = np.linspace(0.1, 1, points)
            wave = 0.08 * np.sin(reach * 30 + np.pi * (spoke % 2)) * reach + 2 * np.pi * (spoke // 2) / petals
            lines.append(np.stack([reach * np.cos(wave), 0 * reach, reach * np.sin(wave)], -1))
    else:
        across = np.linspace(-1, 1, points)
        amount = int(rng.integers(10, 34))
        for place in np.linspace(-1, 1, amount):
            zigzag = place + 0.9 / amount * np.sin(across * np.pi * amount / 2 + np.pi * round(place * amount))
            lines += [np.stack([across, 0 * across, zigzag], -1), np.stack([zigzag, 0 * across, across], -1)]
    centres = np.stack(lines)
    bend = waves(rng, rng.uniform(1, 2.5))
    centres[..., 1] += rng.uniform(0.05, 0.25) * bend(centres)[..., 0]
    pale = np.clip(rng.uniform(0.55, 0.85) + rng.normal(0, 0.03, 3), 0, 0.9)
    colour = pale if rng.uniform() < 0.6 else bright_colour(rng)
    strands = spun(centres, rng.uniform(0.005, 0.014), colour, rng, int(rng.integers(0, 40)), plies=2)
    return Subject(
        [], strands, np.zeros(3), rng.uniform(1.6, 2.5), rng.normal(0, 30), rng.normal(10, 20), rng.uniform(-40, 40)
    )


def grass(rng: np.random.Generator) -> Subject:
    """A tuft of blades and stalks, fresh or dry, on a lump of earth."""
    _, meshes = blob(rng, np.array([0.06, 0.04, 0.025]))
    meshes[0].vertices = meshes[0].vertices * [1, 1, 0.35]
    count, points = int(rng.integers(500, 3000)), 18
    roots = scatter(meshes[0], count, rng, lambda p: (p[:, 2] > 0.02).astype(float))
    lengths = rng.uniform(0.6, 1.7) * rng.uniform(0.3, 1.1, count)
    groom = Groom(rng.uniform(0.01, 0.09), rng.uniform(0, 0.04) * unit(rng.normal(size=3)), 0.08, 1.5, 0.02)
    lean = rng.normal(0, 0.25, (count, 3)) + roots * 0.35 + [0, 0, 1.0]
    curves = grow(roots, lean, lengths, points, groom, rng, None)
    green = np.array([rng.uniform(0.06, 0.25), rng.uniform(0.18, 0.35), rng.uniform(0.02, 0.07)])
    dry = np.array([0.5, 0.38, 0.18])
    mix = np.clip(
        rng.uniform(0, 1) * rng.uniform(0.3, 1, (count, 1, 1)) + 0.4 * (along(points)[None, :, None] - 0.4), 0, 1
    )
    colour = np.clip((green * (1 - mix) + dry * mix) * np.exp(rng.normal(0, 0.2, (count, 1, 1))), 0.01, 0.9)
    width = rng.uniform(0.8, 3.5) * np.exp(rng.normal(0, 0.4, (count, 1))) * (1 - along(points) ** 1.5 * 0.92)
    blades = Strands(curves, width, colour, hair=False, roughness=0.5)
    strands = [blades]
    if rng.uniform() < 0.6:
        strands.append(_awns(curves[rng.choice(count, 40)], dry, rng))
    return Subject(meshes, strands, np.array([0, 0, 0.5]), rng.uniform(2.2, 3.4), rng.uniform(0, 360), rng.normal(4, 6))


def _awns(stalks: Array, colour: Array, rng: np.random.Generator) -> Strands:
    """The bristles of ears at the tips of stalks."""
    each = 45
    share = np.tile(np.linspace(0.78, 1, each), len(stalks))
    line = np.repeat(np.arange(len(stalks)), each)
    knot = share * (stalks.shape[1] - 1)
    low = np.minimum(knot.astype(int), stalks.shape[1] - 2)
    roots = stalks[line, low] + (stalks[line, low + 1] - stalks[line, low]) * (knot - low)[:, None]
    forward = unit(stalks[line, low + 1] - stalks[line, low])
    direction = forward + rng.normal(0, 0.35, roots.shape)
    curves = grow(roots, direction, rng.uniform(0.06, 0.22, len(roots)), 6, Groom(0.01), rng, None)
    return Strands(curves, taper(rng, len(roots), 6, 0.7), shades(colour, len(roots), rng), hair=False)


def feathers(rng: np.random.Generator) -> Subject:
    """A few feathers fanned out: a quill, two vanes of fine barbs that split here and there, down at the base."""
    strands: list[Strands] = []
    amount = int(rng.integers(1, 8))
    colours = np.array([bright_colour(rng), dull_colour(rng), dull_colour(rng) * 0.3])
    fan = np.linspace(-0.5, 0.5, amount) * rng.uniform(0.8, 2.2) if amount > 1 else rng.uniform(-0.4, 0.4, 1)
    for place, angle in enumerate(fan + rng.normal(0, 0.08, amount)):
        turned = np.array([np.sin(angle), 0.0, np.cos(angle)])
        start = np.array([0, 0.03 * place, -1.0]) + turned * 0.1
        quill = grow(
            start[None],
            turned[None],
            rng.uniform(1.5, 2.0, 1),
            60,
            Groom(0.01, wander=0.04, wander_frequency=1),
            rng,
            None,
        )
        strands += _feather(quill[0], rng.uniform(0.18, 0.42), colours, rng)
    return Subject(
        [],
        strands,
        np.array([0, 0, -0.1]),
        rng.uniform(2.1, 2.8),
        rng.normal(0, 35),
        rng.normal(0, 15),
        rng.uniform(-60, 60),
    )


def _feather(quill: Array, breadth: float, colours: Array, rng: np.random.Generator) -> list[Strands]:
    each, points = 900, 14
    share = np.sort(rng.uniform(0.12, 1, each * 2))
    side = np.where(np.arange(each * 2) % 2, 1.0, -1.0)
    knot = share * (len(quill) - 1)
    low = np.minimum(knot.astype(int), len(quill) - 2)
    roots = quill[low] + (quill[low + 1] - quill[low]) * (knot - low)[:, None]
    tangent = unit(quill[low + 1] - quill[low])
    across = unit(np.cross(tangent, FRONT)) * side[:, None]
    lengths = breadth * np.sin(np.pi * np.clip(share, 0, 1) ** 0.8) ** 0.6 * rng.uniform(0.92, 1.03, each * 2) + 0.02
    split = np.cumsum(rng.uniform(size=each * 2) < 0.012) * 2.4
    bent = 0.25 * np.sin(split)[:, None] * tangent
    down = np.clip((0.3 - share) / 0.15, 0, 1)[:, None]
    direction = across + tangent * (0.75 + 0.4 * share[:, None]) + bent + down * rng.normal(0, 0.8, roots.shape)
    curves = grow(roots, direction, lengths, points, Groom(0.01, jitter=0.01, wander=0.05), rng, None)
    curves = curves - 0.35 * breadth * tangent[:, None] * (along(points) ** 2)[None, :, None] * -0.5
    curves = frizz(curves, (0.002 + 0.05 * down[:, 0]) * 1.0, rng, 2)
    bars = (np.sin(share * rng.uniform(8, 40)) > rng.uniform(-0.5, 1.2))[:, None, None]
    colour = np.where(bars, colours[1], colours[0]) * np.exp(rng.normal(0, 0.06, (each * 2, 1, 1)))
    barbs = Strands(
        curves,
        taper(rng, each * 2, points, rng.uniform(0.5, 0.9)),
        np.clip(colour, 0.005, 0.9),
        hair=False,
        roughness=0.5,
    )
    shaft = Strands(
        quill[None], 0.028 * (1 - 0.9 * along(len(quill)))[None], np.array([0.6, 0.55, 0.45]), hair=False, solid=True
    )
    return [barbs, shaft]


def seeds(rng: np.random.Generator) -> Subject:
    """A seed head such as a dandelion's or a thistle's: fine rays that end in stars."""
    count, rays = int(rng.integers(60, 220)), 24
    centre = unit(rng.normal(size=(count, 3)))
    centre = centre[centre[:, 2] > -0.85]
    stem = np.stack([centre * 0.14, centre * 0.4, centre * rng.uniform(0.6, 0.75, (len(centre), 1))], 1)
    tips = np.repeat(stem[:, -1], rays, 0)
    outward = np.repeat(centre, rays, 0)
    direction = outward * 0.5 + unit(np.cross(outward, rng.normal(size=outward.shape)))
    stars = grow(tips, direction, rng.uniform(0.2, 0.38, len(tips)), 8, Groom(-0.01, jitter=0.03), rng, None)
    pale = np.array([0.75, 0.72, 0.66]) * rng.uniform(0.6, 1.1)
    stalk = grow(
        np.array([[0, 0, -0.05]]), np.array([[0, 0, -1.0]]), np.array([2.0]), 20, Groom(0, wander=0.05), rng, None
    )
    _, meshes = blob(rng, np.array([0.2, 0.14, 0.06]))
    meshes[0].vertices = unit(meshes[0].vertices) * 0.15
    strands = [
        Strands(stem, np.full((len(stem), 3), 0.55), pale * 0.7, hair=False),
        Strands(stars, taper(rng, len(stars), 8, 0.4), shades(pale, len(stars), rng), hair=False),
        Strands(stalk, np.full((1, 20), 0.05), np.array([0.15, 0.2, 0.06]), hair=False, solid=True),
    ]
    return Subject(
        meshes,
        strands,
        np.array([0, 0, -0.2]),
        rng.uniform(2.2, 3.0),
        rng.uniform(0, 360),
        rng.normal(5, 10),
        rng.normal(0, 20),
    )
