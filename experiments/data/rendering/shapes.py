"""Solid bodies as smooth unions of ellipsoids, and their surfaces as meshes.

A body is a signed distance: negative inside. The same distance gives the mesh, the roots of the strands and the
surface that strands slide over. Axes: x to the right, y away from the viewer, z up. A head is about 2 units high.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

Array = np.ndarray
Field = Callable[[Array], Array]


def unit(vectors: Array) -> Array:
    """Vectors scaled to length one."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)


def waves(rng: np.random.Generator, frequency: float, outputs: int = 1, count: int = 5) -> Field:
    """A smooth random function of space, about -1 to 1: a sum of plane waves. Shape (..., 3) to (..., outputs)."""
    directions = unit(rng.normal(size=(3, count * outputs))) * frequency * rng.uniform(0.5, 1.6, count * outputs)
    phases = rng.uniform(0, 2 * np.pi, count * outputs)

    def evaluate(points: Array) -> Array:
        values = np.sin(points @ directions + phases)
        return values.reshape(*points.shape[:-1], outputs, count).sum(-1) * (1.4 / count**0.5)

    return evaluate


def turn(x: float = 0.0, y: float = 0.0, z: float = 0.0) -> Array:
    """The rotation matrix of three angles in radians, about x first."""
    cx, sx, cy, sy, cz, sz = np.cos(x), np.sin(x), np.cos(y), np.sin(y), np.cos(z), np.sin(z)
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return about_z @ about_y @ about_x


@dataclass
class Part:
    """One ellipsoid of a body. `furry` parts may carry roots."""

    centre: tuple[float, float, float]
    radii: tuple[float, float, float]
    colour: tuple[float, float, float]
    rotation: Array = field(default_factory=lambda: np.eye(3))
    furry: bool = True

    def reach(self) -> Array:
        """Half the size of the part's bounding box."""
        return np.sqrt(((self.rotation * np.array(self.radii)) ** 2).sum(1))


@dataclass
class Body:
    """A smooth union of parts, bent by noise."""

    parts: list[Part]
    blend: float = 0.06
    noise: Field | None = None
    amount: float = 0.0
    mottle: float = 0.06
    cells: int = 80

    @cached_property
    def grid(self) -> Grid:
        """The body's distance on a grid."""
        return Grid(self, self.cells)

    def _distances(self, points: Array) -> Array:
        """The approximate signed distances to all parts, (n, 3) to (n, parts)."""
        radii = np.array([part.radii for part in self.parts])
        turns = np.array([part.rotation for part in self.parts]) / radii[:, None]
        centres = np.einsum("pi,pij->pj", np.array([part.centre for part in self.parts]), turns)
        squares = [(points @ turns[:, :, axis].T - centres[:, axis]) ** 2 for axis in range(3)]
        scaled = np.sqrt(squares[0] + squares[1] + squares[2])
        slope = np.sqrt(sum(square / radii[:, axis] ** 2 for axis, square in enumerate(squares)))
        return np.where(slope > 1e-6, scaled * (scaled - 1) / np.maximum(slope, 1e-6), -radii.min(-1))

    def distance(self, points: Array) -> Array:
        """The signed distance of points, (n, 3) to (n,)."""
        distances = self._distances(points)
        nearest = distances.min(-1, keepdims=True)
        result = nearest[:, 0] - self.blend * np.log(np.exp(-(distances - nearest) / self.blend).sum(-1))
        if self.noise is not None:
            result = result - self.amount * self.noise(points)[..., 0]
        return result

    def gradient(self, points: Array, step: float = 2e-3) -> Array:
        """Unit normals of the distance."""
        offsets = np.eye(3) * step
        slopes = [self.distance(points + offset) - self.distance(points - offset) for offset in offsets]
        return unit(np.stack(slopes, -1))

    def colours(self, points: Array, rng: np.random.Generator) -> Array:
        """Surface colours: those of the nearest part, mottled."""
        distances = self._distances(points)
        weights = np.exp(-(distances - distances.min(-1, keepdims=True)) / 0.015)
        weights /= weights.sum(-1, keepdims=True)
        colours = weights @ np.array([part.colour for part in self.parts])
        mottles = sum(waves(rng, frequency)(points) for frequency in (2.0, 7.0, 25.0))
        return np.clip(colours * (1 + self.mottle * mottles), 0.003, 1)

    def furry(self, points: Array) -> Array:
        """Whether the nearest part of each point may carry strands."""
        return np.array([part.furry for part in self.parts])[self._distances(points).argmin(-1)]

    def bounds(self) -> tuple[Array, Array]:
        """Two corners of a box around the body."""
        margin = 0.1 + self.blend + 2 * self.amount
        low = np.min([np.array(part.centre) - part.reach() for part in self.parts], 0) - margin
        high = np.max([np.array(part.centre) + part.reach() for part in self.parts], 0) + margin
        return low, high


