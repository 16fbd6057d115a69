"""Wide bands of unknown: what half the size settles, what it leaves alone, and whether that helps."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atldas.common.errors import UserError
from cheapmatting.arrays import Bytes, Floats
from cheapmatting.drawing.backgrounds import procedural_background
from cheapmatting.drawing.foregrounds import FOREGROUNDS
from cheapmatting.evaluation.metrics import sad
from cheapmatting.inference import scales
from cheapmatting.inference.matte import Matter
from cheapmatting.trimap import LEVELS, UNKNOWN, make_trimap

SIZE = 512


def band(width: int, size: int = 512) -> Bytes:
    """Background left of a band of unknown, foreground right of it."""
    trimap = np.full((size, size), 255, np.uint8)
    trimap[:, :100] = 0
    trimap[:, 100 : 100 + width] = UNKNOWN
    return trimap


def test_a_band_is_too_wide_from_twice_the_depth_on() -> None:
    assert not scales.too_wide(band(2 * scales.DEEP))
    assert scales.too_wide(band(2 * scales.DEEP + 1))


def test_small_pictures_are_never_halved() -> None:
    assert not scales.too_wide(band(400, 511))
    assert scales.too_wide(band(400, 512))


@pytest.mark.parametrize("shape", [(64, 48), (65, 47), (1, 1)])
def test_halves_have_half_the_size_and_no_new_levels(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (*shape, 3), np.uint8)
    smaller, trimap = scales.halved(image, rng.choice(LEVELS.ravel().astype(np.uint8), shape))
    assert smaller.shape == (*trimap.shape, 3) == ((shape[0] + 1) // 2, (shape[1] + 1) // 2, 3)
    assert set(np.unique(trimap)) <= {0, 128, 255}


def test_what_is_settled_is_clear_and_far_from_what_is_known() -> None:
    """The band is foreground at half the size, but for a grey line in its middle."""
    coarse = np.ones((256, 256), np.float32)
    coarse[:, 100:102] = 0.5  # columns 200 to 203
    margin = 2 * scales.MARGIN
    settled = scales.narrowed(band(200), coarse)
    changed = np.flatnonzero((settled != band(200)).any(0))
    left = np.arange(100 + scales.DEEP, 200 - margin)
    right = np.arange(204 + margin, 300 - scales.DEEP)
    np.testing.assert_array_equal(changed, np.concatenate([left, right]))
    assert (settled[:, changed] == 255).all()


@given(seed=st.integers(0, 2**32 - 1), level=st.floats(0, 1))
def test_known_pixels_stay_and_only_clear_ones_become_known(seed: int, level: float) -> None:
    rng = np.random.default_rng(seed)
    trimap = cv2.resize(rng.choice(np.array([0, 128, 128, 255], np.uint8), (4, 3)), (120, 160), interpolation=0)
    coarse = np.full((80, 60), level, np.float32)
    settled = scales.narrowed(trimap, coarse)
    assert (settled[trimap != UNKNOWN] == trimap[trimap != UNKNOWN]).all()
    found = set(np.unique(settled[trimap == UNKNOWN]).tolist())
    allowed = {255} if level > 1 - scales.CLEAR else {0} if level < scales.CLEAR else set()
    assert found <= allowed | {UNKNOWN}


def drawn(kind: str, seed: int) -> tuple[Bytes, Floats, Bytes]:
    """A drawn thing before a drawn background, its alpha, and a trimap with 60 pixels of unknown on either side."""
    rng = np.random.default_rng(seed)
    colours, alpha = FOREGROUNDS[kind](SIZE, rng)
    blend = alpha[..., None] * colours + (1 - alpha[..., None]) * procedural_background(SIZE, rng)
    return np.rint(255 * blend).astype(np.uint8), alpha, make_trimap(alpha, 60, 60)


def test_half_the_size_first_brings_wide_bands_nearer_to_the_truth_and_that_of_another_picture_does_not() -> None:
    """With the shipped weights, as they run; the control settles pixels by the picture upside down."""
    one, auto = (Matter(device="cpu", engine="torch", scales=way) for way in ("one", "auto"))
    errors = []
    for kind in ("sharp", "hair"):
        image, alpha, trimap = drawn(kind, 0)
        coarse = one.matte(*scales.halved(image, trimap))
        wrong = scales.narrowed(trimap, np.ascontiguousarray(coarse[::-1]))
        each = [one.matte(image, trimap), auto.matte(image, trimap), one.matte(image, wrong)]
        errors.append([sad(answer, alpha, trimap) for answer in each])
    direct, halves, control = np.mean(errors, 0)
    assert halves < 0.85 * direct
    assert control > halves


def test_narrow_bands_are_left_as_they_are() -> None:
    image, alpha, _ = drawn("sharp", 1)
    trimap = make_trimap(alpha, 10, 10)
    one, auto = (Matter(device="cpu", engine="torch", scales=way).matte(image, trimap) for way in ("one", "auto"))
    np.testing.assert_array_equal(one, auto)


def test_a_batch_of_wide_and_narrow_bands_has_the_alphas_of_single_calls() -> None:
    pairs = [drawn("sharp", seed) for seed in (1, 3)]
    trimaps = [pairs[0][2], make_trimap(pairs[1][1], 5, 5)]
    matter = Matter(device="cpu", engine="torch")
    together = matter.matte(np.stack([image for image, *_ in pairs]), np.stack(trimaps))
    for (image, *_), trimap, alpha in zip(pairs, trimaps, together, strict=True):
        np.testing.assert_allclose(alpha, matter.matte(image, trimap), atol=1e-4)


def test_another_value_is_refused() -> None:
    with pytest.raises(UserError, match=r"^scales: expected auto or one, got two$"):
        Matter(device="cpu", engine="torch", scales="two")
