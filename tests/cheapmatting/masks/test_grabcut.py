"""Masks from a rectangle and from points."""

from __future__ import annotations

import numpy as np
import pytest

from atldas.common.errors import UserError
from cheapmatting.masks.grabcut import Point, Rectangle, grab_cut


def scene(height: int = 120, width: int = 160) -> tuple[np.ndarray, np.ndarray]:
    """A red disc on green, both noisy, and its true mask."""
    ys, xs = np.mgrid[:height, :width]
    inside = np.hypot(xs - width / 2, ys - height / 2) < height / 4
    noise = np.random.default_rng(0).normal(0, 12, (height, width, 3))
    colours = np.where(inside[..., None], (180, 60, 50), (60, 140, 70))
    return np.clip(colours + noise, 0, 255).astype(np.uint8), inside


def overlap(mask: np.ndarray, truth: np.ndarray) -> float:
    """Intersection over union."""
    return float(((mask > 127) & truth).sum() / ((mask > 127) | truth).sum())


@pytest.mark.parametrize(
    ("rectangle", "inside", "outside"),
    [
        (Rectangle(40, 20, 80, 80), [], []),
        (None, [(80, 60)], []),
        (None, [(80, 60)], [(10, 10), (150, 60)]),
        (Rectangle(30, 10, 100, 100), [(80, 60)], [(40, 20)]),
    ],
)
def test_the_disc_is_found(rectangle: Rectangle | None, inside: list[Point], outside: list[Point]) -> None:
    image, truth = scene()
    before = image.copy()
    mask = grab_cut(image, rectangle, inside, outside)
    assert mask.shape == truth.shape and mask.dtype == np.uint8
    assert overlap(mask, truth) > 0.97
    np.testing.assert_array_equal(image, before)
    np.testing.assert_array_equal(grab_cut(image, rectangle, inside, outside), mask)


def test_a_large_photograph_is_cut_in_small() -> None:
    image, truth = scene(900, 1200)
    mask = grab_cut(image, Rectangle(300, 150, 600, 600))
    assert mask.shape == (900, 1200) and overlap(mask, truth) > 0.97


@pytest.mark.parametrize(
    ("rectangle", "inside", "outside", "message"),
    [
        (None, [], [(3, 3)], "expected a rectangle around the foreground"),
        (Rectangle(0, 0, 161, 50), [], [], "rectangle: expected X,Y,WIDTH,HEIGHT inside the image of 160 x 120"),
        (Rectangle(5, 5, 0, 50), [], [], "rectangle: expected"),
        (Rectangle(0, 0, 160, 120), [], [], "got the whole image"),
        (None, [(160, 3)], [], "inside: expected a point X,Y inside the image"),
        (None, [(5, 3)], [(-1, 3)], "outside: expected a point"),
    ],
)
def test_marks_outside_of_the_image_are_refused(
    rectangle: Rectangle | None, inside: list[Point], outside: list[Point], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        grab_cut(scene()[0], rectangle, inside, outside)


def test_tiny_images_do_not_fail() -> None:
    image = np.random.default_rng(0).integers(0, 256, (3, 4, 3)).astype(np.uint8)
    assert grab_cut(image, None, [(1, 1)]).shape == (3, 4)
