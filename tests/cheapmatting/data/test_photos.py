"""Backgrounds from photographs."""

import numpy as np

from cheapmatting.data.photos import PhotoBackgrounds
from cheapmatting.images import write_image


def test_photographs_smaller_than_the_sample_are_enlarged(tmp_path):
    write_image(tmp_path / "tiny.png", np.full((5, 9, 3), 51, np.uint8))
    crop = PhotoBackgrounds(tmp_path)(32, np.random.default_rng(0))
    assert crop.shape == (32, 32, 3)
    np.testing.assert_allclose(crop, 0.2, atol=1e-6)
