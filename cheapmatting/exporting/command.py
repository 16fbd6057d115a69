"""The command `cheapmatting export`: weights as a file for another runtime."""

from __future__ import annotations

import argparse
from pathlib import Path

from atldas.common.atomic import require_free

from ..model.lookup import find_weights, shipped_weights
from ..model.weights import is_model, load
from .checked import TOLERANCES, export
from .formats import FORMATS
from .whole import TRIMAPS

EXAMPLES = """examples:
  cheapmatting export cheapmatting-light --format onnx
  cheapmatting export cheapmatting-light --format openvino --precision fp16 --trimap plane --out matte.xml
  cheapmatting export runs/mine --format pt2 --licence MIT
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `cheapmatting export`."""
    parser.add_argument("weights", metavar="FILE|RUN|NAME", help="a model, a published checkpoint, a run's folder, "
                        "or the shipped cheapmatting-light")  # fmt: skip
    parser.add_argument("--format", required=True, choices=FORMATS, help="openvino is two files, .xml and .bin")
    parser.add_argument("--precision", default="fp32", choices=TOLERANCES, help="fp16: weights of half the size; norms "
                        "and hints stay in float32 (default: fp32)")  # fmt: skip
    parser.add_argument("--trimap", default="one-hot", choices=TRIMAPS, help="three planes of 0 and 1, or one grey "
                        "plane of 0, 128 and 255 (default: one-hot)")  # fmt: skip
    parser.add_argument("--out", type=Path, metavar="FILE", help="default: the weights' name in this folder")
    parser.add_argument("--force", action="store_true", help="replace a file that exists")
    parser.add_argument("--licence", metavar="TEXT", help="of the weights, for the file's metadata (default: what is "
                        "known of shipped and published weights)")  # fmt: skip


def run(options: argparse.Namespace) -> int:
    """Carry out `cheapmatting export`."""
    source = find_weights(options.weights)
    named = Path(options.weights).name.removesuffix(".safetensors")
    form = FORMATS[options.format]
    path = options.out or Path(f"{named}{form.suffix}")
    for written in (path, *(path.with_suffix(suffix) for suffix in form.beside)):
        require_free(written, options.force)
    licence = options.licence or licence_of(source)
    print(export(load(source), path, options.format, options.precision, options.trimap, licence))
    print(f"written to {path}")
    return 0


def licence_of(source: Path) -> str:
    """The licence of a file of weights as far as it is known, or nothing."""
    if source in shipped_weights().values():
        return "Apache-2.0"
    return "" if is_model(source) else "GPL-3.0, as its authors publish it"
