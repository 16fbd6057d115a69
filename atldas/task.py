"""What a search is about: the protocol that a task fulfils. `atldas` knows no task but its example, classification.

A task is named in the experiment's YAML by dotted path (`task: my.module:MyTask`) and made as
`MyTask(options, seed, device)`, with `options` an instance of its class attribute `Options` (a `config` class) filled
from the experiment's `task_options`. A module that defines a task may also add its own operations to `OPERATIONS`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Protocol, cast

import numpy as np
import torch
from torch import Tensor, nn

from .builder import Builder
from .common.config import Source, from_dict, load_object
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

        A NumPy scalar or a tensor of one element will do, too.

        A task may also have `identity(child)`, equal for children that compute the same function: one of them is
        measured. And `test(network)`, the metric on data that nothing was chosen by, for the end of a training.

        For `atldas export` and `atldas profile`, a task may have two static methods: `example_input(shape)`, an input
        [N, C, H, W] as its network expects it (without it, normal noise), and `network_of(genotype, builder=None)`, the
        network by the genotype's `network:` section, without any data; its class then has an `input_shape`, too.
        """
        ...


MEMBERS = ("Options", "metric", "larger_is_better", "build", "network_section", "training_batches", "held_out_batches",
           "loss", "measure")  # fmt: skip


def make_task(
    dotted: str, options: Mapping[str, Any], seed: int, device: torch.device, source: Source | str
) -> tuple[Task, Any]:
    """The task that an experiment's file, `source`, names by its dotted path, and its checked options.

    Raises:
        UserError: no such class, one that lacks a member of the protocol, or faulty options.
    """
    task_class: Any = load_object(dotted, source, "task")
    _require(task_class, MEMBERS, dotted, source)
    checked = from_dict(task_class.Options, options, source, at="task_options")
    task = task_class(checked, seed, device)
    _require(task, ("input_shape",), dotted, source)
    return cast(Task, task), checked


def _require(task: object, names: Sequence[str], dotted: str, source: Source | str) -> None:
    if missing := [name for name in names if not hasattr(task, name)]:
        raise UserError(f"{source}: task: expected a task (see atldas.task), got {dotted} without {', '.join(missing)}")


def measured(task: Task, network: nn.Module, test: bool = False) -> float:
    """The task's metric of a network, as a float; with `test`, on its test data if it has any.

    Raises:
        UserError: `measure`, or `test`, returns something that is not one number.
    """
    method = "test" if test and hasattr(task, "test") else "measure"
    value = getattr(task, method)(network)
    if isinstance(value, bool | int | float | np.number | np.bool_):
        return float(value)
    if isinstance(value, Tensor | np.ndarray) and np.prod(value.shape) == 1:
        return float(value.reshape(()))
    shape = f" of shape {list(value.shape)}" if isinstance(value, Tensor | np.ndarray) else ""
    name = f"{type(task).__module__}:{type(task).__name__}"
    raise UserError(f"task {name}: expected one number from `{method}`, got {type(value).__name__}{shape}")


def with_options(made: Any, source: Source | str, at: str) -> Any:
    """The class of a task or a strategy, which must have `Options`.

    Raises:
        UserError: it has none.
    """
    if not hasattr(made, "Options"):
        raise UserError(f"{source}: {at}: expected a class with Options, got {getattr(made, '__name__', made)}")
    return made
