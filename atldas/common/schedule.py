"""Schedules as plain functions of the step, so that a resumed run needs no state for them."""

from __future__ import annotations

import math


def linear(step: int, first: int, last: int, start: float, end: float) -> float:
    """`start` up to step `first`, `end` from step `last` on, and linear in between."""
    if step <= first:
        return start
    return end if step >= last else start + (end - start) * (step - first) / (last - first)


def warm_up_cosine(step: int, steps: int, peak: float, end: float, warm_up: int = 0) -> float:
    """Linear up to `peak` over `warm_up` steps, then half a cosine down to `end` at the last step.

    Loshchilov and Hutter, ICLR 2017, without restarts.
    """
    if step < warm_up:
        return peak * (step + 1) / warm_up
    progress = min(1.0, (step - warm_up) / max(1, steps - 1 - warm_up))
    return end + (peak - end) * 0.5 * (1.0 + math.cos(math.pi * progress))
