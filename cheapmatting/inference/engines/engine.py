"""What an engine is: a network in two parts, at one precision, in one place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from atldas.common.errors import UserError

from ...model.network import CheapMatting

PRECISIONS = ("fp32", "bf16", "fp16")


class Engine(Protocol):
    """The parts of a network, computed by one runtime.

    Inputs are float32, in any memory order, and alphas float32 on the CPU. Features stay as the engine made them:
    `head` takes windows of them. Threads may share an engine.

    Attributes:
        name: its key in `ENGINES`.
        precision: one of `PRECISIONS`.
        device: where inputs are best made.
    """

    name: str
    precision: str
    device: torch.device

    def features(self, x: Tensor) -> Tensor:
        """Padded and hinted input [N, 6 or 8, H, W] -> features [N, C, H / 2, W / 2] for `head`, each as if alone."""
        ...

    def head(self, features: Tensor, x: Tensor) -> Tensor:
        """Windows of the features and the same windows of the input -> their alpha [N, 1, H, W], not clamped."""
        ...


class Place(NamedTuple):
    """A processor that an engine computes on: what it computes in there, and how it comes to machines without it."""

    precisions: tuple[str, ...]
    mend: str = ""


class Kind(NamedTuple):
    """An engine that may be chosen.

    Attributes:
        make: the engine of a network, a precision and a place, such as `cuda` or `cuda:1`.
        package: what must be installed for it, and `extra`, which brings it.
        places: all that there may be.
        here: the names of those that this machine has; the package is installed.
    """

    make: Callable[[CheapMatting, str, str], Engine]
    package: str
    extra: str
    places: Mapping[str, Place]
    here: Callable[[], list[str]]


class NotStartedError(UserError):
    """A runtime has a place, by its own account, but does not compute there: its driver or a library is missing."""
