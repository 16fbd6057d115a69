"""Matting metrics: values worked out by hand, invariants, and a slow literal reading of the definitions."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from atldas.common.errors import UserError
from cheapmatting.evaluation.metrics import (
    METRICS,
    connectivity_error,
    gradient_amplitude,
    gradient_error,
    gradient_kernels,
    mse,
    sad,
)

Levels = npt.NDArray[np.uint8]
Numbers = npt.NDArray[np.float64]


def levels(rows: list[list[int]]) -> Levels:
    return np.array(rows, np.uint8)


def unknown_at(like: npt.NDArray[Any], *pixels: tuple[int, int]) -> Levels:
    """A trimap of background with these pixels unknown."""
    trimap = np.zeros(like.shape, np.uint8)
    for pixel in pixels:
        trimap[pixel] = 128
    return trimap


# --- SAD and MSE ---

P = levels([[0, 51], [102, 255]])
G = levels([[0, 0], [204, 0]])
SOME_KNOWN = levels([[128, 128], [128, 255]])  # the pixel that is wrong by 255 is known


def test_sad_sums_the_unknown_pixels_in_thousands() -> None:
    # |0 - 0| + |51 - 0| + |102 - 204| = 153; 153 / 255 = 0.6; / 1000
    assert sad(P, G, SOME_KNOWN) == pytest.approx(0.6 / 1000, rel=1e-12)


def test_mse_is_the_mean_over_the_unknown_pixels() -> None:
    # (0^2 + 0.2^2 + 0.4^2) / 3 = 0.2 / 3: by the 3 unknown pixels, not by all 4
    assert mse(P, G, SOME_KNOWN) == pytest.approx(0.2 / 3, rel=1e-12)


# --- Connectivity ---

# In all the examples phi(x) = 1 - d where d = x - l >= 0.15, else 1.


def test_conn_153_reaches_the_threshold_of_six_tenths() -> None:
    # B = (0, 1): p = 153 = 0.6, g = 1; A = (0, 0) is 1 in both. They are one component up to 0.6, so l(B) =
    # 0.6: d_p = 0, phi_p = 1; d_g = 0.4, phi_g = 0.6; error 0.4. In double precision B would drop out at
    # 0.6000000000000001 already, so l(B) = 0.5: d_p = 0.1, phi_p = 1; d_g = 0.5, phi_g = 0.5; error 0.5.
    p, g = levels([[255, 153]]), levels([[255, 255]])
    assert connectivity_error(p, g, unknown_at(p, (0, 1))) == pytest.approx(0.4 / 1000, rel=1e-9)


def test_conn_background_is_never_a_component() -> None:
    # A 5x5 picture with a main body of one pixel F = (2, 2) and its neighbour N = (2, 3), which has p = 1,
    # g = 127 = 0.498. Omega is {F, N} up to 0.4 and {F} above, so l(N) = 0.4:
    # d_p = 0.6, phi_p = 0.4; d_g = 0.098 < 0.15, phi_g = 1; error 0.6.
    # If the 23 pixels of background counted as a component they would win at 0.1, so l(N) = 0:
    # phi_p = 0, phi_g = 1 - 127 / 255 = 0.502; error 0.502.
    p, g = np.zeros((5, 5), np.uint8), np.zeros((5, 5), np.uint8)
    p[2, 2] = g[2, 2] = p[2, 3] = 255
    g[2, 3] = 127
    assert connectivity_error(p, g, unknown_at(p, (2, 3))) == pytest.approx(0.6 / 1000, rel=1e-9)


def test_conn_nothing_found_leaves_omega_empty() -> None:
    # No pixel is above 0 in both: every Omega is empty, l = 0 everywhere.
    # Each pixel: one of d is 1 (phi 0), the other 0 (phi 1); error 1 + 1.
    # Background as Omega would give l = 1, d = 0 or -1, phi = 1 everywhere and no error at all.
    p, g = levels([[255, 0]]), levels([[0, 255]])
    assert connectivity_error(p, g, np.full_like(p, 128)) == pytest.approx(2 / 1000, rel=1e-9)


def test_conn_diagonal_neighbours_are_not_connected() -> None:
    # Main body (0, 0), (0, 1); N = (1, 2) touches it only by a corner: p = 1, g = 127.
    # N alone is the smaller component, so l(N) = 0: phi_p = 0, phi_g = 1 - 127 / 255 = 128 / 255.
    # 8-connected, l(N) would be 0.4 and the error 0.6.
    p = levels([[255, 255, 0], [0, 0, 255]])
    g = levels([[255, 255, 0], [0, 0, 127]])
    assert connectivity_error(p, g, unknown_at(p, (1, 2))) == pytest.approx(128 / 255 / 1000, rel=1e-9)


def test_conn_of_equal_components_the_first_down_the_columns_is_taken() -> None:
    # (1, 0) and (0, 1) are components of one pixel each. Column by column (1, 0) comes first: it is Omega up
    # to 0.4, phi_p = 0.4, phi_g = 1; and (0, 1) has l = 0, phi_p = 0, phi_g = 128 / 255. Row by row, the
    # reverse.
    p, g = levels([[0, 255], [255, 0]]), levels([[0, 127], [127, 0]])
    assert connectivity_error(p, g, unknown_at(p, (0, 1))) == pytest.approx(128 / 255 / 1000, rel=1e-9)
    assert connectivity_error(p, g, unknown_at(p, (1, 0))) == pytest.approx(0.6 / 1000, rel=1e-9)


# --- Gradient ---

# The filter of sigma 1.4 on paper, e_k = exp(-k^2 / 3.92):
# e_0 ... e_4:      1, 0.774837, 0.360448, 0.100669, 0.016880
# sum of e:         1 + 2 (0.774837 + 0.360448 + 0.100669 + 0.016880)       = 3.505668
# its L2 norm:      sqrt(1 + 2 (0.600373 + 0.129923 + 0.010134 + 0.000285)) = sqrt(2.481430) = 1.575255
# one side of k e_k: 0.774837 + 0.720896 + 0.302007 + 0.067520              = 1.865259
# its L2 norm:      sqrt(2 (0.600373 + 0.519690 + 0.091206 + 0.004559))     = sqrt(2.431661) = 1.559378
# A vertical step from 0 to 1 gives on both sides of it 3.505668 / 1.575255 * 1.865259 / 1.559378 = 2.661997.
STEP = 2.661997


def test_half_size_of_the_filter() -> None:
    # sqrt(2 pi) * 1.4 * 0.01 = 0.035093; ln of it -3.349760; sqrt(2 * 3.349760) = 2.588343; * 1.4 = 3.623680:
    # four pixels, nine taps
    smoothing, derivative = gradient_kernels()
    assert len(smoothing) == len(derivative) == 9
    assert np.linalg.norm(np.outer(smoothing, derivative)) == pytest.approx(1, rel=1e-12)
    assert smoothing[4] == pytest.approx(1 / 1.575255, rel=1e-6)
    assert abs(derivative[3]) == pytest.approx(0.774837 / 1.559378, rel=1e-5)


def test_grad_of_a_step_with_replicated_borders() -> None:
    # One row of two pixels, 0 and 1: replicated, it is an endless step, so both pixels have the amplitude
    # STEP and the sum of squares is 2 * 7.086226. Zeros or reflection outside would give other values: the
    # filter is larger than the picture.
    p, g = levels([[0, 255]]), levels([[0, 0]])
    everything = np.full_like(p, 128)
    assert gradient_error(p, g, everything) == pytest.approx(2 * STEP**2 / 1000, rel=1e-5)
    # h_y is h_x transposed
    assert gradient_error(p.T, g.T, everything.T) == pytest.approx(2 * STEP**2 / 1000, rel=1e-5)


def test_grad_sees_four_pixels_far_and_not_five() -> None:
    # U is the first pixel. A step four pixels on meets only the outermost tap: 3.505668 / 1.575255 * 0.067520
    # / 1.559378 = 0.096360. A step five pixels on meets none.
    for start, amplitude in ((4, 0.096360), (5, 0.0)):
        p = np.zeros((1, 20), np.uint8)
        p[:, start:] = 255
        error = gradient_error(p, np.zeros_like(p), unknown_at(p, (0, 0)))
        assert error == pytest.approx(amplitude**2 / 1000, rel=1e-4, abs=1e-20)


def test_grad_stretches_over_the_full_picture() -> None:
    # 0 in the first column, 102 up to column 20, 255 beyond: stretched over the whole row the step at the
    # unknown first column stays 0.4 high; stretched over what the filter sees, it would be 1.
    p = np.full((1, 30), 102, np.uint8)
    p[:, 0], p[:, 21:] = 0, 255
    error = gradient_error(p, np.zeros_like(p), unknown_at(p, (0, 0)))
    assert error == pytest.approx((0.4 * STEP) ** 2 / 1000, rel=1e-5)


def test_grad_stretches_each_alpha_by_its_own_range() -> None:
    p, g = levels([[10, 61]]), levels([[0, 255]])  # both are 0 and 1 once stretched
    assert gradient_error(p, g, np.full_like(p, 128)) == 0.0


@pytest.mark.parametrize("value", [0, 77, 255])
def test_grad_of_a_picture_of_one_value_is_nothing(value: int) -> None:
    p = np.full((3, 4), value, np.uint8)
    assert gradient_error(p, np.zeros_like(p), np.full_like(p, 128)) == 0.0


# --- All of them ---


@pytest.mark.parametrize("name", METRICS)
def test_nothing_unknown_is_no_error(name: str) -> None:
    assert METRICS[name](P, G, levels([[0, 0], [255, 255]])) == 0.0


def test_floats_are_rounded_to_what_is_saved() -> None:
    unknown = levels([[128, 128, 128]])
    truth = np.zeros((1, 3), np.uint8)
    # 0.5 * 255 = 127.5 -> 128 (halves go up); 0.7 / 255 -> 1, where truncation gives 0; 0.4 / 255 -> 0
    alpha = np.array([[0.5, 0.7 / 255, 0.4 / 255]])
    assert sad(alpha, truth, unknown) == pytest.approx(129 / 255 / 1000, rel=1e-12)
    assert sad(alpha.astype(np.float32), truth, unknown) == sad(alpha, truth, unknown)


ALPHA = np.zeros((2, 3), np.float32)
TRIMAP = np.full((2, 3), 128, np.uint8)
BAD_TRIMAP = np.arange(6, dtype=np.uint8).reshape(2, 3)


@pytest.mark.parametrize(
    ("alpha", "truth", "trimap", "words"),
    [
        (ALPHA + 1.5, ALPHA, TRIMAP, r"alpha: expected floating values in 0\.\.1, got 1\.5\.\.1\.5; clip it"),
        (ALPHA, ALPHA - 1, TRIMAP, r"truth: expected floating values in 0\.\.1, got -1\.\.-1"),
        (ALPHA + 255, ALPHA, TRIMAP, "divide by 255, or pass uint8"),
        (ALPHA * np.nan, ALPHA, TRIMAP, r"alpha: expected floating values in 0\.\.1, got NaN"),
        (ALPHA.astype(np.int64), ALPHA, TRIMAP, "alpha: expected uint8 or floating in 0..1, got int64"),
        (ALPHA.astype(np.bool_), ALPHA, TRIMAP, "alpha: expected uint8 or floating in 0..1, got bool"),
        (ALPHA, ALPHA[:, :2], TRIMAP, "expected one size for all three, got alpha 2x3, truth 2x2, trimap 2x3"),
        (ALPHA, ALPHA, TRIMAP.T, "trimap 3x2"),
        (ALPHA[None], ALPHA, TRIMAP, r"alpha: expected \[H, W\] with at least one pixel, got shape \(1, 2, 3\)"),
        (ALPHA[:0], ALPHA, TRIMAP, "at least one pixel"),
        ([[0.5]], ALPHA, TRIMAP, r"alpha: expected a numpy array \[H, W\], got list"),
        (ALPHA, ALPHA, TRIMAP - np.uint8(1), "trimap: expected 0 background, 128 unknown and 255 foreground, got 127"),
        (ALPHA, ALPHA, BAD_TRIMAP, "255 foreground, got 1, 2, 3, 4, 5"),
        (ALPHA, ALPHA, TRIMAP / np.float32(255), "trimap: expected uint8 with 0, 128 and 255, got float32"),
    ],
)
@pytest.mark.parametrize("name", METRICS)
def test_faults_are_named(name: str, alpha: Any, truth: Any, trimap: Any, words: str) -> None:
    with pytest.raises(UserError, match=words):
        METRICS[name](alpha, truth, trimap)


def test_the_callers_arrays_are_left_alone() -> None:
    arrays = [P.copy(), G.copy(), SOME_KNOWN.copy()]
    for array in arrays:
        array.setflags(write=False)
    for metric in METRICS.values():
        metric(*arrays)


# Few distinct levels, so that components, ties and the level 153 turn up often.
LEVELS = st.sampled_from([0, 0, 26, 51, 102, 127, 128, 153, 153, 204, 230, 255, 255])


@st.composite
def triples(draw: st.DrawFn) -> tuple[Levels, Levels, Levels]:
    shape = draw(hnp.array_shapes(min_dims=2, max_dims=2, max_side=9))
    alphas = [draw(hnp.arrays(np.uint8, shape, elements=LEVELS, fill=st.nothing())) for _ in range(2)]
    trimap = draw(hnp.arrays(np.uint8, shape, elements=st.sampled_from([0, 128, 255]), fill=st.nothing()))
    return alphas[0], alphas[1], trimap


@settings(max_examples=40, deadline=None)
@given(triples())
def test_identity_symmetry_and_the_two_number_formats(triple: tuple[Levels, Levels, Levels]) -> None:
    p, g, trimap = triple
    for metric in METRICS.values():
        assert metric(p, p, trimap) == 0
        value = metric(p, g, trimap)
        assert value >= 0
        assert metric(g, p, trimap) == pytest.approx(value, rel=1e-12, abs=1e-15)
        assert metric(p.astype(np.float32) / 255, g / 255, trimap) == value


@settings(max_examples=20, deadline=None)
@given(triples())
def test_sad_and_mse_scale(triple: tuple[Levels, Levels, Levels]) -> None:
    p, g, trimap = triple
    # Half the difference: half the SAD and a quarter of the MSE. The levels are made even, for exactness.
    p, g = p // 2 * 2, g // 2 * 2
    middle = ((p.astype(np.int64) + g) // 2).astype(np.uint8)
    assert sad(middle, g, trimap) == pytest.approx(sad(p, g, trimap) / 2, abs=1e-12)
    assert mse(middle, g, trimap) == pytest.approx(mse(p, g, trimap) / 4, abs=1e-12)
    # The picture twice over: twice the sum, the same mean.
    twice = [np.tile(image, (1, 2)) for image in (p, g, trimap)]
    assert sad(*twice) == pytest.approx(2 * sad(p, g, trimap), abs=1e-12)
    assert mse(*twice) == pytest.approx(mse(p, g, trimap), abs=1e-12)


# --- The definitions read literally, pixel by pixel ---


def literal_largest_component(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Flood fills from each unvisited pixel, down the columns; the first of the largest."""
    height, width = mask.shape
    visited = np.zeros_like(mask)
    largest: list[tuple[int, int]] = []
    for x in range(width):
        for y in range(height):
            if not mask[y, x] or visited[y, x]:
                continue
            visited[y, x] = True
            component = [(y, x)]
            for v, u in component:  # grows while it is walked
                for near in ((v - 1, u), (v + 1, u), (v, u - 1), (v, u + 1)):
                    if 0 <= near[0] < height and 0 <= near[1] < width and mask[near] and not visited[near]:
                        visited[near] = True
                        component.append(near)
            if len(component) > len(largest):
                largest = component
    omega = np.zeros_like(mask)
    for pixel in largest:
        omega[pixel] = True
    return omega


