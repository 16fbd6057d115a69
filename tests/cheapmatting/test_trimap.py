"""Trimaps: made, read, encoded."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from atldas.common.errors import UserError
from cheapmatting.images import write_image
from cheapmatting.trimap import encode_trimap, known_pixels_kept, make_trimap, read_trimap

# Mostly exact 0 and 1, so that something survives erosion, with values to either side of the tolerance.
ALPHAS = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=24),
    elements=st.sampled_from(np.float32([0, 0, 0, 1, 1, 1, 1 / 255, 2 / 255, 0.5, 253 / 255, 254 / 255])),
    fill=st.sampled_from(np.float32([0, 1])),
)
RADII = st.integers(0, 6)


def disc(radius: int) -> np.ndarray:
    ys, xs = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    return (xs**2 + ys**2 <= radius**2).astype(np.uint8)


@settings(max_examples=60, deadline=None)
@given(alpha=ALPHAS, outer=RADII, inner=RADII)
def test_trimap_is_erosion_by_a_disc(alpha, outer, inner):
    trimap = make_trimap(alpha, outer, inner)
    levels = np.rint(alpha * 255)
    for value, mask, radius in ((255, levels >= 254, inner), (0, levels <= 1, outer)):
        eroded = cv2.erode(mask.astype(np.uint8), disc(radius))
        np.testing.assert_array_equal(trimap == value, eroded > 0)
    assert set(np.unique(trimap)) <= {0, 128, 255}


@settings(max_examples=40, deadline=None)
@given(alpha=ALPHAS, outer=st.integers(0, 29), inner=st.integers(0, 29))
def test_no_known_pixel_is_wrong(alpha, outer, inner):
    trimap = make_trimap(alpha, outer, inner)
    assert np.all(alpha[trimap == 255] > 253.5 / 255)
    assert np.all(alpha[trimap == 0] < 1.5 / 255)
    kept = known_pixels_kept(alpha, trimap)
    assert kept.dtype == np.float32
    assert np.abs(kept - alpha).max() <= 1 / 255 + 1e-6
    np.testing.assert_array_equal(kept[trimap == 128], alpha[trimap == 128])


def test_radius_counts_pixels_from_the_edge():
    alpha = np.zeros((1, 20), np.float32)
    alpha[:, 10:] = 1
    assert make_trimap(alpha, 0, 0).tolist() == [[0] * 10 + [255] * 10]
    assert make_trimap(alpha, 3, 2).tolist() == [[0] * 7 + [128] * 5 + [255] * 8]


def test_radii_may_differ_from_pixel_to_pixel():
    alpha = np.zeros((2, 20), np.float32)
    alpha[:, 10:] = 1
    outer = np.repeat(np.float32([[3], [0]]), 20, axis=1)
    assert make_trimap(alpha, outer, 0)[0].tolist() == [0] * 7 + [128] * 3 + [255] * 10
    assert make_trimap(alpha, outer, 0)[1].tolist() == [0] * 10 + [255] * 10
    with pytest.raises(ValueError, match="0 or more"):
        make_trimap(alpha, outer - 1, 0)


@pytest.mark.parametrize("towards", [0, 1000])
def test_the_last_bits_of_a_distance_decide_nothing(monkeypatch, towards):
    """With Intel's IPP, OpenCV's distances differ in them from call to call."""
    alpha = (np.random.default_rng(0).random((64, 64)) > 0.02).astype(np.float32)
    expected = {radius: make_trimap(alpha, radius, radius) for radius in (1, 2, 5, 5**0.5)}
    exact = cv2.distanceTransform
    monkeypatch.setattr(
        "cheapmatting.trimap.cv2.distanceTransform", lambda *asked: np.nextafter(exact(*asked), np.float32(towards))
    )
    for radius, trimap in expected.items():
        np.testing.assert_array_equal(make_trimap(alpha, radius, radius), trimap)


def test_negative_radius_is_refused():
    with pytest.raises(ValueError, match="0 or more, got outer -1"):
        make_trimap(np.zeros((2, 2), np.float32), -1, 0)


def test_one_hot_in_the_order_background_unknown_foreground():
    planes = encode_trimap(np.array([[0, 128, 255, 128]], np.uint8))
    assert planes.dtype == np.float32
    assert planes[:, 0].tolist() == [[1, 0, 0, 0], [0, 1, 0, 1], [0, 0, 1, 0]]
    np.testing.assert_array_equal(planes.sum(axis=0), 1)


def test_known_pixels_become_exact():
    alpha = np.float32([[0.2, 0.3, 0.4]])
    kept = known_pixels_kept(alpha, np.array([[0, 128, 255]], np.uint8))
    assert kept.tolist() == [[0, np.float32(0.3), 1]]


def test_read_trimap_mends_small_deviations(tmp_path):
    write_image(tmp_path / "t.png", np.array([[0, 3, 127, 128, 130, 250, 255]], np.uint8))
    assert read_trimap(tmp_path / "t.png").tolist() == [[0, 0, 128, 128, 128, 255, 255]]


def test_read_trimap_takes_colour_files_of_grey_pixels(tmp_path):
    grey = np.array([[0, 128, 255]], np.uint8)
    write_image(tmp_path / "t.png", np.dstack([grey] * 3))
    assert read_trimap(tmp_path / "t.png").tolist() == grey.tolist()


def test_read_trimap_names_what_it_found(tmp_path):
    write_image(tmp_path / "t.png", np.array([[0, *[64] * 10, *[200] * 8, 100]], np.uint8))
    with pytest.raises(
        UserError, match=r"t\.png: expected a trimap .*, got other levels in 95\.0% of the pixels .most: 64, 200, 100.$"
    ):
        read_trimap(tmp_path / "t.png")
    with pytest.raises(UserError, match=r"none\.png: cannot be read"):
        read_trimap(tmp_path / "none.png")
