"""Trimaps from masks: bands of known width, and how much of real photographs' soft pixels they hold."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atldas.common.errors import UserError
from cheapmatting.images import read_alpha
from cheapmatting.masks.trimap_from_mask import fitted, trimap_from_mask
from cheapmatting.masks.width import DEFAULT_WIDTH, Width, parse_width

TRUTHS = Path(__file__).parents[4] / "shared" / "data" / "photos_truth" / "alpha"
TRUTHS = TRUTHS if TRUTHS.is_dir() else Path("/work/shared/data/photos_truth/alpha")


def half_plane(side: int = 100, at: int = 50) -> np.ndarray:
    mask = np.zeros((side, side), np.uint8)
    mask[:, at:] = 255
    return mask


@settings(max_examples=25, deadline=None)
@given(width=st.integers(0, 40))
def test_the_band_of_a_straight_edge_is_exactly_as_wide_as_asked(width: int) -> None:
    trimap = trimap_from_mask(half_plane(), Width(width, percent=False))
    outer = width - width // 2
    row = [0] * (50 - outer) + [128] * width + [255] * (50 - width // 2)
    assert (trimap == row).all()


def test_a_percentage_is_of_the_diagonal() -> None:
    assert Width(2, percent=True).pixels(300, 400) == 10
    assert Width(0.1, percent=True).pixels(30, 40) == 2
    assert Width(7, percent=False).pixels(300, 400) == 7
    assert (trimap_from_mask(half_plane(), Width(10, percent=True))[0] == 128).sum() == 14  # 10% of 141.4


def test_the_band_of_a_disc_is_a_ring() -> None:
    ys, xs = np.mgrid[:101, :101] - 50
    distance = np.hypot(xs, ys)
    trimap = trimap_from_mask((distance <= 30).astype(np.uint8) * 255, Width(8, percent=False))
    assert (trimap[distance <= 25] == 255).all() and (trimap[distance >= 36] == 0).all()
    assert (trimap[(distance > 27.5) & (distance < 33.5)] == 128).all()


def test_the_band_is_wider_by_what_is_uncertain() -> None:
    mask = half_plane()
    mask[:50, 40:60] = np.linspace(20, 230, 20).astype(np.uint8)  # the upper half has a soft edge of 20 pixels
    trimap = trimap_from_mask(mask, Width(6, percent=False))
    assert (trimap[10] == 128).sum() == 26 and (trimap[90] == 128).sum() == 6


def test_noise_near_0_and_255_is_certain() -> None:
    noise = np.random.default_rng(0).integers(0, 13, (100, 100))
    noisy = np.where(half_plane() > 0, 255 - noise, noise).astype(np.uint8)
    width = Width(6, percent=False)
    np.testing.assert_array_equal(trimap_from_mask(noisy, width), trimap_from_mask(half_plane(), width))
    np.testing.assert_array_equal(trimap_from_mask(half_plane() // 255, width), trimap_from_mask(half_plane(), width))


def test_a_mask_of_one_kind_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    for level, missing in ((0, "foreground"), (255, "background"), (120, "background")):
        with pytest.raises(UserError, match=f"got no {missing}"):
            trimap_from_mask(np.full((9, 9), level, np.uint8))
    with caplog.at_level(logging.WARNING):
        trimap_from_mask(half_plane(20, 10), Width(40, percent=False))
    assert "leaves no certain foreground" in caplog.text


def test_a_mask_in_another_size_is_resized_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        larger = fitted(half_plane(), 200, 200, "mask.png")
    assert larger.shape == (200, 200) and "resized from 100 x 100 to 200 x 200" in caplog.text
    assert (larger[:, :98] == 0).all() and (larger[:, 102:] == 255).all()
    with pytest.raises(UserError, match=r"mask.png: expected a mask of 300 x 200 pixels.*got 100 x 100"):
        fitted(half_plane(), 200, 300, "mask.png")


@pytest.mark.parametrize(("text", "width"), [("20", (20, False)), ("20px", (20, False)), ("2.5%", (2.5, True))])
def test_widths_are_read(text: str, width: tuple[float, bool]) -> None:
    assert parse_width(text) == Width(*width)


@pytest.mark.parametrize("text", ["", "wide", "-3", "2.5", "101%", "1e3", "nan%"])
def test_other_widths_are_refused(text: str) -> None:
    with pytest.raises(UserError, match="width: expected"):
        parse_width(text)


@pytest.mark.skipif(not TRUTHS.is_dir(), reason="needs the photographs with measured alpha")
def test_the_bands_of_photographs_hold_their_soft_pixels() -> None:
    shares: dict[Width, list[float]] = {DEFAULT_WIDTH: [], Width(5, percent=True): []}
    for path in sorted(TRUTHS.glob("*.png")):
        alpha = read_alpha(path)
        soft = (alpha > 25) & (alpha < 230)
        for width, covered in shares.items():
            trimap = trimap_from_mask(np.where(alpha >= 128, 255, 0).astype(np.uint8), width)
            covered.append(float((trimap[soft] == 128).mean()))
    usual, wide = shares.values()
    assert len(usual) == 7
    assert np.mean(usual) > 0.955 and min(usual) > 0.84
    assert min(wide) > 0.95
