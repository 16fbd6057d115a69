"""Schedules as functions of the step."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atldas.common.schedule import linear, warm_up_cosine


def test_linear() -> None:
    assert [linear(step, 2, 6, 5.0, 1.0) for step in range(9)] == [5, 5, 5, 4, 3, 2, 1, 1, 1]
    assert linear(3, 0, 10, 1.0, 0.0) == pytest.approx(0.7)


def test_linear_that_never_begins() -> None:
    assert [linear(step, 5, 5, 2.0, 1.0) for step in (4, 5, 6)] == [2, 2, 1]
    assert linear(4, 9, 5, 2.0, 1.0) == 2


def test_cosine_without_warm_up() -> None:
    assert warm_up_cosine(0, 11, 1.0, 0.2) == 1.0
    assert warm_up_cosine(5, 11, 1.0, 0.2) == pytest.approx(0.6)
    assert warm_up_cosine(10, 11, 1.0, 0.2) == pytest.approx(0.2)
    assert warm_up_cosine(99, 11, 1.0, 0.2) == pytest.approx(0.2)
    quarter = 0.2 + 0.8 * 0.5 * (1 + math.cos(math.pi / 5))
    assert warm_up_cosine(2, 11, 1.0, 0.2) == pytest.approx(quarter)


def test_warm_up_rises_straight_to_the_peak() -> None:
    rates = [warm_up_cosine(step, 20, 1.0, 0.0, warm_up=4) for step in range(20)]
    assert rates[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert rates[4:] == sorted(rates[4:], reverse=True) and rates[-1] == pytest.approx(0, abs=1e-12)


@given(st.integers(0, 50), st.integers(1, 50), st.integers(0, 60))
def test_stays_between_its_ends(step: int, steps: int, warm_up: int) -> None:
    assert 0.1 - 1e-9 <= warm_up_cosine(step, steps, 2.0, 0.1) <= 2.0
    assert 0.0 < warm_up_cosine(step, steps, 2.0, 0.1, warm_up) <= 2.0
    assert 1.0 <= linear(step, warm_up, steps, 5.0, 1.0) <= 5.0
