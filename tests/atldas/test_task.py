"""A task is checked before a search starts, and its metric becomes a float."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from atldas.common.config import config
from atldas.common.errors import UserError
from atldas.task import make_task, measured

HERE = __name__


@config
class Options:
    """Options of `Complete`."""

    metric: str = "float"


METRICS: dict[str, Any] = {
    "float": 0.5, "int": 1, "bool": True, "numpy": np.float32(0.5), "numpy_int": np.int64(2), "array": np.array([0.5]),
    "tensor": torch.tensor(0.5), "tensor_of_one": torch.tensor([[0.5]]), "nan": float("nan"),
    "none": None, "text": "0.5", "list": [0.5], "tensors": torch.zeros(2), "empty": torch.zeros(0), "complex": 1j,
}  # fmt: skip


class Complete:
    """Everything that the protocol asks for, and nothing behind it."""

    Options = Options
    metric = "accuracy"
    larger_is_better = True
    input_shape = (1, 3, 8, 8)
    seen: ClassVar[list[Any]] = []

    def __init__(self, options: Options, seed: int, device: torch.device) -> None:
        self.options, self.seed, self.device = options, seed, device

    def measure(self, network: nn.Module) -> Any:
        return METRICS[self.options.metric]

    def build(self) -> None: ...
    def network_section(self) -> None: ...
    def training_batches(self) -> None: ...
    def held_out_batches(self) -> None: ...
    def loss(self) -> None: ...


class WithoutShape(Complete):
    @property
    def input_shape(self) -> Any:  # type: ignore[override]
        raise AttributeError("input_shape")


class Bare:
    Options = Options


def made(name: str, **options: Any) -> Any:
    return make_task(f"{HERE}:{name}", options, 7, torch.device("cpu"), "e.yaml")


def test_a_task_gets_its_options_seed_and_device() -> None:
    task, options = made("Complete", metric="int")
    assert isinstance(task, Complete) and task.options is options == Options(metric="int")
    assert (task.seed, task.device) == (7, torch.device("cpu"))


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        (
            "Bare",
            {},
            rf"e\.yaml: task: expected a task .*, got {HERE}:Bare without metric, larger_is_better, build, netw",
        ),
        ("WithoutShape", {}, rf"e\.yaml: task: expected a task .*, got {HERE}:WithoutShape without input_shape$"),
        ("Absent", {}, rf"e\.yaml: task: expected package\.module:Name, .* but {HERE} has no Absent"),
        ("METRICS", {}, "without Options, metric"),
        ("Complete", {"metrik": "int"}, r"e\.yaml: task_options\.metrik: unknown key \(did you mean metric\?\)"),
    ],
)
def test_what_is_no_task_is_named(name: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        made(name, **options)


@pytest.mark.parametrize(
    ("metric", "expected"),
    [("float", 0.5), ("int", 1.0), ("bool", 1.0), ("numpy", 0.5), ("numpy_int", 2.0), ("array", 0.5), ("tensor", 0.5),
     ("tensor_of_one", 0.5), ("nan", float("nan"))],
)  # fmt: skip
def test_a_metric_becomes_a_float(metric: str, expected: float) -> None:
    value = measured(made("Complete", metric=metric)[0], nn.Identity())
    assert type(value) is float and value == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize(
    ("metric", "got"),
    [("none", "NoneType"), ("text", "str"), ("list", "list"), ("tensors", r"Tensor of shape \[2\]"),
     ("empty", r"Tensor of shape \[0\]"), ("complex", "complex")],
)  # fmt: skip
def test_another_metric_is_named_with_its_task(metric: str, got: str) -> None:
    with pytest.raises(UserError, match=f"^task {HERE}:Complete: expected one number from `measure`, got {got}$"):
        measured(made("Complete", metric=metric)[0], nn.Identity())
