"""What strategies that learn nothing have in common: weight steps, if any, train uniform children."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from ..strategy import Context


class Unlearned:
    """All of `Strategy` but `Options` and `propose`."""

    def __init__(self, options: Any, context: Context) -> None:
        self.options, self.context = options, context

    def select_for_training(self, step: int) -> None:
        self.context.supernet.select(self.context.sample(uniform=True))

    def objective(self, batch: Any, step: int) -> tuple[Tensor, float] | None:
        return None

    def parameters(self) -> list[nn.Parameter]:
        return []

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass
