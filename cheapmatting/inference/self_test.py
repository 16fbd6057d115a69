"""Every engine that this machine has, in every place and precision, on one photograph beside the plain network."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from importlib.util import find_spec
from typing import NamedTuple

import numpy as np
import torch

from ..arrays import Bytes, Floats
from ..model.network import CheapMatting
from ..trimap import UNKNOWN, encode_trimap, known_pixels_kept
from .engines.choice import ENGINES, fault
from .matte import Matter

# Precision -> what the mean and the largest error of unknown pixels may be, in levels of 255. In float32, alphas are
# within 1e-4. Half precisions are off by up to 0.3 levels on average, and single pixels by many.
LIMITS = {"fp32": (0.005, 0.0255), "bf16": (1.0, 255.0), "fp16": (1.0, 255.0)}


class Computed(NamedTuple):
    """An engine of `ENGINES`, where it computes, and in which precision."""

    engine: str
    place: str
    precision: str


class Outcome(NamedTuple):
    """How a way of computing did.

    Attributes:
        seconds: of a matte, after a first one; None if there was none.
        mean, largest: errors of unknown pixels in levels of 255; None if there was no matte.
        fault: what is wrong, in a line; empty if nothing is.
    """

    way: Computed
    seconds: float | None
    mean: float | None
    largest: float | None
    fault: str = ""


def ways(engines: Collection[str] = tuple(ENGINES)) -> list[Computed]:
    """All ways of computing that this machine has with some engines, by their own account."""
    return [
        Computed(name, place, precision)
        for name, kind in ENGINES.items()
        if name in engines and find_spec(kind.package)
        for place in kind.here()
        for precision in kind.places[place].precisions
        if not fault(name, place, precision)
    ]


def self_test(
    tested: Sequence[Computed], network: CheapMatting, image: Bytes, trimap: Bytes
) -> Iterator[Outcome]:  # fmt: skip
    """Matte a photograph in each of these ways, beside the plain network in float32 on the CPU.

    Args:
        network: in eval mode, on the CPU.
        image: RGB [H, W, 3].
        trimap: [H, W] of 0, 128 and 255, with unknown pixels.
    """
    expected = plain_alpha(network, image, trimap)
    for way in tested:
        try:
            alpha, seconds = _timed(_matter(network, way), image, trimap)
        except Exception as error:  # each runtime has its own
            yield Outcome(way, None, None, None, first_line(error))
            continue
        yield judged(way, seconds, alpha, expected, trimap)


def judged(way: Computed, seconds: float, alpha: Floats, expected: Floats, trimap: Bytes) -> Outcome:
    """The outcome of an alpha [H, W], of which `expected` is the true one."""
    off = np.abs(alpha - expected)[trimap == UNKNOWN] * 255
    mean, largest = float(off.mean()), float(off.max())
    most_mean, most = LIMITS[way.precision]
    good = mean <= most_mean and largest <= most  # not if one is no number
    wrong = f"expected errors of at most {most_mean:g} on average and {most:g}, got {mean:.3g} and {largest:.3g}"
    return Outcome(way, seconds, mean, largest, "" if good else wrong)


def first_line(error: Exception) -> str:
    """What an error says, in a line."""
    return str(error).strip().partition("\n")[0] or type(error).__name__


@torch.inference_mode()
def plain_alpha(network: CheapMatting, image: Bytes, trimap: Bytes) -> Floats:
    """The alpha [H, W] of the network as it is: eager PyTorch, float32, the whole image at once."""
    planes = np.concatenate([image.transpose(2, 0, 1) / np.float32(255), encode_trimap(trimap)])
    return known_pixels_kept(network(torch.from_numpy(planes)[None])[0, 0].numpy(), trimap)


def _matter(network: CheapMatting, way: Computed) -> Matter:
    if way.engine == "torch":
        return Matter(network, way.place, engine="torch", precision=way.precision)
    return Matter(network, "cpu", engine=way.engine, precision=way.precision, provider=way.place)


def _timed(matter: Matter, image: Bytes, trimap: Bytes) -> tuple[Floats, float]:
    matter.matte(image, trimap)
    start = time.perf_counter()
    alpha = matter.matte(image, trimap)
    return alpha, time.perf_counter() - start
