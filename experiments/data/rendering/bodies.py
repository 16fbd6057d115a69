"""Bodies that carry strands: people's busts, animals, and shapeless things."""

from __future__ import annotations

import numpy as np

from .shapes import Array, Body, Mesh, Part, ball, surface, turn, unit, waves
from .strands import dull_colour

SKINS = ((0.62, 0.38, 0.28), (0.5, 0.29, 0.2), (0.36, 0.19, 0.12), (0.22, 0.11, 0.065), (0.09, 0.045, 0.03))


def pair(x: float, y: float, z: float, *rest: object, **more: object) -> list[Part]:
    """A part and its mirror image."""
    return [Part((side * x, y, z), *rest, **more) for side in (-1, 1)]


def bust(rng: np.random.Generator) -> tuple[Body, list[Mesh]]:
    """A head, a neck and dressed shoulders; the head looks along -y. The meshes include the eyes."""
    skin = tuple(np.array(SKINS[rng.integers(len(SKINS))]) * rng.uniform(0.85, 1.15, 3))
    red = tuple(np.array(skin) * (0.95, 0.5, 0.5))
    cloth = tuple(dull_colour(rng) * rng.choice([0.25, 1.0]))
    bare = rng.uniform() < 0.25
    wide, deep, tall = rng.uniform(0.93, 1.07, 3)
    parts = [
        Part((0, 0.05, 0.25), (0.72 * wide, 0.88 * deep, 0.78), skin),
        Part((0, -0.32, -0.25), (0.55 * wide, 0.5, 0.68 * tall), skin),
        Part((0, -0.45, -0.66 * tall), (0.33 * wide, 0.32, 0.24), skin),
        Part((0, -0.84, -0.1), (0.07, 0.13, 0.24), skin, turn(x=-0.25), furry=False),
        Part((0, -0.95, -0.27), (0.11, 0.1, 0.08), skin, furry=False),
        *pair(0.29, -0.58, -0.25, (0.2, 0.22, 0.2), skin),
        *pair(0.26, -0.71, 0.065, (0.19, 0.13, 0.075), skin, furry=False),
        Part((0, -0.76, -0.53), (0.17, 0.08, 0.028), red, furry=False),
        Part((0, -0.75, -0.6), (0.13, 0.07, 0.03), red, furry=False),
        *pair(0.71 * wide, 0.0, -0.1, (0.06, 0.18, 0.26), skin, furry=False),
        Part((0, 0.08, -1.1), (0.36, 0.38, 0.8), skin, furry=False),
        Part((0, 0.14, -1.5), (0.8, 0.4, 0.26), skin if bare else cloth, furry=False),
        Part((0, 0.16, -1.85), (1.4, 0.48, 0.42), skin if bare else cloth, furry=False),
        Part((0, 0.12, -2.8), (1.15, 0.52, 1.6), cloth, furry=False),
        *pair(1.28, 0.16, -2.6, (0.32, 0.36, 1.0), cloth, furry=False),
    ]
    body = Body(parts, blend=0.035, noise=waves(rng, 1.2), amount=0.012, mottle=0.035, cells=96)
    iris = rng.choice([[0.02, 0.01, 0.005], [0.08, 0.04, 0.015], [0.05, 0.12, 0.2], [0.06, 0.1, 0.05]])
    eyes = [ball(np.array([side * 0.26, -0.7, -0.04]), 0.115, eye_colours(iris, 0.86)) for side in (-1, 1)]
    return body, [surface(body, rng), *eyes]


def eye_colours(iris: Array, edge: float, gaze: tuple[float, float, float] = (0.0, -1.0, 0.0)):
    """Colours of an eyeball by direction: pupil, iris, white."""

    def colours(directions: Array) -> Array:
        facing = directions @ np.array(gaze)
        result = np.where((facing > edge)[:, None], iris, [0.6, 0.56, 0.53])
        return np.where((facing > 1 - (1 - edge) * 0.25)[:, None], 0.003, result)

    return colours


def scalp(points: Array) -> Array:
    """Weight 1 where hair grows on a bust's head, 0 elsewhere: high in front, down to the nape behind."""
    edge = np.clip(-0.08 - 0.75 * points[:, 1], -0.68, 0.5) + 0.06 * np.cos(points[:, 0] * 5)
    return np.clip((points[:, 2] - edge) / 0.1, 0, 1) * (points[:, 2] > -0.75)


def jaw(points: Array) -> Array:
    """Weight 1 where a beard grows on a bust's face."""
    x, y, z = points.T
    below = np.clip((-0.42 - 0.25 * np.abs(x) + 0.3 * (np.abs(x) > 0.45) - z) / 0.08, 0, 1)
    lips = (np.abs(x) < 0.2) & (z > -0.66) & (z < -0.49)
    return below * (y < -0.05) * (z > -1.05) * ~lips