def literal_connectivity_error(p: Levels, g: Levels, trimap: Levels) -> float:
    x_p, x_g = p.astype(np.float32) / np.float32(255), g.astype(np.float32) / np.float32(255)
    thresholds = [np.float32(i / 10) for i in range(11)]
    label = np.full(p.shape, -1, np.float32)
    for previous, threshold in itertools.pairwise(thresholds):
        omega = literal_largest_component((x_p >= threshold) & (x_g >= threshold))
        label[(label == -1) & ~omega] = previous
    label[label == -1] = 1
    phi = [1 - (x - label) * ((x - label) >= 0.15) for x in (x_p, x_g)]
    return float(np.abs(phi[0] - phi[1])[trimap == 128].sum(dtype=np.float64)) / 1000


def literal_amplitude(image: Numbers) -> Numbers:
    """True convolution, with the filter as the definition gives it, one product at a time."""

    def gauss(x: int) -> float:
        return math.exp(-(x**2) / (2 * 1.4**2)) / (1.4 * math.sqrt(2 * math.pi))

    h_x = np.array([[gauss(i) * (-j * gauss(j) / 1.4**2) for j in range(-4, 5)] for i in range(-4, 5)])
    h_x /= math.sqrt((h_x**2).sum())
    height, width = image.shape
    amplitude = np.zeros_like(image)
    for y in range(height):
        for x in range(width):
            g_x = g_y = 0.0
            for i in range(-4, 5):
                for j in range(-4, 5):
                    value = image[min(max(y - i, 0), height - 1), min(max(x - j, 0), width - 1)]
                    g_x += h_x[i + 4, j + 4] * value
                    g_y += h_x[j + 4, i + 4] * value
            amplitude[y, x] = math.sqrt(g_x**2 + g_y**2)
    return amplitude