class Grid:
    """A distance sampled on a grid, for the many points of growing strands: much faster than the body itself."""

    def __init__(self, body: Body, cells: int) -> None:
        low, high = body.bounds()
        self.low, self.step = low, float((high - low).max() / cells)
        axes = [np.arange(a, b + self.step, self.step) for a, b in zip(low, high, strict=True)]
        self.points = np.stack(np.meshgrid(*axes, indexing="ij"), -1)
        blocks = np.array_split(self.points.reshape(-1, 3), self.points.size // 12000 + 1)
        self.values = np.concatenate([body.distance(block) for block in blocks]).reshape(self.points.shape[:3])
        self.slopes = np.stack(np.gradient(self.values, self.step), -1)

    def _mean(self, values: Array, points: Array) -> Array:
        """Values between the points of the grid, in proportion to the nearness of the eight corners."""
        place = np.clip((points - self.low) / self.step, 0, np.array(self.values.shape) - 1.001)
        corner = place.astype(int)
        share = place - corner
        result: Array | float = 0.0
        for offset in np.ndindex(2, 2, 2):
            weight = np.where(offset, share, 1 - share).prod(-1)
            sample = values[tuple((corner + offset).T)]
            result = result + (weight if sample.ndim == 1 else weight[:, None]) * sample
        return result

    def distance(self, points: Array) -> Array:
        """The distance of points, (n, 3) to (n,)."""
        return self._mean(self.values, points)

    def gradient(self, points: Array) -> Array:
        """Unit normals."""
        return unit(self._mean(self.slopes, points))


@dataclass
class Mesh:
    """A surface with colours at its vertices."""

    vertices: Array
    faces: Array
    colours: Array
    roughness: float = 0.55
    sheen: float = 0.0
    two_sided: bool = False


def _quads(inside: Array, index: Array) -> Array:
    """Faces of surface nets: one for each grid edge whose ends differ, from the four cells around the edge."""
    faces = []
    for axis in range(3):
        along = np.moveaxis(inside, axis, 0)
        cells = np.moveaxis(index, axis, 0)
        first, second = along[:-1, 1:-1, 1:-1], along[1:, 1:-1, 1:-1]
        corners = (cells[:, :-1, :-1], cells[:, 1:, :-1], cells[:, 1:, 1:], cells[:, :-1, 1:])
        for crossing, order in ((first & ~second, (0, 1, 2, 3)), (~first & second, (3, 2, 1, 0))):
            order = order if axis != 1 else order[::-1]
            faces.append(np.stack([corners[i][crossing] for i in order], -1))
    return np.concatenate(faces)


def surface(body: Body, rng: np.random.Generator) -> Mesh:
    """The mesh of a body, by surface nets; each vertex is moved onto the surface by Newton's method."""
    grid, step = body.grid.points, body.grid.step
    inside = body.grid.values < 0
    corners = [
        inside[x : x - 1 or None, y : y - 1 or None, z : z - 1 or None] for x in (0, 1) for y in (0, 1) for z in (0, 1)
    ]
    total = np.sum(corners, 0)
    mixed = (total > 0) & (total < 8)
    index = np.cumsum(mixed).reshape(mixed.shape) - 1
    vertices = grid[:-1, :-1, :-1][mixed] + step / 2
    for _ in range(4):
        move = np.clip(body.distance(vertices), -step, step)
        vertices = vertices - move[:, None] * body.gradient(vertices) * 0.9
    return Mesh(vertices, _quads(inside, index), body.colours(vertices, rng))


def ball(centre: Array, radius: float, colour: Callable[[Array], Array], rings: int = 24) -> Mesh:
    """A sphere; `colour` gives colours of directions, (n, 3) to (n, 3)."""
    polar, around = np.meshgrid(np.linspace(0, np.pi, rings), np.linspace(0, 2 * np.pi, rings * 2), indexing="ij")
    directions = np.stack([np.sin(polar) * np.cos(around), np.sin(polar) * np.sin(around), np.cos(polar)], -1)
    flat = directions.reshape(-1, 3)
    return Mesh(centre + radius * flat, sheet_faces(rings, rings * 2), colour(flat), roughness=0.08)


def sheet_faces(rows: int, columns: int) -> Array:
    """The faces of a grid of vertices in row order."""
    index = np.arange(rows * columns).reshape(rows, columns)
    return np.stack([index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]], -1).reshape(-1, 4)


def scatter(mesh: Mesh, count: int, rng: np.random.Generator, keep: Field | None = None) -> Array:
    """Random points on a mesh, evenly by area, where `keep` (a weight from 0 to 1 at points) is large."""
    corners = mesh.vertices[np.concatenate([mesh.faces[:, :3], mesh.faces[:, [0, 2, 3]]])]
    areas = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=-1)
    if keep is not None:
        areas = areas * keep(corners.mean(1))
    if areas.sum() <= 0:
        raise ValueError("no part of the surface carries strands")
    chosen = corners[rng.choice(len(areas), count, p=areas / areas.sum())]
    a, b = rng.uniform(size=(2, count, 1))
    flip = a + b > 1
    a, b = np.where(flip, 1 - a, a), np.where(flip, 1 - b, b)
    return chosen[:, 0] + a * (chosen[:, 1] - chosen[:, 0]) + b * (chosen[:, 2] - chosen[:, 0])
