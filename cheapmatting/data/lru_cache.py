"""An LRU cache of decoded images with a limit in bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

import numpy as np


class LRUCache:
    """Keeps arrays up to `limit` bytes in all; the least recently used goes first.

    Every process has its own cache: a copy sent to another process starts empty. Kept arrays are read-only, because
    all callers get the same array.
    """

    def __init__(self, limit: int) -> None:
        self.limit, self.held = limit, 0
        self._kept: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """The array or tuple of arrays under `key`; `make` makes it if it is not kept."""
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key][0]
        made = make()
        arrays: tuple[np.ndarray, ...] = made if isinstance(made, tuple) else (made,)
        for array in arrays:
            array.flags.writeable = False
        size = sum(array.nbytes for array in arrays)
        if size <= self.limit:
            self._kept[key] = (made, size)
            self.held += size
        while self.held > self.limit:
            self.held -= self._kept.popitem(last=False)[1][1]
        return made

    def __getstate__(self) -> dict[str, Any]:
        return {"limit": self.limit, "held": 0, "_kept": OrderedDict()}
