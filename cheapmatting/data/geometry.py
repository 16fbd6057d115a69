"""Views of a picture: which part of it is seen, turned, sheared, zoomed and mirrored.

A *view* is the matrix [2, 3] that takes a pixel (x, y) of the square output to its place (x, y) in the picture. All of
a sample's geometry is one such matrix, so that every picture is interpolated once.
"""

from __future__ import annotations

from typing import Annotated

import cv2
import numpy as np
import numpy.typing as npt
from annotated_types import Ge, Gt, Le, MinLen

from atldas.common.config import config

from ..arrays import Bytes, Floats, Rng
from .chance import Chance, Range, check_range, happens

Matrix = npt.NDArray[np.float64]
# Drawn at random, so that a network does not learn one interpolation's traces.
INTERPOLATIONS = (cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4)
INTERPOLATION_SHARES = (0.45, 0.45, 0.1)


@config
class GeometryConfig:
    """How foregrounds are turned and cropped; as in GCA-Matting (Li and Lu, AAAI 2020) unless said.

    Attributes:
        mirror, upside_down: chances of a flip.
        affine: chance of rotation by up to `rotation` degrees either way, shear by up to `shear` degrees on each axis,
            and a zoom within `zoom`, together.
        crop_scales: a crop is as wide as the pairs times one of these, and is resized.
        whole: chance of seeing the whole cut-out instead.
        close_up: chance that a drawn foreground is drawn up to `closest` times as large, and cropped around a pixel at
            which alpha changes: strands a pixel wide and wider, as photographs have them.
    """

    mirror: Chance = 0.5
    upside_down: Chance = 0.1
    affine: Chance = 0.5
    rotation: Annotated[float, Ge(0), Le(180)] = 30.0
    shear: Annotated[float, Ge(0), Le(45)] = 10.0
    zoom: Annotated[Range, "low, high"] = (0.8, 1.25)
    crop_scales: Annotated[tuple[Annotated[float, Gt(0)], ...], MinLen(1)] = (1.0, 1.25, 1.5, 2.0)
    whole: Chance = 0.25
    close_up: Chance = 0.0
    closest: Annotated[float, Ge(1), Le(8)] = 3.0

    def __post_init__(self) -> None:
        check_range(self.zoom, 0.1, 10)

    @property
    def turns(self) -> bool:
        """Whether drawn foregrounds are ever turned, mirrored or enlarged."""
        return max(self.mirror, self.upside_down, self.affine, self.close_up) > 0


def random_turn(rng: Rng, settings: GeometryConfig) -> tuple[Matrix, float]:
    """Flips, rotation and shear as a matrix [2, 2] for offsets (x, y) that keeps areas, and the zoom."""
    flips = [-1.0 if happens(rng, chance) else 1.0 for chance in (settings.mirror, settings.upside_down)]
    turn, zoom = np.diag(flips), 1.0
    if happens(rng, settings.affine):
        angle = np.deg2rad(rng.uniform(-settings.rotation, settings.rotation))
        shear_x, shear_y = np.tan(np.deg2rad(rng.uniform(-settings.shear, settings.shear, 2)))
        rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        turn = turn @ rotation @ np.array([[1, shear_x], [shear_y, 1]])
        turn /= np.sqrt(abs(np.linalg.det(turn)))
        zoom = float(np.exp(rng.uniform(*np.log(settings.zoom))))
    return turn, zoom


def random_interpolation(rng: Rng) -> int:
    """One of `INTERPOLATIONS`."""
    return INTERPOLATIONS[rng.choice(len(INTERPOLATIONS), p=INTERPOLATION_SHARES)]


def view(turn: Matrix, scale: float, centre: tuple[float, float], size: int) -> Matrix:
    """The matrix [2, 3] of a view whose middle is at `centre` (x, y), each output pixel `scale` picture pixels wide."""
    linear = turn * scale
    middle = np.full(2, (size - 1) / 2)
    return np.column_stack([linear, np.array(centre) - linear @ middle])


def edge_pixel(alpha: Bytes, rng: Rng) -> tuple[int, int]:
    """The row and column of a random pixel of uint8 [H, W] at which alpha changes."""
    changing = np.flatnonzero(cv2.morphologyEx(alpha, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)))
    row, column = divmod(int(changing[rng.integers(changing.size)]), alpha.shape[1])
    return row, column


def middle_near(at: int, half: float, length: int, rng: Rng) -> float:
    """Where on an axis of `length` the middle of a view lies that reaches `half` to both sides and holds pixel `at`.

    The view ends inside the picture if it fits in there; else its middle is anywhere that leaves the picture whole.
    """
    first, last = half - 0.5, length - 0.5 - half  # the middles of the views that begin and end with the picture
    if first <= last:
        return float(np.clip(at + rng.uniform(-0.5, 0.5) * half, first, last))
    return float(rng.uniform(last, first))


def reach(turn: Matrix, scale: float, size: int) -> tuple[float, float]:
    """Half the width and half the height, in picture pixels, of the upright box around a view."""
    x, y = np.abs(turn).sum(axis=1) * scale * size / 2
    return float(x), float(y)


def seen_part(matrix: Matrix, size: int, shape: tuple[int, ...]) -> tuple[slice, slice]:
    """The rows and columns of a picture [H, W, ...] that a view can see, with a margin for interpolation."""
    corners = np.array([[x, y, 1] for x in (0, size - 1) for y in (0, size - 1)])
    places = corners @ matrix.T  # [4, 2]
    margin = 4 + np.abs(matrix[:, :2]).sum(axis=1)
    low, high = places.min(axis=0) - margin, places.max(axis=0) + margin
    columns, rows = (
        slice(int(np.clip(a, 0, length - 1)), int(np.clip(np.ceil(b), 1, length)))
        for a, b, length in zip(low, high, shape[1::-1], strict=True)
    )
    return rows, columns


def seen(picture: Floats, matrix: Matrix, size: int, interpolation: int, border: int) -> Floats:
    """A picture [H, W] or [H, W, C] through a view: float32 [size, size, ...]; cubic kernels overshoot 0..1 a little.

    Where the view is coarser than the picture, the picture is first averaged down, since interpolation alone would
    skip pixels.

    Args:
        border: cv2.BORDER_CONSTANT (nothing outside) or cv2.BORDER_REFLECT_101 (the picture mirrored).
    """
    scale = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    if scale > 1 and interpolation != cv2.INTER_NEAREST:
        height, width = picture.shape[:2]
        smaller = (max(1, round(width / scale)), max(1, round(height / scale)))
        picture = np.asarray(cv2.resize(picture, smaller, interpolation=cv2.INTER_AREA))
        ratio = np.array([[smaller[0] / width], [smaller[1] / height]])
        matrix = matrix * ratio
        matrix[:, 2:] += (ratio - 1) / 2  # pixel centres: p becomes (p + 1/2) ratio - 1/2
    flags = interpolation | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(picture, matrix, (size, size), flags=flags, borderMode=border), np.float32)


def moved(matrix: Matrix, rows: slice, columns: slice) -> Matrix:
    """The same view of a picture of which only these rows and columns were kept."""
    return matrix - np.array([[0, 0, columns.start], [0, 0, rows.start]])
