"""What is exported: a genotype, and for the formats that hold a network, the network that its task builds."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from ..builder import FixedBuilder
from ..common.config import from_dict, read_settings
from ..common.errors import UserError
from ..genotype import Genotype
from ..task import make_task
from ..without_data import CLASSIFICATION, task_class

MODEL = "model.safetensors"


@dataclass(frozen=True)
class Request:
    """What the command line says about the network.

    Attributes:
        experiment: a search's or a training's YAML file, whose task builds the network. Without one, the network is
            that of the genotype's `network:` section, by the task that trained `weights`, or by classification.
        assignments: `key.path=value`: of the experiment's file, or without one, `task=` and `network.KEY=`.
        weights: a model of `atldas train`.
        input_shape: (channels, height, width) of the example input; by default the task's.
    """

    experiment: str | None = None
    assignments: Sequence[str] = ()
    weights: Path | None = None
    input_shape: tuple[int, ...] | None = None


class Subject(NamedTuple):
    """A fixed network to export.

    Attributes:
        genotype: what it was built from.
        network: on the CPU, in eval mode.
        input_shape: [1, C, H, W].
        example: gives an input of a shape [N, C, H, W], as the network expects it.
        trained: the file of its weights, or None: they are random.
    """

    genotype: Genotype
    network: nn.Module
    input_shape: tuple[int, ...]
    example: Callable[[Sequence[int]], Tensor]
    trained: Path | None


def fixed_network(genotype: Genotype, request: Request) -> Subject:
    """The network of a genotype, with trained weights if there are some.

    Raises:
        UserError: the task cannot build it, or the weights do not fit it.
    """
    torch.manual_seed(0)
    if request.experiment:
        genotype, task, network = _of_experiment(genotype, request.experiment, request.assignments)
    else:
        genotype, task, network = _without_data(genotype, request)
    if request.weights:
        _load(network, request.weights)
    shape = (1, *request.input_shape) if request.input_shape else tuple(task.input_shape)
    return Subject(genotype, network.cpu().eval(), shape, getattr(task, "example_input", random_input), request.weights)


def random_input(shape: Sequence[int]) -> Tensor:
    """Normal noise."""
    return torch.randn(tuple(shape))


def _of_experiment(genotype: Genotype, path: str, assignments: Sequence[str]) -> tuple[Genotype, Any, nn.Module]:
    from ..experiment import Experiment  # here, because they take a second
    from ..training import TrainingExperiment

    settings, source = read_settings(path, assignments)
    read: Any = from_dict(Experiment if "search" in settings else TrainingExperiment, settings, source)
    differing = read.training.task_options if read.training else {}
    task, _ = make_task(read.task, {**read.task_options, **differing}, read.seed, torch.device("cpu"), source)
    built = dataclasses.replace(genotype, network=task.network_section())
    return built, task, task.build(FixedBuilder(genotype))


def _without_data(genotype: Genotype, request: Request) -> tuple[Genotype, Any, nn.Module]:
    """By the task's class alone: no data are needed."""
    made_by = model_header(request.weights).get("task", CLASSIFICATION) if request.weights else CLASSIFICATION
    task, section = task_class(request.assignments, made_by, genotype.network_dict())
    genotype = dataclasses.replace(genotype, network=section)
    return genotype, task, task.network_of(genotype)


def model_header(path: Path) -> Mapping[str, str]:
    """The metadata of a safetensors file.

    Raises:
        UserError: it is none, or damaged.
    """
    try:
        with safetensors.safe_open(path, "pt") as file:
            header: dict[str, str] = file.metadata() or {}
    except (OSError, safetensors.SafetensorError) as error:
        raise UserError(f"{path}: expected a model of atldas train, a safetensors file ({error})") from error
    return header


def _load(network: nn.Module, path: Path) -> None:
    model_header(path)
    try:
        network.load_state_dict(safetensors.torch.load_file(path))
    except RuntimeError as error:
        raise UserError(
            f"{path}: expected the weights of this network, got those of another; "
            "leave out the experiment's file and --set, or give those of its training "
            f"({str(error).splitlines()[-1].strip()})"
        ) from error


def described(subject: Subject) -> dict[str, str]:
    """Texts for a file's metadata."""
    return {
        "name": subject.genotype.name,
        "genotype": subject.genotype.to_json(),
        "input_shape": json.dumps(subject.input_shape),
        "weights": str(subject.trained or "random"),
    }
