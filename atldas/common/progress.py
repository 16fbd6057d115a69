"""Progress on the terminal: rate and remaining time, quietly where nobody watches."""

from __future__ import annotations

import sys
from typing import Any

from tqdm import tqdm


def progress(total: int, what: str, unit: str, initial: int = 0, shown: bool = True) -> Any:
    """A tqdm bar on stderr; into a file or a pipe it writes a line only every 15 seconds."""
    interval = 0.5 if sys.stderr.isatty() else 15.0
    return tqdm(
        total=total, initial=initial, desc=what, unit=unit, mininterval=interval, dynamic_ncols=True, disable=not shown
    )
