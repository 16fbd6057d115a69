"""dtSSD by hand."""

from __future__ import annotations

import numpy as np
import pytest

from atldas.common.errors import UserError
from cheapmatting.evaluation.flicker import dtssd

STILL = [np.full((4, 5), 0.5, np.float32)] * 3


def test_a_constant_error_does_not_flicker() -> None:
    assert dtssd(iter([plane + 0.2 for plane in STILL]), iter(STILL)) == pytest.approx(0, abs=1e-5)


def test_changes_count_by_their_root_mean_square() -> None:
    flickering = [plane.copy() for plane in STILL]
    flickering[1][0, 0] += 0.4  # of 20 pixels, up and down again
    assert dtssd(flickering, STILL) == pytest.approx(100 * 0.4 / np.sqrt(20), rel=1e-5)
    flickering[2][0, 0] += 0.4  # up alone: one of two pairs
    assert dtssd(flickering, STILL) == pytest.approx(50 * 0.4 / np.sqrt(20), rel=1e-5)


def test_true_motion_is_no_flicker() -> None:
    moving = [np.eye(4, k=k, dtype=np.float32) for k in range(3)]
    assert dtssd(moving, moving) == 0
    assert dtssd([moving[0]] * 3, moving) > 20


def test_videos_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UserError, match="as many alphas as truths"):
        dtssd(STILL, STILL[:2])
    with pytest.raises(UserError, match="two frames or more"):
        dtssd(STILL[:1], STILL[:1])
    with pytest.raises(UserError, match="frame 0: expected the truth's size"):
        dtssd([plane[1:] for plane in STILL], STILL)
