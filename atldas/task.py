"""What a search is about: the protocol that a task fulfils. `atldas` knows no task but its example, classification.

A task is named in the experiment's YAML by dotted path (`task: my.module:MyTask`) and made as
`MyTask(options, seed, device)`, with `options` an instance of its class attribute `Options` (a `config` class) filled
from the experiment's `task_options`. A module that defines a task may also add its own operations to `OPERATIONS`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from .builder import Builder
from .common.config import Source
from .common.errors import UserError


class Task(Protocol):
    """Everything that a search asks of a task.

    Attributes:
        Options: the configuration class of `task_options`.
        metric: what `measure` returns, as a word for tables.
        larger_is_better: whether a larger metric is the better one.
        input_shape: [1, C, H, W], the size at which MACs are counted.
    """

    Options: ClassVar[type]
    metric: str
    larger_is_better: bool
    input_shape: tuple[int, ...]

    def __init__(self, options: Any, seed: int, device: torch.device) -> None: ...

    def build(self, builder: Builder) -> nn.Module:
        """The network, with the parts that are searched made by `builder`."""
        ...

    def network_section(self) -> dict[str, Any]:
        """The `network:` section of the genotypes found: what a builder needs to know besides the cells."""
        ...

    def training_batches(self, start: int) -> Iterator[Any]:
        """Endless batches from the first part of the data, beginning with batch number `start`.

        Batch n must be the same whatever the start, so that a resumed run sees what an uninterrupted one sees.
        """
        ...

    def held_out_batches(self, start: int) -> Iterator[Any]:
        """As `training_batches`, from a second part that no weight is trained on: it moves the logits."""
        ...

    def loss(self, network: nn.Module, batch: Any) -> Tensor:
        """The scalar loss of `network` on a batch."""
        ...

    def measure(self, network: nn.Module) -> float:
        """The task's metric on a third part, which moved neither weights nor logits; `network` is in eval mode.

        A task may also have `identity(child)`, equal for children that compute the same function: one of them is
        measured. And `test(network)`, the metric on data that nothing was chosen by, for the end of a training.
        """
        ...


def with_options(made: Any, source: Source | str, at: str) -> Any:
    """The class of a task or a strategy, which must have `Options`.

    Raises:
        UserError: it has none.
    """
    if not hasattr(made, "Options"):
        raise UserError(f"{source}: {at}: expected a class with Options, got {getattr(made, '__name__', made)}")
    return made
