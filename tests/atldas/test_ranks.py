"""Rank correlation, with ties."""

from __future__ import annotations

import numpy as np
import pytest

from atldas.ranks import rank_correlation


def test_rank_correlation() -> None:
    assert rank_correlation(np.array([1.0, 2, 3, 4]), np.array([10.0, 20, 30, 25])) == pytest.approx(0.8)
    assert rank_correlation(np.array([1.0, 2, 3]), np.array([3.0, 2, 1])) == pytest.approx(-1)
    assert rank_correlation(np.array([2.0, 2, 2]), np.array([3.0, 2, 1])) == 0
    assert rank_correlation(np.array([1.0, 1, 2]), np.array([1.0, 1, 5])) == pytest.approx(1)
