"""A mask from a rectangle or a few points, by GrabCut.

C. Rother, V. Kolmogorov, A. Blake, "GrabCut", SIGGRAPH 2004; the implementation is OpenCV's.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal, NamedTuple

import cv2
import numpy as np

from atldas.common.errors import UserError

from ..arrays import Bytes, Floats
from .trimap_from_mask import resized

# GrabCut takes seconds a megapixel. Its outline needs to be right only to the trimap's band, so that larger
# photographs are cut at this many pixels on the longer side.
LONGEST = 800
ROUNDS = 5
POINT = 0.01  # radius of the disc around a point, as a share of the image's diagonal
# Pixels count as equally far from a point if they differ by so much in colour (CIE Lab, in OpenCV's bytes) or lie so
# far away (a share of the diagonal).
COLOUR_NEAR, PLACE_NEAR = 40.0, 0.25

Point = tuple[int, int]  # x, y


class Rectangle(NamedTuple):
    """In pixels, from the top left corner."""

    x: int
    y: int
    width: int
    height: int


def whole_numbers(text: str, count: Literal[2, 4], name: str) -> list[int]:
    """`X,Y` or `X,Y,WIDTH,HEIGHT`, as a person writes a point or a rectangle.

    Raises:
        UserError: anything else; it names `name`.
    """
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != count or not all(re.fullmatch(r"-?[0-9]{1,6}", part) for part in parts):
        wanted = {2: "a point X,Y", 4: "X,Y,WIDTH,HEIGHT"}[count]
        raise UserError(f"{name}: expected {wanted} in whole pixels, got {text[:40]}")
    return [int(part) for part in parts]


def grab_cut(
    image: Bytes, rectangle: Rectangle | None = None, inside: Sequence[Point] = (), outside: Sequence[Point] = ()
) -> Bytes:
    """The mask uint8 [H, W], 0 or 255, of what the rectangle holds, or the points mark.

    Args:
        image: uint8 RGB [H, W, 3].
        rectangle: all of the foreground is in it.
        inside, outside: points (x, y) of the foreground and of the background.

    Raises:
        UserError: neither a rectangle nor a point inside; a rectangle or a point that is not in the image; a rectangle
            that leaves no background; or nothing found.
    """
    height, width = image.shape[:2]
    _check(rectangle, inside, outside, height, width)
    scale = min(1.0, LONGEST / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA) if scale < 1 else image, np.uint8)
    marks = _marks(small, scale, rectangle, inside, outside)
    cv2.setRNGSeed(0)  # OpenCV's k-means draws its first centres
    behind, before = np.zeros((1, 65)), np.zeros((1, 65))  # OpenCV's mixtures of colours
    cv2.grabCut(small, marks, (0, 0, 1, 1), behind, before, ROUNDS, cv2.GC_INIT_WITH_MASK)
    found = np.isin(marks, (cv2.GC_FGD, cv2.GC_PR_FGD))
    if not found.any():
        raise UserError("GrabCut found no foreground; expected a tighter --rectangle, or more points with --inside")
    mask = found.astype(np.uint8) * np.uint8(255)
    return mask if scale == 1 else resized(mask, height, width)


def _marks(
    small: Bytes, scale: float, rectangle: Rectangle | None, inside: Sequence[Point], outside: Sequence[Point]
) -> Bytes:
    """What GrabCut starts with, uint8 [h, w] of OpenCV's four classes, for the photograph small [h, w, 3].

    With a rectangle, what is outside of it is background for certain, and the rest is probably foreground. With points
    alone, a pixel is probably of the kind of the point that is nearest to it, in place and colour.
    """
    shape = small.shape[:2]
    points = {
        level: [(round(x * scale), round(y * scale)) for x, y in given]
        for level, given in ((cv2.GC_FGD, inside), (cv2.GC_BGD, outside))
    }
    if rectangle is not None:
        marks = np.full(shape, cv2.GC_BGD, np.uint8)
        x, y = round(rectangle.x * scale), round(rectangle.y * scale)
        right, bottom = ((rectangle.x + rectangle.width) * scale, (rectangle.y + rectangle.height) * scale)
        marks[y : max(y + 1, round(bottom)), x : max(x + 1, round(right))] = cv2.GC_PR_FGD
    else:
        nearer = _distance(small, points[cv2.GC_FGD]) < _distance(small, points[cv2.GC_BGD] or _frame(*shape))
        marks = np.where(nearer, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    radius = max(1, round(float(np.hypot(*shape)) * POINT))
    for level, there in points.items():
        for point in there:
            cv2.circle(marks, point, radius, level, cv2.FILLED)
    return marks


def _distance(small: Bytes, points: Sequence[Point]) -> Floats:
    """How far each pixel is from the nearest of the points, in place and colour: float32 [h, w]."""
    height, width = small.shape[:2]
    lab = cv2.cvtColor(cv2.GaussianBlur(small, (0, 0), 2), cv2.COLOR_RGB2LAB).astype(np.float32)
    ys, xs = np.mgrid[:height, :width].astype(np.float32)
    nearest = np.full((height, width), np.inf, np.float32)
    for x, y in points:
        x, y = min(x, width - 1), min(y, height - 1)
        colour = np.square(lab - lab[y, x]).sum(2) / COLOUR_NEAR**2
        place = (np.square(xs - x) + np.square(ys - y)) / (PLACE_NEAR * np.hypot(height, width)) ** 2
        nearest = np.minimum(nearest, colour + place)
    return nearest


def _frame(height: int, width: int) -> list[Point]:
    """Points along the image's frame: the background, where no other is given."""
    steps = range(9)
    xs, ys = ([round(i * (side - 1) / 8) for i in steps] for side in (width, height))
    return [*((x, y) for x in xs for y in (0, height - 1)), *((x, y) for y in ys for x in (0, width - 1))]


def _check(
    rectangle: Rectangle | None, inside: Sequence[Point], outside: Sequence[Point], height: int, width: int
) -> None:
    if rectangle is None and not inside:
        raise UserError("expected a rectangle around the foreground, or a point inside of it, got neither")
    size = f"{width} x {height} pixels"
    if rectangle is not None:
        x, y, w, h = rectangle
        if w < 1 or h < 1 or x < 0 or y < 0 or x + w > width or y + h > height:
            raise UserError(f"rectangle: expected X,Y,WIDTH,HEIGHT inside the image of {size}, got {x},{y},{w},{h}")
        if (w, h) == (width, height):
            raise UserError("rectangle: expected background outside of it, got the whole image")
    for name, points in (("inside", inside), ("outside", outside)):
        for x, y in points:
            if not (0 <= x < width and 0 <= y < height):
                raise UserError(f"{name}: expected a point X,Y inside the image of {size}, got {x},{y}")
