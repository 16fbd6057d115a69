"""The command `atldas export`: a genotype or its network in a format of other programs."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ..common.atomic import require_free
from ..common.errors import UserError
from ..genotype import Genotype
from ..lookup import find_genotype
from ..without_data import add_settings_option, parse_shape
from .graphs import write_graphml, write_json

if TYPE_CHECKING:
    from .subject import Subject

EXAMPLES = """examples:
  atldas export darts_v2 --format graphml --out darts.graphml
  atldas export runs/train_mine --format onnx --out mine.onnx
  atldas export darts_v2 --format python --set network.channels=36 --set network.depth=20
  atldas export cheapmatting experiments/searches/matting_search.yaml --format pt2
"""


class Format(NamedTuple):
    """How a format is written; one of the two.

    Attributes:
        suffix: of the file.
        cells: writes a genotype; no network is built.
        network: writes a fixed network, and returns what was checked, in words.
    """

    suffix: str
    cells: Callable[[Genotype, Path], None] | None = None
    network: Callable[[Subject, Path], str] | None = None


def _onnx(subject: Subject, path: Path) -> str:
    from .programs import write_onnx

    return write_onnx(subject, path)


def _pt2(subject: Subject, path: Path) -> str:
    from .programs import write_pt2

    return write_pt2(subject, path)


def _python(subject: Subject, path: Path) -> str:
    from .python_file import write_python

    return write_python(subject, path)


FORMATS = {
    "json": Format(".json", cells=write_json),
    "graphml": Format(".graphml", cells=write_graphml),
    "onnx": Format(".onnx", network=_onnx),
    "pt2": Format(".pt2", network=_pt2),
    "python": Format(".py", network=_python),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `atldas export`."""
    parser.add_argument("genotype", help="a genotype's file, a run's folder, a model's file, or a shipped name")
    parser.add_argument("experiment", nargs="?", help="the YAML file of a search or a training, whose task builds the "
                        "network (default: the task that trained the weights, else classification)")  # fmt: skip
    parser.add_argument("--format", required=True, choices=FORMATS, help="json and graphml are the cells as a graph; "
                        "the others are the network")  # fmt: skip
    parser.add_argument("--out", type=Path, metavar="FILE", help="default: the genotype's name in this folder")
    parser.add_argument("--force", action="store_true", help="replace a file that exists")
    parser.add_argument("--weights", type=Path, metavar="MODEL", help="a model of atldas train (default: that of "
                        "GENOTYPE if it is one or a run's folder with one; else the weights are random)")  # fmt: skip
    add_settings_option(parser)
    parser.add_argument("--input", metavar="C,H,W", help="the size of the example input (default: the task's)")


def run(options: argparse.Namespace) -> int:
    """Carry out `atldas export`."""
    genotype = find_genotype(options.genotype)
    chosen = FORMATS[options.format]
    path = options.out or Path(f"{genotype.name.replace(' ', '_')}{chosen.suffix}")
    if path.suffix != chosen.suffix:
        raise UserError(f"{path}: expected the suffix {chosen.suffix}, got {path.suffix or 'none'}")
    require_free(path, options.force)
    if chosen.cells:
        chosen.cells(genotype, path)
        print(f"written to {path}")
        return 0
    from .subject import MODEL, Request, fixed_network  # PyTorch is only needed from here on

    assert chosen.network is not None
    weights = options.weights or next(
        (
            p
            for p in (Path(options.genotype), Path(options.genotype) / MODEL)
            if p.is_file() and p.name.endswith(".safetensors")
        ),
        None,
    )
    shape = parse_shape(options.input, "channels, height and width", "3,32,32") if options.input is not None else None
    subject = fixed_network(genotype, Request(options.experiment, options.set, weights, shape))
    checked = chosen.network(subject, path)
    print(f"{'the weights of ' + str(weights) if weights else 'random weights'}; {checked}")
    print(f"written to {path}")
    return 0
