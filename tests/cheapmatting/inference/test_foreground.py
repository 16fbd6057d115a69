"""Foreground colours estimated from an image and its alpha."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atldas.common.errors import UserError
from cheapmatting.images import as_bytes, read_image
from cheapmatting.inference import foreground
from cheapmatting.inference.foreground import cut_out, estimate_foreground, laid_on, premultiplied
from cheapmatting.pipeline import example
from cheapmatting.trimap import known_pixels_kept

RED, BLUE = np.array([0.9, 0.2, 0.1], np.float32), np.array([0.1, 0.3, 0.8], np.float32)


def soft_disc(size: int = 200, radius: float = 50, softness: float = 20) -> np.ndarray:
    """Alpha [size, size] that falls from 1 to 0 over `softness` pixels."""
    y, x = np.mgrid[:size, :size] - size / 2
    return np.clip((radius - np.hypot(y, x)) / softness + 0.5, 0, 1).astype(np.float32)


def composite(foreground: np.ndarray, background: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    a = alpha[..., None]
    return (a * foreground + (1 - a) * background).astype(np.float32)


def test_constant_colours_are_recovered() -> None:
    alpha = soft_disc()
    colours = estimate_foreground(composite(RED, BLUE, alpha), alpha)
    error = np.abs(colours - RED).max(axis=2)
    assert colours.dtype == np.float32
    # The method's own two passes leave 0.036 on average, a sixth of what the image's colours are off.
    assert error[alpha > 0.05].max() < 0.13
    assert error[alpha > 0.05].mean() < 0.04
    naive = np.abs(composite(RED, BLUE, alpha) - RED).max(axis=2)
    assert naive[alpha > 0.05].mean() > 5 * error[alpha > 0.05].mean()


def test_more_coarse_passes_come_closer() -> None:
    alpha = soft_disc()
    image = composite(RED, BLUE, alpha)
    errors = [
        np.abs(estimate_foreground(image, alpha, (90,) * passes + (6,)) - RED)[alpha > 0.05].max()
        for passes in (1, 2, 3, 6)
    ]
    assert errors == sorted(errors, reverse=True) and errors[-1] < 0.01


def test_estimate_composes_to_the_image() -> None:
    # On any background the cut-out must look right; on the old one it must give the photograph back.
    alpha = soft_disc()
    image = composite(RED, BLUE, alpha)
    again = composite(estimate_foreground(image, alpha), BLUE, alpha)
    assert np.abs(again - image).max() < 0.045


def test_the_image_is_kept_where_alpha_is_one() -> None:
    alpha = soft_disc()
    image = np.random.default_rng(0).random((200, 200, 3), np.float32)
    colours = estimate_foreground(image, alpha)
    np.testing.assert_array_equal(colours[alpha == 1], image[alpha == 1])


@settings(max_examples=25, deadline=None)
@given(height=st.integers(1, 60), width=st.integers(1, 60), seed=st.integers(0, 99), sparse=st.booleans())
def test_any_size_and_alpha_gives_colours_in_range(height: int, width: int, seed: int, sparse: bool) -> None:
    rng = np.random.default_rng(seed)
    image = rng.random((height, width, 3), np.float32)
    alpha = rng.random((height, width), np.float32)
    if sparse:
        alpha = np.rint(alpha * 1.2 - 0.3).clip(0, 1).astype(np.float32)
    before = image.copy()
    colours = estimate_foreground(image, alpha)
    assert colours.shape == image.shape and np.isfinite(colours).all()
    assert colours.min() >= 0 and colours.max() <= 1
    np.testing.assert_array_equal(image, before)
    np.testing.assert_array_equal(colours[alpha == 1], image[alpha == 1])


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_one_alpha_throughout(value: float) -> None:
    image = read_image(example("chelsea.jpg"))[:50, :70]
    rgba = cut_out(image, np.full(image.shape[:2], value, np.float32))
    assert (rgba[..., 3] == 255 * value).all()
    if value:
        np.testing.assert_array_equal(rgba[..., :3], image)


def test_cut_out_is_straight_rgba() -> None:
    alpha = soft_disc(64, 20, 12)
    image = np.rint(composite(RED, BLUE, alpha) * 255).astype(np.uint8)
    rgba = cut_out(image, alpha)
    assert rgba.shape == (64, 64, 4) and rgba.dtype == np.uint8
    np.testing.assert_array_equal(rgba[..., 3], np.rint(alpha * 255))
    np.testing.assert_array_equal(rgba[..., :3][alpha == 1], image[alpha == 1])
    rim = np.abs(alpha - 0.5) < 0.2  # red there, not purple
    off, naive = (np.abs(colours[rim] / 255 - RED).max(axis=1).mean() for colours in (rgba[..., :3], image))
    assert off < 0.14 and naive > 2.5 * off


def test_tiles_of_a_large_image_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (500, 290, 3), dtype=np.uint8)
    alpha = rng.random((500, 290), np.float32)
    whole = cut_out(image, alpha)
    monkeypatch.setattr(foreground, "TILE", 130)
    assert np.abs(cut_out(image, alpha).astype(int) - whole).max() <= 1  # sums in another order


def test_a_wide_image_is_cut_out_in_little_memory() -> None:
    image, alpha = np.zeros((1500, 4000, 3), np.uint8), np.zeros((1500, 4000), np.float32)
    tracemalloc.start()
    cut_out(image, alpha)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak - 4 * alpha.size < 140 * 2**20  # beside the result: those of a tile


@pytest.mark.parametrize(
    ("image", "alpha", "message"),
    [
        (
            np.zeros((4, 5, 3), np.float32),
            np.zeros((4, 5), np.float32),
            "image: expected uint8 .*, got float32 ",
        ),
        (
            np.zeros((4, 5, 3), np.uint8),
            np.zeros((4, 5), np.uint8),
            "alpha: expected floats .*, got uint8 .*; divide",
        ),
        (np.zeros((4, 5, 3), np.uint8), np.full((4, 5), 255.0), "alpha: expected floats in 0..1, got 0 to 255; divide"),
        (np.zeros((4, 5, 3), np.uint8), np.full((4, 5), np.nan), "alpha: expected floats in 0..1, got nan to nan"),
        (np.zeros((4, 5, 3), np.uint8), np.zeros((5, 4)), r"alpha: expected floats \[4, 5\] in 0..1"),
        (np.zeros((4, 5, 4), np.uint8), np.zeros((4, 5)), r"image: expected uint8 RGB .*, got uint8 \[4, 5, 4\]"),
        ("photo.png", np.zeros((4, 5)), "got str$"),
    ],
)
def test_cut_out_refuses_a_mix_of_levels_and_floats(image: Any, alpha: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        cut_out(image, alpha)


def test_what_is_made_of_a_large_alpha_takes_few_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreground, "TILE", 64)
    alpha = np.linspace(0, 1, 2**20, dtype=np.float32).reshape(16384, 64)
    image, trimap = np.zeros((16384, 64, 3), np.uint8), np.full((16384, 64), 128, np.uint8)
    cutout = cut_out(image, alpha)
    made: list[Callable[[], object]] = [
        lambda: cut_out(image, alpha),
        lambda: as_bytes(alpha),
        lambda: known_pixels_kept(alpha, trimap),
        lambda: premultiplied(cutout),
        lambda: laid_on(cutout, image),
    ]
    for make in made:
        tracemalloc.start()
        make()
        peak = tracemalloc.get_traced_memory()[1] / alpha.size
        tracemalloc.stop()
        assert 3 <= peak < 8  # bytes a pixel, of which the result or one copy in float32 takes 3 or 4


def test_laid_on_and_premultiplied_by_hand() -> None:
    cutout = np.array([[[200, 100, 0, 255], [200, 100, 0, 0], [200, 100, 0, 51]]], np.uint8)  # alpha 1, 0, 0.2
    background = np.array([[[0, 50, 100]]], np.uint8)
    assert laid_on(cutout, background).tolist() == [[[200, 100, 0], [0, 50, 100], [40, 60, 80]]]
    assert premultiplied(cutout).tolist() == [[[200, 100, 0, 255], [0, 0, 0, 0], [40, 20, 0, 51]]]
