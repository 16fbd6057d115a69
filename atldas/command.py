"""The command `atldas`: search, train, show, and the verbs of `MODULES`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from . import __version__
from .common.errors import UserError
from .common.verbs import Parser, Verbs, add_verb, interrupted, run_command

if TYPE_CHECKING:
    from .genotype import Genotype

SEARCH_EXAMPLES = """examples:
  atldas search nasbench201 --set task_options.folder=cifar10/train --out runs/first
  atldas search search.yaml --out runs/first --resume
  torchrun --standalone --nproc-per-node=2 --no-python atldas search search.yaml --out runs/two
"""
TRAIN_EXAMPLES = """examples:
  atldas train runs/first search.yaml --out runs/found
  atldas train darts_v2 training.yaml --set training.steps=50000 --out runs/darts
"""
SHOW_EXAMPLES = """examples:
  atldas show darts_v2 --out cells.png
  atldas show runs/first --json
"""
# Verbs whose arguments, examples and work are `add_arguments`, `EXAMPLES` and `run` of a module.
MODULES = {
    "export": (
        "atldas.exporting.command",
        "the found network as a graph, ONNX, torch.export or a Python file",
    ),
    "profile": (
        "atldas.profiling",
        "how long each child of a space takes on this device, for budgets in ms",
    ),
    "report": ("atldas.report", "one self-contained HTML page of finished searches, side by side"),
    "compare": ("atldas.compare", "a search for each of several strategies and seeds, side by side"),
    "benchmark": ("atldas.benchmark", "strategies, or supernets, against a benchmark's table"),
    "pareto": ("atldas.pareto", "from a finished search the best child for each of several budgets"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    parser = Parser(prog="atldas", description="Architecture search with learned topology.")
    return run_command(parser, __version__, _add_verbs, MODULES, arguments)


def _add_verbs(verbs: Verbs) -> None:
    _add_search_and_train(verbs)
    show = add_verb(verbs, "show", "print a genotype as a table, and draw it", SHOW_EXAMPLES)
    show.add_argument("genotype", help="a genotype's file, a run's folder, a model's file, or a shipped name")
    show.add_argument("--json", action="store_true", help="print it as JSON, for other programs")
    show.add_argument("--out", type=Path, metavar="CELLS.png", help="draw the cells to this PNG or SVG file")
    show.set_defaults(handler=_show)


def _add_search_and_train(verbs: Verbs) -> None:
    search = add_verb(verbs, "search", "run a search that a YAML file describes; also under torchrun", SEARCH_EXAMPLES)
    search.add_argument("experiment", help="the experiment's YAML file, or a shipped name such as nasbench201")
    search.add_argument("--out", type=Path, help="the run's folder (default: runs/<name>)")
    search.set_defaults(handler=_search)
    train = add_verb(
        verbs, "train", "train the network of a genotype from scratch; also under torchrun", TRAIN_EXAMPLES
    )
    train.add_argument("genotype", help="a genotype's file, a run's folder, a model's file, or a shipped name")
    train.add_argument("experiment", help="a YAML file: a search's with a section `training`, or one of its own")
    train.add_argument("--out", type=Path, help="the run's folder (default: runs/train_<genotype's name>)")
    train.set_defaults(handler=_train)
    for verb in (search, train):
        verb.add_argument("--set", action="append", default=[], metavar="KEY.PATH=VALUE", help="change one setting")
        verb.add_argument("--device", default="auto", help="auto, cpu, cuda or mps (default: auto)")
        verb.add_argument("--resume", action="store_true", help="go on with an interrupted run")


def _search(options: argparse.Namespace) -> int:
    from .common import processes
    from .common.config import from_dict
    from .common.device import choose
    from .experiment import Experiment, read_experiment
    from .probabilities import learnt_in_words
    from .searching import search

    settings, source = read_experiment(options.experiment, options.set)
    experiment = from_dict(Experiment, settings, source)
    folder = options.out or Path("runs") / experiment.name
    with processes.joined(choose(options.device)) as device:
        found = search(experiment, folder, device, options.resume, source, options.command)
        first = processes.rank() == 0
    if found is None:
        return interrupted(options.command) if first else 130
    if not first:
        return 0
    if found.learnt:
        print(learnt_in_words(found.learnt, found.search.task.metric))
    print(f"the genotype is {folder / 'genotype.yaml'}; beside it candidates.csv, cells.png, curves.png, log.csv")
    return 0


def _train(options: argparse.Namespace) -> int:
    from .common import processes
    from .common.config import read_config, read_yaml
    from .common.device import choose
    from .experiment import Experiment
    from .lookup import find_genotype
    from .training import TrainingExperiment, train

    if "search" in read_yaml(options.experiment):
        searched = read_config(Experiment, options.experiment, options.set)
        if searched.training is None:
            raise UserError(f"{options.experiment}: expected a section training, such as {{steps: 50000}}, got none")
        experiment = TrainingExperiment(
            schema=2, task=searched.task, task_options=searched.task_options, seed=searched.seed,
            training=searched.training,
        )  # fmt: skip
    else:
        experiment = read_config(TrainingExperiment, options.experiment, options.set)
    genotype = find_genotype(options.genotype)
    folder = options.out or Path("runs") / f"train_{genotype.name}"
    with processes.joined(choose(options.device)) as device:
        trained = train(genotype, experiment, folder, device, options.resume, options.experiment)
        first = processes.rank() == 0
    if trained is None:
        return interrupted(options.command) if first else 130
    if first:
        metric, value = next(iter(trained.figures.items()))
        print(f"{metric} {value:.4f}; the model is {folder / 'model.safetensors'}; beside it log.csv, metrics.json")
    return 0


def _show(options: argparse.Namespace) -> int:
    from .cell_picture import draw_cells
    from .lookup import find_genotype

    genotype = find_genotype(options.genotype)
    if options.out:
        draw_cells(genotype, options.out)
    print(genotype.to_json() if options.json else genotype_table(genotype))
    if options.out and not options.json:
        print(f"drawn to {options.out}")
    return 0


def genotype_table(genotype: Genotype) -> str:
    """The cells side by side: a line per node."""
    cells = genotype.cells.items()
    texts = {
        name: {
            node: " + ".join(f"{edge.operation}({edge.input})" for edge in edges)
            for node, edges in enumerate(cell.nodes, start=cell.inputs)
        }
        for name, cell in cells
    }
    if not texts:
        return "\n".join([genotype.name, *(f"{name}: {option}" for name, option in genotype.choices.items())])
    widths = {name: max(len(name) + 5, *(len(text) for text in column.values())) for name, column in texts.items()}
    lines = [genotype.name, "  ".join(["node", *(f"{name} cell".ljust(widths[name]) for name in texts)]).rstrip()]
    for node in sorted({node for column in texts.values() for node in column}):
        row = [str(node).ljust(4), *(texts[name].get(node, "").ljust(widths[name]) for name in texts)]
        lines.append("  ".join(row).rstrip())
    lines += [f"{name}: {option}" for name, option in genotype.choices.items()]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