def literal_gradient_error(p: Levels, g: Levels, trimap: Levels) -> float:
    amplitudes = []
    for image in (p.astype(np.float64), g.astype(np.float64)):
        span = image.max() - image.min()
        amplitudes.append(literal_amplitude((image - image.min()) / span if span else image))
    return float(((amplitudes[0] - amplitudes[1]) ** 2)[trimap == 128].sum()) / 1000


@settings(max_examples=100, deadline=None)
@given(triples())
def test_connectivity_agrees_with_the_literal_reading(triple: tuple[Levels, Levels, Levels]) -> None:
    # The literal one computes in single precision.
    assert connectivity_error(*triple) == pytest.approx(literal_connectivity_error(*triple), abs=1e-8)


@settings(max_examples=10, deadline=None)
@given(triples())
def test_gradient_agrees_with_the_literal_reading(triple: tuple[Levels, Levels, Levels]) -> None:
    assert gradient_error(*triple) == pytest.approx(literal_gradient_error(*triple), rel=1e-9, abs=1e-15)


def test_both_agree_with_the_literal_reading_on_a_larger_picture() -> None:
    rng = np.random.default_rng(0)
    p, g = (rng.integers(0, 256, (40, 50), dtype=np.uint8) for _ in range(2))
    trimap = rng.choice(np.array([0, 128, 255], np.uint8), p.shape)
    literal = literal_connectivity_error(p, g, trimap)
    assert connectivity_error(p, g, trimap) == pytest.approx(literal, rel=1e-6)
    assert gradient_error(p, g, trimap) == pytest.approx(literal_gradient_error(p, g, trimap), rel=1e-9)
    # A true convolution and OpenCV's correlation have the same amplitude.
    np.testing.assert_allclose(gradient_amplitude(p / 255), literal_amplitude(p / 255), rtol=1e-9, atol=1e-12)
