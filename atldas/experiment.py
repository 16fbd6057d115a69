"""What an experiment's YAML file says: space, task, strategy, the loop, the final choice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Lt, MinLen
from pydantic import AfterValidator

from .budget import BudgetConfig
from .common.config import RelativeToFile, Seed, Source, assigned, config
from .common.config_errors import suggestion
from .common.shipped import names_in, read_named
from .evaluate import EvaluationConfig
from .pruning import PruningConfig
from .space import shipped_spaces
from .strategies import STRATEGIES
from .training import SgdConfig, TrainingConfig

SHIPPED = files("atldas") / "experiments"
NonNegative = Annotated[float, Ge(0)]
Positive = Annotated[float, Gt(0)]
Decay = Annotated[float, Ge(0), Lt(1)]


def read_experiment(source: str | Path, assignments: Sequence[str] = ()) -> tuple[dict[str, Any], Source]:
    """The plain data of an experiment's file, or of a shipped one by its name, after assignments; and their source.

    Raises:
        UserError: no such file or name, no YAML, or a faulty assignment.
    """
    hint = f"a shipped experiment; shipped are {', '.join(names_in(SHIPPED))}"
    return assigned(*read_named(source, SHIPPED, hint), assignments)


def _strategy(name: str) -> str:
    if ":" not in name and name not in STRATEGIES:
        raise ValueError(f"one of {', '.join(STRATEGIES)}, or package.module:Class{suggestion(name, list(STRATEGIES))}")
    return name


@config
class ArchitectureConfig:
    """When the strategy learns, and how its optimizer moves what it learns.

    Attributes:
        start: the first step that moves the logits; before it the weights are too little trained to judge children by.
        every: one architecture step follows every so many weight steps.
        lr: of the strategy's optimizer: `atldas` has SGD, others Adam.
        betas: of Adam.
    """

    start: Annotated[int, Ge(0)] = 0
    every: Annotated[int, Ge(1)] = 1
    lr: Positive = 0.01
    betas: tuple[Decay, Decay] = (0.5, 0.999)
    weight_decay: NonNegative = 0.0
    max_grad_norm: Positive = 5.0


@config
class SearchConfig:
    """The loop. Without steps there are no inherited weights: children are measured by other oracles.

    Attributes:
        children_per_step: how many children a weight step trains, each on a batch of its own; the mean of their
            gradients moves the weights. Under torchrun the processes share them: a multiple of their number.
    """

    steps: Annotated[int, Ge(0)]
    children_per_step: Annotated[int, Ge(1)] = 1
    weights: SgdConfig = field(default_factory=SgdConfig)
    architecture: ArchitectureConfig = field(default_factory=ArchitectureConfig)
    pruning: PruningConfig | None = None
    log_every: Annotated[int, Ge(1)] = 10
    checkpoint_every: Annotated[int, Ge(1)] = 200

    def __post_init__(self) -> None:
        start, every = self.architecture.start, self.architecture.every
        first = -(-start // every) * every
        if self.steps and first >= self.steps:
            raise ValueError(
                f"the first architecture step under steps ({self.steps}), or nothing is learned, not at step {first} "
                f"(architecture.start {start}, architecture.every {every})"
            )


@config
class Experiment:
    """A whole search, as `atldas search` reads it from YAML.

    Attributes:
        name: the name of the genotype that will be found.
        space: a shipped space's name or a file.
        task: `package.module:Class`, see `atldas.task`; `task_options` are that class's own.
        budget: what no child may cost more than, see `budget`.
        strategy: one of `strategies.STRATEGIES`, or `package.module:Class`; `strategy_options` are that class's own.
        training: how `atldas train` trains what was found, from this same file; a search takes no notice.
    """

    schema: Literal[2]
    name: Annotated[str, MinLen(1)]
    space: Annotated[str, RelativeToFile(shipped_spaces)]
    task: str
    task_options: dict[str, Any] = field(default_factory=dict)
    strategy: Annotated[str, AfterValidator(_strategy)] = "atldas"
    strategy_options: dict[str, Any] = field(default_factory=dict)
    seed: Seed = 0
    budget: BudgetConfig | None = None
    search: SearchConfig
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    training: TrainingConfig | None = None
