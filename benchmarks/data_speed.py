"""How many training pairs a second one core makes, for every kind and overall.

    python benchmarks/data_speed.py [size] [samples of each kind]

Times are CPU time of this process: other programs on the machine disturb it less than the clock on the wall.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial

import cv2
import numpy as np

from cheapmatting.backgrounds import BACKGROUNDS
from cheapmatting.foregrounds import FOREGROUNDS
from cheapmatting.sources import SyntheticSource


def milliseconds(work: Callable[[int], object], count: int) -> float:
    """Mean CPU time of `work(0)` to `work(count - 1)`, after one call to warm up."""
    work(0)
    start = time.process_time()
    for i in range(count):
        work(i)
    return (time.process_time() - start) / count * 1000


def draw(make: Callable[[int, np.random.Generator], object], size: int, i: int) -> object:
    """The i-th picture of one kind."""
    return make(size, np.random.default_rng([0, i]))


def main() -> None:
    size, count = (int(text) for text in (sys.argv[1:3] + ["256", "30"][len(sys.argv) - 1 :]))
    cv2.setNumThreads(1)
    print(f"{size} x {size} pixels, one core, mean of {count}")
    for title, makers in (("foreground", FOREGROUNDS), ("background", BACKGROUNDS)):
        for name, make in makers.items():
            spent = milliseconds(partial(draw, make, size), count)
            print(f"{title:12}{name:12}{spent:7.1f} ms")
    source = SyntheticSource(size, seed=0)
    spent = milliseconds(lambda i: source[i], count * len(FOREGROUNDS))
    print(f"whole pairs with trimap: {spent:.1f} ms each, {1000 / spent:.1f} pairs per second")


if __name__ == "__main__":
    main()
