"""Training pairs per second on one core: every kind, every augmentation, whole sources, and the loader.

    python benchmarks/data_speed.py --size 256 --count 30
    python benchmarks/data_speed.py --foregrounds cutouts/ --backgrounds photos/ --workers 1

Times are CPU time of this process, which other programs on the machine change less than wall-clock time. The
loader's is wall-clock time, since it works in other processes.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from itertools import islice

import cv2
import numpy as np
import torch

from cheapmatting.data.augment import COLOURS, PLAIN, AugmentConfig
from cheapmatting.data.camera import CAMERA
from cheapmatting.data.config import CutoutsConfig, DataConfig, SourceConfig, SyntheticConfig, make_source
from cheapmatting.data.drawn_trimap import drawn_trimap
from cheapmatting.data.loader import batches
from cheapmatting.data.sample import Sample
from cheapmatting.drawing.backgrounds import BACKGROUNDS
from cheapmatting.drawing.foregrounds import FOREGROUNDS


def milliseconds(work: Callable[[int], object], count: int, warm_up: int = 1) -> float:
    """Mean CPU time of `count` calls of `work`, with numbers on from those of `warm_up` calls before."""
    for i in range(warm_up):
        work(i)
    start = time.process_time()
    for i in range(warm_up, warm_up + count):
        work(i)
    return (time.process_time() - start) / count * 1000


def draw(make: Callable[[int, np.random.Generator], object], size: int, i: int) -> object:
    """The i-th picture of one kind."""
    return make(size, np.random.default_rng([0, i]))


def kinds(size: int, count: int) -> None:
    """Every procedural foreground and background."""
    for title, makers in (("foreground", FOREGROUNDS), ("background", BACKGROUNDS)):
        for name, make in makers.items():
            print(f"{title:12}{name:14}{milliseconds(partial(draw, make, size), count):7.1f} ms")


def augmentations(size: int, count: int) -> None:
    """Every augmentation, on one synthetic pair."""
    sample, settings = make_source(DataConfig(size=size), 0)[0], AugmentConfig()
    rng = np.random.default_rng(0)
    changes: dict[str, Callable[[Sample], object]] = {
        name: lambda one, change=change: change(one, rng, settings) for name, change in COLOURS.items()
    }
    changes |= {name: lambda one, change=change: change(one, rng, settings.camera) for name, change in CAMERA.items()}
    changes["trimap"] = lambda one: drawn_trimap(one.alpha, rng, settings.trimap)
    for name, change in changes.items():
        print(f"{'augment':12}{name:14}{milliseconds(lambda i, c=change: c(sample), count):7.1f} ms")


def settings_of(options: argparse.Namespace) -> dict[str, DataConfig]:
    """The sources to time by name."""
    photos = options.backgrounds
    synthetic = SyntheticConfig(backgrounds=photos)
    sources: dict[str, tuple[SourceConfig, ...]] = {"synthetic": (synthetic,)}
    if options.foregrounds:
        cutouts = CutoutsConfig(foregrounds=options.foregrounds, backgrounds=photos)
        sources |= {"cutouts": (cutouts,), "half and half": (cutouts, synthetic)}
    levels = {"plain": PLAIN, "augmented": AugmentConfig(), "real world": AugmentConfig(real_world=True)}
    return {
        f"{name}, {level}": DataConfig(size=options.size, sources=mix, augment=augment, cache_mb=options.cache_mb)
        for name, mix in sources.items()
        for level, augment in levels.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Pairs a second.")
    parser.add_argument("--size", type=int, default=256, help="side of the pairs in pixels (default: 256)")
    parser.add_argument("--count", type=int, default=30, help="pictures of each kind; ten times as many pairs")
    parser.add_argument("--foregrounds", help="a folder of RGBA cut-outs")
    parser.add_argument("--backgrounds", help="a folder of photographs")
    parser.add_argument("--workers", type=int, default=1, help="processes of the loader (default: 1)")
    parser.add_argument("--cache-mb", type=int, default=256, help="megabytes of decoded images (default: 256)")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    size, count = options.size, options.count
    print(f"{size} x {size} pixels, one core, mean of {count}")
    kinds(size, count)
    augmentations(size, count)
    for name, settings in settings_of(options).items():
        source = make_source(settings, seed=0)
        spent = milliseconds(source.__getitem__, 10 * count, warm_up=count)
        print(f"{name:28}{spent:7.1f} ms a pair, {1000 / spent:6.1f} pairs a second")
    loader = batches(source, size=8, workers=options.workers)
    for _ in islice(loader, 4):  # processes begin, the first pairs are read ahead
        pass
    start, number = time.perf_counter(), max(8, 5 * count // 8)
    for _ in islice(loader, number):
        pass
    rate = 8 * number / (time.perf_counter() - start)
    print(f"loader ({name}), {options.workers} workers, batches of 8: {rate:.1f} pairs a second by wall-clock time")


if __name__ == "__main__":
    main()
