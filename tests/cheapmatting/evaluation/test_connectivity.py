"""Levels of connection: worked out by hand, and what holds for any two alphas."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cheapmatting.evaluation.connectivity import STEPS, connected_level, largest_component, lowest_level

Levels = npt.NDArray[np.uint8]


def levels(rows: list[list[int]]) -> Levels:
    return np.array(rows, np.uint8)


def test_thresholds_are_those_of_single_precision() -> None:
    for step in range(STEPS + 1):
        for level in range(256):
            single = np.float32(level) / np.float32(255) >= np.float32(step / 10)
            assert (level >= lowest_level(step)) == single
    sixth = np.arange(0, 1.1, 0.1)[6]  # in double precision 153, and it alone, falls on the wrong side
    assert [level for level in range(256) if (level / 255 >= sixth) != (level >= lowest_level(6))] == [153]


def test_once_out_of_omega_a_pixel_keeps_its_level() -> None:
    # X is two pixels of 128, apart from Y, one pixel of 255. Up to 0.5 Omega is X (128 >= 127.5), from 0.6 on
    # it is Y; but Y was outside at 0.1 already, so l(Y) = 0; and l(X) = 0.5.
    p = levels([[128, 128, 0, 255]])
    np.testing.assert_allclose(connected_level(p, p), [[0.5, 0.5, 0, 0]])


def test_what_is_never_left_out_gets_one() -> None:
    np.testing.assert_array_equal(connected_level(levels([[255, 254]]), levels([[255, 255]])), [[1.0, 0.9]])


def test_largest_component_of_any_memory_layout() -> None:
    mask = np.array([[1, 0, 0], [1, 0, 1], [0, 0, 0]], np.bool_)
    np.testing.assert_array_equal(largest_component(mask), [[1, 0, 0], [1, 0, 0], [0, 0, 0]])
    np.testing.assert_array_equal(largest_component(mask.T), [[1, 1, 0], [0, 0, 0], [0, 0, 0]])
    assert not largest_component(np.zeros((2, 2), np.bool_)).any()


def test_diagonal_neighbours_are_two_components() -> None:
    mask = np.array([[1, 0], [0, 1]], np.bool_)
    np.testing.assert_array_equal(largest_component(mask), [[1, 0], [0, 0]])


pairs_of_alphas = st.tuples(st.integers(1, 6), st.integers(1, 6)).flatmap(
    lambda shape: st.tuples(*(hnp.arrays(np.uint8, shape, elements=st.sampled_from([0, 25, 26, 153, 255])),) * 2)
)


@given(pairs_of_alphas)
def test_levels_are_symmetric_and_within_both_alphas(pair: tuple[Levels, Levels]) -> None:
    p, g = pair
    level = connected_level(p, g)
    np.testing.assert_array_equal(level, connected_level(g, p))
    assert set(np.unique(level)) <= {step / STEPS for step in range(STEPS + 1)}
    # A pixel is in no component of a threshold that it does not reach itself; the slack is of the doubles.
    assert (level <= np.minimum(p, g) / 255 + 1e-9).all()


@given(hnp.arrays(np.bool_, st.tuples(st.integers(1, 7), st.integers(1, 7))))
def test_the_largest_component_is_a_part_of_the_mask_that_is_as_large_mirrored(mask: npt.NDArray[np.bool_]) -> None:
    largest = largest_component(mask)
    assert (mask | ~largest).all() and largest.any() == mask.any()
    for other in (mask[::-1], mask[:, ::-1], mask.T):
        assert largest_component(np.ascontiguousarray(other)).sum() == largest.sum()
    np.testing.assert_array_equal(largest_component(largest), largest)  # it is one component itself
