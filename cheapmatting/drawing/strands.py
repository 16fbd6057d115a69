"""Procedural hair and fur: soft alpha made of strands thinner than a pixel."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from ..arrays import Bytes, Floats, Points, Rng
from .compositing import Canvas, shaded, straight
from .textures import blob, grid, mixed, noise, random_colour, rotated, smooth_field, varied

# RGB of human hair, from black over brown, auburn and blond to white; dyed hair is any colour.
HAIR_COLOURS = np.array(
    [
        [28, 23, 21],
        [58, 40, 30],
        [96, 65, 42],
        [122, 58, 34],
        [158, 118, 74],
        [205, 172, 122],
        [196, 190, 184],
    ],
    np.float32,
) / np.float32(255)
CELLS = 64  # the grid on which fur is planned
DOWN = np.array([0, 1], np.float32)


def hair(size: int, rng: Rng) -> tuple[Floats, Floats]:
    """Head and shoulders from behind: long, wavy, curly or wind-blown hair with flyaways."""
    canvas = Canvas(size, int(rng.integers(3, 5)))
    natural = HAIR_COLOURS[rng.integers(len(HAIR_COLOURS))]
    colour = random_colour(rng) if rng.random() < 0.2 else natural
    zoom, turn, shift = rng.uniform(0.9, 1.6), rng.normal(0, 0.15), rng.uniform(-0.08, 0.08, 2)

    def place(points: Points) -> Floats:
        """From head coordinates (origin at the head's middle, 1 = picture side) to the picture."""
        return np.asarray(rotated(points * zoom, turn) + np.array([0.5, 0.42]) + shift, np.float32)

    head = np.array([0.13, 0.17], np.float32) * np.float32(rng.uniform(0.85, 1.1))
    _draw_shoulders(canvas, rng, place, float(head[1]))
    locks = _locks(rng, head, count=int(rng.integers(80, 130)))  # [locks, T, 2]
    canvas.polygon(place(blob(rng, 0.04) * head * 1.03), colour * np.float32(0.5))
    # Dark strokes under the strands: the mass of hair is opaque, only its rim is not.
    body = locks[:, : int(locks.shape[1] * rng.uniform(0.35, 0.6))]
    canvas.strands(place(body), varied(colour * np.float32(0.55), rng, len(body)), width=canvas.fine // 200 + 1)
    strands = _strands_of(locks, rng, each=int(rng.integers(7, 12)))
    canvas.strands(place(strands), varied(colour, rng, len(strands), 0.45))
    flyaways = _flyaways(locks, rng, count=int(rng.integers(15, 70)))
    canvas.strands(place(flyaways), varied(colour * np.float32(1.15), rng, len(flyaways), 0.3))
    light = 0.65 + 0.45 * noise(size, rng, 3, 3) + rng.uniform(0, 0.5) * (0.5 - grid(size)[0])
    return straight(shaded(canvas.layer(), light))


def _draw_shoulders(canvas: Canvas, rng: Rng, place: Callable[[Points], Floats], head_height: float) -> None:
    """Neck in skin, shoulders in cloth with folds."""
    skin = np.array([0.86, 0.66, 0.54], np.float32) * np.float32(rng.uniform(0.35, 1.1))
    neck = np.array([[-0.06, 0], [0.06, 0], [0.085, 0.32], [-0.085, 0.32]], np.float32)
    canvas.polygon(place(neck), skin)
    top, wide = head_height + rng.uniform(0.03, 0.07), rng.uniform(0.28, 0.36)
    x = np.linspace(-1, 1, 60)
    shoulders = np.stack([x * wide, top + 0.3 * (1 - (1 - np.abs(x) ** 2.4) ** (1 / 2.4))], 1)
    outline = np.concatenate([shoulders, [[1.1 * wide, 1.2], [-1.1 * wide, 1.2]]]).astype(np.float32)
    cloth = random_colour(rng)
    canvas.polygon(place(outline), cloth)
    for _ in range(int(rng.integers(4, 14))):
        t = np.linspace(0, 1, 12)
        start, drop = rng.uniform(-0.7, 0.7) * wide, rng.uniform(0.15, 0.5)
        fold = np.stack([start * (1 + 0.2 * t) + 0.01 * np.sin(5 * t), top + 0.12 + drop * t], 1).astype(np.float32)
        canvas.threads([place(fold)], cloth * np.float32(rng.uniform(0.7, 1.2)), width=canvas.fine // 120)


def _locks(rng: Rng, head: Floats, count: int, points: int = 18) -> Floats:
    """Guide lines [count, points, 2] that start on the head, leave it outwards, then fall, curl or blow."""
    length = rng.uniform(0.25, 0.65)
    stiffness = rng.uniform(0.08, 0.5) if rng.random() < 0.7 else rng.uniform(0.5, 1.5)  # how late a strand falls
    wind = rng.normal(0, 0.5) if rng.random() < 0.4 else 0.0
    curl, turns = rng.uniform(0, 0.9) ** 2, rng.uniform(1, 4)
    angles = rng.uniform(-np.pi, np.pi, count)
    radii = np.sqrt(rng.uniform(0.05, 1, count))
    outwards = np.stack([np.sin(angles), -np.cos(angles)], 1)  # [count, 2], angle 0 points up
    roots = outwards * radii[:, None] * head
    t = np.linspace(0, 1, points)[None, :, None]
    pull = DOWN + np.array([wind, -abs(wind)])
    keep = np.exp(-t * 3 / (stiffness * (0.4 + 0.6 * radii))[:, None, None])
    sway = rng.normal(0, 0.16, (count, 1, 2)) + rng.normal(0, 0.5) * outwards[:, None] * np.array([1, 0])
    heading = keep * outwards[:, None] * radii[:, None, None] + (1 - keep) * (pull + sway)
    across = np.stack([-heading[..., 1], heading[..., 0]], 2)
    phase = rng.uniform(0, 2 * np.pi, (count, 1, 1))
    heading = heading + curl * 2.5 * np.minimum(t * 4, 1) * across * np.sin(2 * np.pi * turns * t + phase)
    steps = length * rng.uniform(0.6, 1.1, (count, 1, 1)) / points
    lines = roots[:, None] + np.cumsum(heading * steps, axis=1)
    order = np.argsort(-radii, kind="stable")  # the crown's locks lie on top
    return np.asarray(lines[order], np.float32)


def _strands_of(locks: Floats, rng: Rng, each: int) -> Floats:
    """`each` strands around every lock [n, T, 2]: wide apart at the root, closer (or wider) at the tip."""
    count, points = len(locks) * each, locks.shape[1]
    t = np.linspace(0, 1, points, dtype=np.float32)[None, :, None]
    lines = np.repeat(locks, each, axis=0)
    spread, gather = rng.uniform(0.012, 0.03), rng.uniform(-0.3, 0.8)
    offset = rng.normal(0, spread, (count, 1, 2)) * (1 - gather * t)
    drift = rng.normal(0, 0.02, (count, 1, 2)) * t**2
    ripple = rng.normal(0, 0.004, (count, 1, 2)) * np.sin(t * rng.uniform(4, 25, (count, 1, 1)))
    short = 1 - rng.uniform(0, 0.25, (count, 1, 1))  # tips end at different lengths
    return np.asarray(lines[:, :1] + (lines - lines[:, :1]) * short + offset + drift + ripple, np.float32)


def _flyaways(locks: Floats, rng: Rng, count: int) -> Floats:
    """Single strands [count, T, 2] that leave the mass of hair in wide, loose bends."""
    points = locks.shape[1]
    lines = locks[rng.integers(len(locks), size=count)]
    t = np.linspace(0, 1, points, dtype=np.float32)[None, :, None]
    bend = rng.normal(0, 0.12, (count, 1, 2)) * t**1.5
    wave = rng.normal(0, 0.02, (count, 1, 2)) * np.sin(t * rng.uniform(3, 14, (count, 1, 1)) + rng.uniform(0, 6))
    return np.asarray(lines + bend + wave * t, np.float32)


def fur(size: int, rng: Rng) -> tuple[Floats, Floats]:
    """An animal's body in short, dense strands that follow its outline, with spots or stripes."""
    canvas = Canvas(size, int(rng.integers(3, 5)))
    count, length = int(rng.integers(2600, 3600)), rng.uniform(0.03, 0.08)
    base, marking = _coat(rng)
    body = np.zeros((CELLS, CELLS), np.uint8)  # where hairs have their roots
    for outline in _animal(rng):
        cv2.fillPoly(body, [np.rint(outline * CELLS).astype(np.int32)], 255)
        middle = outline.mean(axis=0)
        canvas.polygon(middle + (outline - middle) * np.float32(0.94), base * np.float32(0.6))
    rim = (body > 0) & (cv2.erode(body, np.ones((5, 5), np.uint8)) == 0)
    # x and y of the cells with roots; those at the rim twice, where the coat has no body behind it
    inside = np.concatenate([np.argwhere(body > 0), np.argwhere(rim)])[:, ::-1]
    roots = (inside[rng.integers(len(inside), size=count)] + rng.random((count, 2))) / CELLS
    roots = roots[np.argsort(-roots[:, 1])]  # hair hangs down: upper strands lie over the roots of lower ones
    cells = tuple(np.clip((roots * CELLS).astype(int), 0, CELLS - 1).T[::-1])
    mark = np.clip((_markings(rng)[cells] - 0.5) * 6 + 0.5, 0, 1)
    colours = mixed(base, marking, mark) * rng.uniform(0.7, 1.3, (count, 1)).astype(np.float32)
    strands = _short_strands(roots, _fur_flow(body, rng)[cells], length, rng)
    undercoat = strands[::4, :3]  # wide and half as long: the coat grows thin gradually towards its tips
    canvas.strands(undercoat, colours[::4] * np.float32(0.75), width=canvas.fine // 200 + 1)
    canvas.strands(strands, colours)
    return straight(shaded(canvas.layer(), 0.7 + 0.5 * noise(size, rng, 2, 2)))


def _markings(rng: Rng) -> Floats:
    """A pattern [64, 64] in 0..1 of spots or of stripes."""
    spots = noise(CELLS, rng, int(rng.integers(2, 7)), 3)
    return spots if rng.random() < 0.5 else np.asarray(0.5 + 0.5 * np.sin(spots * rng.uniform(10, 25)), np.float32)


def _animal(rng: Rng) -> list[Floats]:
    """Outlines [T, 2] of a body and, mostly, a head with two ears."""
    middle = np.array([rng.uniform(0.35, 0.65), rng.uniform(0.8, 0.95)])
    radii = np.array([rng.uniform(0.24, 0.4), rng.uniform(0.3, 0.45)])
    body = blob(rng, 0.12) * radii + middle
    if rng.random() < 0.3:  # a close-up of the coat's edge alone
        return [np.asarray((body - middle) * 1.5 + middle + np.array([0, 0.1]), np.float32)]
    radius = rng.uniform(0.14, 0.2)
    centre = middle - np.array([rng.uniform(-0.1, 0.1), radii[1] + radius * rng.uniform(0.0, 0.5)])
    head = blob(rng, 0.06) * radius * np.array([1.1, 1]) + centre
    ear = np.array([[-0.42, 0.3], [-0.3, -0.45], [0, -0.95 - rng.uniform(0, 0.8)], [0.32, -0.4], [0.42, 0.3]])
    tilt, out = rng.uniform(0.2, 0.5), rng.uniform(0.55, 0.75)
    ears = [
        rotated(ear * radius * 0.7, side * tilt) + centre + radius * np.array([side * out, -0.7]) for side in (-1, 1)
    ]
    return [np.asarray(outline, np.float32) for outline in (body, head, *ears)]


def _coat(rng: Rng) -> tuple[Floats, Floats]:
    """Base and marking colours [3] of a coat: browns, greys, white, black, now and then anything."""
    if rng.random() < 0.15:
        return random_colour(rng), random_colour(rng)
    tones = np.array([[0.72, 0.5, 0.3], [0.5, 0.48, 0.46], [0.9, 0.87, 0.82], [0.2, 0.17, 0.15], [0.75, 0.42, 0.2]])
    first, second = rng.permutation(len(tones))[:2]
    light = rng.uniform(0.7, 1.1, 2)
    return (tones[first] * light[0]).astype(np.float32), (tones[second] * light[1]).astype(np.float32)


def _fur_flow(body: Bytes, rng: Rng) -> Floats:
    """Directions [64, 64, 2] in which fur lies: outwards at the body's edge, downwards with swirls inside."""
    soft = cv2.GaussianBlur(body.astype(np.float32) / 255, (0, 0), 2.5)
    outwards = -np.stack([cv2.Sobel(soft, cv2.CV_32F, 1, 0), cv2.Sobel(soft, cv2.CV_32F, 0, 1)], 2)
    swirl = (smooth_field(CELLS, rng, 5, 2) - 0.5) * 1.2
    flow = outwards * 3 + swirl + DOWN * np.float32(rng.uniform(0.3, 0.8))
    return np.asarray(flow / np.maximum(np.linalg.norm(flow, axis=2, keepdims=True), 1e-6), np.float32)


def _short_strands(roots: Points, directions: Points, length: float, rng: Rng, points: int = 5) -> Floats:
    """Bent strands [n, points, 2] from roots [n, 2] along directions [n, 2]."""
    count = len(roots)
    angle = np.arctan2(directions[:, 1], directions[:, 0]) + rng.normal(0, 0.25, count)
    bend = rng.normal(0, 0.5, count)
    angles = angle[:, None] + bend[:, None] * np.linspace(0, 1, points)
    steps = (length * rng.uniform(0.4, 1.2, (count, 1, 1)) / (points - 1)) * np.stack(
        [np.cos(angles), np.sin(angles)], 2
    )
    steps[:, 0] = 0
    return np.asarray(roots[:, None] + np.cumsum(steps, axis=1), np.float32)
