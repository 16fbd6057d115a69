"""Trimaps as people have them: what each kind becomes, and what is refused."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from image_files import encoded

from atldas.common.errors import UserError
from cheapmatting.rough_trimap import DAMAGED_CUTS, SOFT_CUTS, fitted, mended


def drawn(size: int = 240) -> np.ndarray:
    """An exact trimap: discs of foreground and unknown on background."""
    y, x = np.mgrid[:size, :size] - size / 2
    radius = np.hypot(y, x)
    return np.where(radius < size / 4, 255, np.where(radius < size / 3, 128, 0)).astype(np.uint8)


def contradicts(mended_trimap: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Pixels that the mended trimap knows, and that are not that in the truth."""
    return (mended_trimap != 128) & (mended_trimap != truth)


def grey(levels: np.ndarray) -> np.ndarray:
    return levels[..., None]


def test_exact_and_nearly_exact_levels_are_silent(caplog: pytest.LogCaptureFixture) -> None:
    levels = np.array([[0, 8, 120, 127, 128, 136, 247, 255]], np.uint8)
    assert mended(grey(levels), "t").tolist() == [[0, 0, 128, 128, 128, 128, 255, 255]]
    deep = np.array([[0, 257 * 127, 257 * 128, 65535]], np.uint16)
    assert mended(grey(deep), "t").tolist() == [[0, 128, 128, 255]]
    assert mended(grey(np.float32([[0, 0.5, 1]])), "t").tolist() == [[0, 128, 255]]
    assert not caplog.records


@pytest.mark.parametrize("quality", [30, 60, 90])
def test_jpeg_damage_is_mended(quality: int, caplog: pytest.LogCaptureFixture) -> None:
    truth = drawn()
    damaged = cv2.imdecode(np.frombuffer(encoded(truth, "JPEG", quality=quality), np.uint8), cv2.IMREAD_GRAYSCALE)
    assert len(np.unique(damaged)) > 10
    trimap = mended(grey(damaged), "t.jpg")
    assert contradicts(trimap, truth).mean() < 0.002
    assert (trimap != truth).mean() < 0.02  # hardly anything that was known is lost
    assert "t.jpg: taken as a trimap with damaged edges" in caplog.text and "up to 32" in caplog.text


def test_anti_aliased_edges_are_mended(caplog: pytest.LogCaptureFixture) -> None:
    large = drawn(960)
    smooth = cv2.resize(large, (240, 240), interpolation=cv2.INTER_AREA)
    truth = large[2::4, 2::4]
    trimap = mended(grey(smooth), "t.png")
    assert contradicts(trimap, truth).mean() < 0.002 and (trimap != truth).mean() < 0.02
    assert "damaged edges" in caplog.text


def test_a_soft_mask_is_unknown_in_its_middle(caplog: pytest.LogCaptureFixture) -> None:
    alpha = np.clip(np.linspace(-1, 2, 300), 0, 1)[None].repeat(4, axis=0)
    levels = np.rint(alpha * 255).astype(np.uint8)
    trimap = mended(grey(levels), "mask.png")
    np.testing.assert_array_equal(trimap == 0, levels <= SOFT_CUTS[0])
    np.testing.assert_array_equal(trimap == 255, levels >= SOFT_CUTS[1])
    assert "mask.png: taken as a soft mask" in caplog.text
    rgba = np.dstack([np.full((4, 300, 3), 40, np.uint8), levels])
    np.testing.assert_array_equal(mended(rgba, "cutout.png"), trimap)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_labels(dtype: type, caplog: pytest.LogCaptureFixture) -> None:
    assert mended(grey(np.array([[0, 1, 2, 1]], dtype)), "t").tolist() == [[0, 128, 255, 128]]
    assert "t: taken as labels: 0 means 0, 1 means 128, 2 means 255" in caplog.text
    assert mended(grey(np.array([[0, 1, 1]], dtype)), "m").tolist() == [[0, 255, 255]]
    assert mended(np.array([[[0] * 3, [2] * 3, [1] * 3]], dtype), "rgb").tolist() == [[0, 255, 128]]
    assert mended(grey(np.zeros((2, 2), dtype)), "black").tolist() == [[0, 0], [0, 0]]


def test_colour_files_of_grey_pixels_and_others() -> None:
    truth = drawn()
    np.testing.assert_array_equal(mended(np.dstack([truth] * 3), "t"), truth)
    opaque = np.full_like(truth, 255)
    np.testing.assert_array_equal(mended(np.dstack([truth] * 3 + [opaque]), "t"), truth)
    coloured = np.dstack([truth] * 3)
    coloured[:30, :30] = (255, 0, 0)
    with pytest.raises(UserError, match=r"^t: expected a trimap with the grey levels .* got a colour image$"):
        mended(coloured, "t")


def test_a_grey_photograph_is_refused() -> None:
    photograph = np.random.default_rng(0).normal(110, 40, (60, 60)).clip(0, 255).astype(np.uint8)
    with pytest.raises(UserError, match=r"^photo: expected a trimap .* or a soft mask, got other levels in \d\d"):
        mended(grey(photograph), "photo")


@settings(max_examples=60, deadline=None)
@given(levels=hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.integers(0, 255)))
def test_levels_keep_their_order_and_their_ends(levels: np.ndarray) -> None:
    try:
        trimap = mended(grey(levels), "t")
    except UserError:
        return
    assert trimap.shape == levels.shape and set(np.unique(trimap)) <= {0, 128, 255}
    order = np.argsort(levels, axis=None)
    assert (np.diff(trimap.ravel()[order].astype(int)) >= 0).all()
    if levels.max() > 2:
        assert (trimap[levels == 0] == 0).all() and (trimap[levels == 255] == 255).all()
        assert (trimap[np.abs(levels.astype(int) - 128) < 90] == 128).all()
        assert DAMAGED_CUTS == (32, 223)


@pytest.mark.parametrize("size", [120, 77, 480, 700])
def test_another_size_of_the_same_aspect(size: int, caplog: pytest.LogCaptureFixture) -> None:
    trimap = drawn()
    fit = fitted(trimap, "t.png", size, size, "photo.png")
    assert fit.shape == (size, size) and set(np.unique(fit)) == {0, 128, 255}
    nearest = cv2.resize(trimap, (size, size), interpolation=cv2.INTER_NEAREST)
    assert contradicts(fit, nearest).mean() < 0.01  # half a pixel of the smaller image
    assert (fit != nearest).mean() < 0.08
    assert f"t.png: resized from 240 x 240 to {size} x {size}, the size of photo.png" in caplog.text


def test_thin_unknown_lines_survive_shrinking() -> None:
    trimap = np.full((100, 100), 255, np.uint8)
    trimap[:, 49] = 128
    assert (fitted(trimap, "t", 25, 25, "p") == 128).any(axis=1).all()


def test_the_same_size_is_not_touched(caplog: pytest.LogCaptureFixture) -> None:
    trimap = drawn()
    assert fitted(trimap, "t", 240, 240, "p") is trimap and not caplog.records


@pytest.mark.parametrize(("width", "height"), [(240, 235), (240, 320), (120, 240)])
def test_another_aspect_is_refused(width: int, height: int) -> None:
    with pytest.raises(UserError, match=f"^t: expected {width} x {height} pixels, as p has, got 240 x 240$"):
        fitted(drawn(), "t", width, height, "p")
