"""Chances and ranges in configurations."""

import numpy as np
import pytest

from cheapmatting.data.chance import check_range, happens


def test_things_happen_by_their_chance():
    rng = np.random.default_rng(0)
    assert abs(np.mean([happens(rng, 0.3) for _ in range(4000)]) - 0.3) < 0.03
    assert all(happens(rng, 1.0) for _ in range(50)) and not any(happens(rng, 0.0) for _ in range(50))


def test_what_is_switched_off_draws_no_number():
    rng, other = np.random.default_rng(1), np.random.default_rng(1)
    happens(rng, 0.0)
    assert rng.random() == other.random()
    happens(rng, 0.5)
    assert rng.random() != other.random()


def test_ranges_have_low_before_high_within_their_limits():
    check_range((1, 1), 1, 5)
    for found in ((2, 1), (0, 3), (1, 6)):
        with pytest.raises(ValueError, match=r"a range \[low, high\] within 1 and 5, not"):
            check_range(found, 1, 5)