def pet_head(rng: np.random.Generator) -> tuple[Body, list[Mesh], Array]:
    """The head and chest of an animal that looks along -y; also the tip of its nose."""
    skin = (0.12, 0.08, 0.06)
    long, ear, fold = rng.uniform(0.2, 0.75), rng.uniform(0.25, 0.6), rng.uniform(-0.2, 1.6)
    tip = np.array([0, -0.75 - long, -0.2])
    parts = [
        Part((0, 0, 0.1), (0.8, 0.75, 0.72), skin),
        *pair(0.35, -0.35, -0.22, (0.35, 0.35, 0.3), skin),
        Part((0, -0.6 - long / 2, -0.22), (0.3, 0.3 + long / 2, 0.25), skin),
        Part(tuple(tip), (0.13, 0.1, 0.09), (0.012, 0.01, 0.01), furry=False),
        Part((0, -0.55 - long / 2, -0.45), (0.2, 0.2 + long / 2, 0.1), skin),
        Part((0, 0.4, -0.9), (0.7, 0.6, 0.9), skin),
        Part((0, 0.6, -1.9), (1.0, 0.8, 1.1), skin),
    ]
    for side in (-1, 1):
        centre = (side * (0.5 + 0.3 * np.sin(fold)), 0.1, 0.65 + ear * np.cos(fold))
        parts.append(Part(centre, (0.2, 0.1, ear), skin, turn(y=side * fold, z=side * 0.4)))
    body = Body(parts, blend=0.06, noise=waves(rng, 2.0), amount=0.02)
    iris = np.array([[0.25, 0.12, 0.02], [0.04, 0.02, 0.01], [0.15, 0.25, 0.08]])[rng.integers(3)]
    meshes = [surface(body, rng)]
    for side in (-1, 1):
        spot = np.array([[side * 0.34, -0.72, 0.16]])
        for _ in range(4):
            spot = spot - body.distance(spot)[:, None] * body.gradient(spot)
        meshes.append(ball(spot[0] + [0, 0.03, 0], 0.125, eye_colours(iris, 0.45, (side * 0.3, -0.95, 0.05))))
    return body, meshes, tip


def beast(rng: np.random.Generator) -> tuple[Body, list[Mesh]]:
    """A whole animal on four legs that walks along x."""
    skin = (0.1, 0.07, 0.05)
    fat, leg, neck = rng.uniform(0.45, 0.75), rng.uniform(0.4, 0.9), rng.uniform(0.2, 0.8)
    head = np.array([1.45, 0.0, 0.35 + neck])
    snout = rng.uniform(0.15, 0.4)
    parts = [
        Part((0, 0, 0), (1.15, fat * 0.95, fat), skin),
        Part((0.75, 0, 0.1), (0.5, fat * 0.85, fat), skin),
        Part((-0.75, 0, 0.05), (0.5, fat * 0.85, fat), skin),
        Part((1.1, 0, 0.2 + neck / 2), (0.36, 0.3, 0.4 + neck / 2), skin, turn(y=0.4)),
        Part(tuple(head), (0.42, 0.36, 0.36), skin),
        Part((head[0] + 0.3 + snout / 2, 0, head[2] - 0.12), (0.2 + snout / 2, 0.19, 0.17), skin),
        Part((head[0] + 0.52 + snout, 0, head[2] - 0.08), (0.07, 0.08, 0.06), (0.01, 0.01, 0.01), furry=False),
    ]
    parts += [
        Part((head[0] - 0.08, s * 0.24, head[2] + 0.36), (0.07, 0.12, 0.24), skin, turn(x=-s * 0.4)) for s in (-1, 1)
    ]
    for x in (-0.8, 0.75):
        parts += [
            Part((x + rng.normal(0, 0.12), s * fat * 0.5, -fat * 0.7 - leg / 2), (0.17, 0.16, leg / 2 + 0.3), skin)
            for s in (-1, 1)
        ]
    angle, spot = rng.uniform(-0.9, 0.9), np.array([-1.15, 0.0, 0.15])
    for _ in range(5):
        spot = spot + 0.22 * np.array([-np.cos(angle), 0.1, np.sin(angle)])
        parts.append(Part(tuple(spot), (0.2, 0.11, 0.11), skin, turn(y=angle)))
        angle += rng.uniform(0, 0.35)
    body = Body(parts, blend=0.06, noise=waves(rng, 1.5), amount=0.03)
    eyes = [
        ball(
            head + np.array([0.3, side * 0.22, 0.09]),
            0.075,
            eye_colours(np.array([0.02, 0.012, 0.006]), 0.2, (0.6, side * 0.8, 0.0)),
        )
        for side in (-1, 1)
    ]
    return body, [surface(body, rng), *eyes]


def blob(rng: np.random.Generator, colour: Array | None = None) -> tuple[Body, list[Mesh]]:
    """A few ellipsoids grown together and displaced: a toy, a rug, a hat, a stone."""
    colour = dull_colour(rng) * 0.5 if colour is None else colour
    parts = [Part((0, 0, 0), tuple(rng.uniform(0.5, 1.0, 3)), tuple(colour), turn(*rng.uniform(-1, 1, 3)))]
    for _ in range(rng.integers(0, 4)):
        centre = unit(rng.normal(size=3)) * rng.uniform(0.5, 0.9)
        parts.append(Part(tuple(centre), tuple(rng.uniform(0.2, 0.55, 3)), tuple(colour), turn(*rng.uniform(-1, 1, 3))))
    body = Body(
        parts, blend=rng.uniform(0.04, 0.15), noise=waves(rng, rng.uniform(1.5, 4)), amount=rng.uniform(0.01, 0.06)
    )
    return body, [surface(body, rng)]
