"""A progress bar with rate and remaining time."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

_silent = False


@contextmanager
def without_progress() -> Iterator[None]:
    """No bars inside: for short work that is done many times under a bar of its own."""
    global _silent
    before, _silent = _silent, True
    try:
        yield
    finally:
        _silent = before


def progress(total: int, what: str, unit: str, initial: int = 0, shown: bool = True) -> Any:
    """A tqdm bar on stderr. If stderr is a file or a pipe, the bar is updated only every 15 seconds.

    Args:
        total: the number of units when the work is done; `initial`: when it begins.
        what: a word in front of the bar; `unit`: a word for one unit.
        shown: False for no bar at all, for example in processes with a rank over 0.
    """
    interval = 0.5 if sys.stderr.isatty() else 15.0
    return tqdm(
        total=total, initial=initial, desc=what, unit=unit, mininterval=interval, dynamic_ncols=True,
        disable=_silent or not shown,
    )  # fmt: skip
