"""What an engine is: a network in two parts, at one precision."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

PRECISIONS = ("fp32", "bf16", "fp16")


class Engine(Protocol):
    """The parts of a network, computed by one runtime.

    Inputs and alphas are float32 on the CPU, in any memory order. Features stay as the engine made them: `head` takes
    windows of them. Threads may share an engine.

    Attributes:
        name: its key in `ENGINES`.
        precision: one of `PRECISIONS`.
    """

    name: str
    precision: str

    def features(self, x: Tensor) -> Tensor:
        """Padded and hinted input [1, 6 or 8, H, W] -> features [1, C, H / 2, W / 2] for `head`."""
        ...

    def head(self, features: Tensor, x: Tensor) -> Tensor:
        """Windows of the features and the same windows of the input -> their alpha [N, 1, H, W], not clamped."""
        ...
