"""Random fields, colours and outlines."""

import numpy as np
import pytest

from cheapmatting.drawing.textures import (
    billows,
    blob,
    grid,
    mixed,
    noise,
    placement,
    ramp,
    random_colour,
    rotated,
    smooth_field,
    smoothstep,
    stretched,
    varied,
    warped,
)


@pytest.mark.parametrize("make", [noise, billows, ramp])
def test_fields_span_0_to_1_and_are_seeded(make):
    first, again, other = (make(65, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first.shape == (65, 65) and first.dtype == np.float32
    assert first.min() == 0 and first.max() == pytest.approx(1, abs=1e-6)
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).mean() > 0.02


def test_smooth_fields_vary_over_their_cells():
    coarse, fine = (smooth_field(128, np.random.default_rng(0), cells) for cells in (3, 30))
    assert np.abs(np.diff(fine, axis=0)).mean() > 4 * np.abs(np.diff(coarse, axis=0)).mean()
    assert smooth_field(64, np.random.default_rng(0), 4, 2).shape == (64, 64, 2)


def test_steps_stretches_and_mixtures_by_hand():
    field = np.float32([0, 0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose(smoothstep(field, 0.25, 0.75), [0, 0, 0.5, 1, 1])
    np.testing.assert_allclose(stretched(2 * field + 3), field, atol=1e-6)
    np.testing.assert_array_equal(stretched(np.ones((2, 2), np.float32)), 0)
    np.testing.assert_allclose(mixed(np.float32([0, 0, 0]), np.float32([1, 2, 4]), field)[1], [0.25, 0.5, 1])


def test_grids_are_the_middles_of_pixels():
    ys, xs = grid(4)
    np.testing.assert_allclose(xs[2], [0.125, 0.375, 0.625, 0.875])
    np.testing.assert_array_equal(ys, xs.T)


def test_warps_move_a_field_no_further_than_they_say():
    rng = np.random.default_rng(0)
    _, xs = grid(128)
    np.testing.assert_allclose(warped(xs, rng, 4, 0.0), xs, atol=1e-5)
    moved = warped(xs, rng, 4, 0.1)
    assert 0.005 < np.abs(moved - xs)[:, 16:-16].max() < 0.08


def test_colours_are_within_their_saturation_and_value():
    for seed in range(30):
        colour = random_colour(np.random.default_rng(seed), (0.2, 0.4), (0.5, 0.6))
        assert 0.49 < colour.max() < 0.61 and 0.19 < 1 - colour.min() / colour.max() < 0.41
    relatives = varied(np.float32([0.5, 0.4, 0.3]), np.random.default_rng(0), 200, 0.3, 0.0)
    ratios = relatives / np.float32([0.5, 0.4, 0.3])
    np.testing.assert_allclose(ratios[:, 0], ratios[:, 2], atol=1e-5)  # without hue all channels alike
    assert 0.7 <= ratios.min() < 0.75 and 1.25 < ratios.max() <= 1.3


def test_outlines_and_turns_by_hand():
    np.testing.assert_allclose(np.linalg.norm(blob(np.random.default_rng(0), 0), axis=1), 1, atol=1e-6)
    rough = np.linalg.norm(blob(np.random.default_rng(0), 0.5), axis=1)
    assert rough.min() >= 0.25 and rough.std() > 0.02
    np.testing.assert_allclose(rotated(np.float32([1, 0]), np.pi / 2), [0, 1], atol=1e-6)  # clockwise, y down
    place = placement(np.random.default_rng(0), np.pi / 2, 0.0)
    np.testing.assert_allclose(place(np.float32([[0, 0], [0.2, 0]])), [[0.5, 0.5], [0.5, 0.7]], atol=1e-6)
    pulled = placement(np.random.default_rng(0), 0.0, 0.05)(np.float32([[0, 0], [0.2, 0]]))
    assert 0 < np.abs(pulled - [[0.5, 0.5], [0.7, 0.5]]).max() < 4 * 0.05
