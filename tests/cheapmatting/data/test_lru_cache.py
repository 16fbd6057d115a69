"""The cache of decoded images."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from cheapmatting.data.lru_cache import LRUCache


def test_the_cache_keeps_the_last_used_up_to_its_limit() -> None:
    cache, made = LRUCache(100), []

    def get(key: str, size: int = 40) -> np.ndarray:
        def make() -> np.ndarray:
            made.append(key)
            return np.zeros(size, np.uint8)

        return cache.get(key, make)

    assert get("a") is get("a")
    get("b"), get("a"), get("c")  # b is the longest unused, and goes
    get("a"), get("c")
    assert made == ["a", "b", "c"] and cache.held == 80
    get("b")
    assert made == ["a", "b", "c", "b"]
    get("larger", 101), get("larger", 101)
    assert made[-2:] == ["larger", "larger"] and cache.held == 80
    with pytest.raises(ValueError, match="read-only"):
        get("b")[0] = 1
    assert pickle.loads(pickle.dumps(cache)).held == 0
