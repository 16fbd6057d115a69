"""Backgrounds from photographs."""

import numpy as np
import pytest

from cheapmatting.data.photos import PhotoBackgrounds
from cheapmatting.images import write_image


def test_photographs_smaller_than_the_sample_are_enlarged(tmp_path):
    write_image(tmp_path / "tiny.png", np.full((5, 9, 3), 51, np.uint8))
    crop = PhotoBackgrounds(tmp_path)(32, np.random.default_rng(0))
    assert crop.shape == (32, 32, 3)
    np.testing.assert_allclose(crop, 0.2, atol=1e-6)


@pytest.fixture
def ramps(tmp_path):
    """A photograph of 200 x 120 pixels: red is the column, green the row, in levels."""
    rows, columns = np.mgrid[:120, :200].astype(np.uint8)
    write_image(tmp_path / "ramp.png", np.dstack([columns, rows, 0 * rows]))
    return PhotoBackgrounds(tmp_path)


def test_crops_show_half_to_all_of_the_shorter_side_upright_or_mirrored(ramps):
    heights, mirrored = [], []
    for seed in range(60):
        crop = ramps(32, np.random.default_rng(seed)) * 255
        down, across = np.diff(crop[..., 1], axis=0), np.diff(crop[..., 0], axis=1)
        assert (down > 0).all() and ((across > 0).all() or (across < 0).all())
        np.testing.assert_allclose(np.abs(across).mean(), down.mean(), rtol=0.02)  # square
        heights.append(down.mean() * 32)
        mirrored.append(across.mean() < 0)
    assert min(heights) >= 58 and max(heights) <= 121 and max(heights) - min(heights) > 40
    assert 0.3 < np.mean(mirrored) < 0.7


def test_a_crop_is_a_function_of_the_random_generator(ramps):
    first, again, other = (ramps(32, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
