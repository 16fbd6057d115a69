"""The command `cheapmatting`: one verb for each thing that it does."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from atldas import __version__
from atldas.common.machine import without_collection
from atldas.common.verbs import Parser, Verbs, add_verb, interrupted, run_command

from .folder_options import add_folder_options, add_trimap_options
from .inference.options import add_computing_options, add_output_options, computing, default_output, wanted

# Verbs whose arguments, examples and work are `add_arguments`, `EXAMPLES` and `run` of a module.
MODULES = {
    "web": ("cheapmatting.server.web_command", "a page to matte photographs on, from this machine alone"),
    "serve": ("cheapmatting.server.command", "matting behind HTTP, for other programs"),
    "trimap": ("cheapmatting.trimap_command", "a trimap from a mask, a rectangle, a few points or a network"),
    "video": ("cheapmatting.video.command", "the alpha of a video, from the trimaps of a few frames"),
    "export": ("cheapmatting.exporting.command", "weights as ONNX, OpenVINO, TorchScript or pt2, checked"),
    "evaluate": ("cheapmatting.evaluation.evaluate", "SAD, MSE, Grad and Conn on a folder of images with known alpha"),
    "preview-data": ("cheapmatting.data.preview", "a picture of the pairs that a configuration makes"),
    "doctor": ("cheapmatting.doctor", "what this machine computes with, what is missing, and a self-test"),
    "compose1k": ("cheapmatting.evaluation.compose1k", "the Composition-1K test set from your own copy of its parts"),
}

VARIANT = "a genotype, a model, a run's folder, or a shipped name: cheapmatting, default, cheapmatting-light"
RUN_EXAMPLES = """examples:
  cheapmatting run quickstart
  cheapmatting run mine.yaml --out runs/mine --resume
"""
TRAIN_EXAMPLES = """examples:
  cheapmatting train default --config train_small --out runs/mine
  cheapmatting train runs/first/genotype.yaml --config training.yaml --set steps=4000
  cheapmatting train cheapmatting-light --config training.yaml --from cheapmatting-light --out runs/tuned
"""
INFO_EXAMPLES = """examples:
  cheapmatting info cheapmatting cheapmatting-light
  cheapmatting info runs/mine mine.yaml --size 1920x1080
"""
MATTE_EXAMPLES = """examples:
  cheapmatting matte photo.jpg trimap.png -o cutout.png
  cheapmatting matte photo.jpg --mask mask.png --width 2% -o cutout.png
  cheapmatting matte photo.jpg --mask rembg:u2net -o cutout.png
  cheapmatting matte photos/ --trimap trimaps/ --out cutouts/ --workers 2 --resume
  cheapmatting matte 'photos/*.jpg' --mask segmentation.onnx --out cutouts/
"""
WEIGHTS = "a model, a published checkpoint, a training's folder, or the shipped cheapmatting-light"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    parser = Parser(prog="cheapmatting", description="Image matting with a searched network.")
    return run_command(parser, __version__, _add_verbs, MODULES, arguments)


def _add_verbs(verbs: Verbs) -> None:
    for add in (_add_run, _add_train, _add_matte, _add_info):
        add(verbs)


def _add_run(verbs: Verbs) -> None:
    verb = add_verb(verbs, "run", "search, build, train and matte, as one YAML file describes", RUN_EXAMPLES)
    verb.add_argument("experiment", help="the experiment's YAML file, or a shipped one's name: quickstart")
    _add_run_options(verb)
    verb.set_defaults(handler=_run)


def _add_train(verbs: Verbs) -> None:
    verb = add_verb(verbs, "train", "train a variant; also under torchrun", TRAIN_EXAMPLES)
    verb.add_argument("variant", metavar="FILE|RUN|NAME", help=f"{VARIANT}; the weights of a model are not used")
    verb.add_argument("--config", required=True, help="the recipe: a YAML file, or a shipped one's name: train_small")
    verb.add_argument("--from", dest="start", metavar="FILE|RUN|NAME", help=f"begin with these weights: {WEIGHTS}")
    _add_run_options(verb)
    verb.set_defaults(handler=_train)


def _add_run_options(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--set", action="append", default=[], metavar="KEY.PATH=VALUE", help="change one setting")
    verb.add_argument("--out", type=Path, help="the run's folder (default: runs/<name of the file>)")
    verb.add_argument("--device", default="auto", help="auto, cpu, cuda or mps (default: auto)")
    verb.add_argument("--resume", action="store_true", help="go on with an interrupted run")


def _add_matte(verbs: Verbs) -> None:
    verb = add_verb(verbs, "matte", "cut the foreground out of a photograph", MATTE_EXAMPLES)
    verb.add_argument(
        "image", type=Path, help="the photograph; - is standard input; or a folder or a quoted glob of them, with --out"
    )
    verb.add_argument(
        "trimap",
        type=Path,
        nargs="?",
        help="its trimap: 0 background, 128 unknown, 255 foreground; or a soft mask",
    )
    add_trimap_options(verb)
    verb.add_argument(
        "-o",
        "--output",
        type=Path,
        help="what to write; - is standard output (default: IMAGE_cutout.png, or as the result is called)",
    )
    add_output_options(verb)
    add_folder_options(verb)
    verb.add_argument(
        "--weights",
        metavar="FILE|RUN|NAME",
        help=f"{WEIGHTS} (default: cheapmatting-light)",
    )
    verb.add_argument(
        "--views",
        type=int,
        choices=(1, 2, 4),
        default=1,
        help="average mirror images: better, as much slower (default: 1)",
    )
    verb.add_argument("--device", default="auto", help="auto, cpu, cuda or mps (default: auto)")
    add_computing_options(verb)
    verb.set_defaults(handler=_matte)


def _add_info(verbs: Verbs) -> None:
    verb = add_verb(verbs, "info", "parameters and GMACs of variants, side by side", INFO_EXAMPLES)
    verb.add_argument("variants", nargs="+", metavar="FILE|RUN|NAME", help=VARIANT)
    verb.add_argument("--size", default="1024", help="image side, or WIDTHxHEIGHT (default: 1024)")
    verb.set_defaults(handler=_info)


def _run(options: argparse.Namespace) -> int:
    from atldas.common.device import choose

    from .pipeline import load_pipeline, run

    pipeline, source = load_pipeline(options.experiment, options.set)
    folder = options.out or Path("runs") / Path(options.experiment).stem
    summary = run(pipeline, folder, choose(options.device), options.resume, source, options.command)
    if summary is None:
        return interrupted(options.command)
    print(summary)
    return 0


def _train(options: argparse.Namespace) -> int:
    import torch

    from atldas.common import processes
    from atldas.common.device import choose

    from .model.variants import variant
    from .training.recipe import read_recipe
    from .training.train import train

    settings = read_recipe(options.config, options.set)
    torch.manual_seed(settings.seed)
    network = variant(options.variant)
    folder = options.out or Path("runs") / f"{Path(options.variant).stem}-{Path(options.config).stem}"
    with processes.joined(choose(options.device)) as device:
        trained = train(network, settings, folder, device, options.resume, options.start)
        first = processes.rank() == 0
    if trained is None:
        return interrupted(options.command) if first else 130
    if first:
        print(f"the model is {folder / 'model.safetensors'}; beside it log.csv and curves.png")
    return 0


def _matte(options: argparse.Namespace) -> int:
    with without_collection():
        from .decoding import STANDARD_STREAM
        from .folder_command import matte_many, require_one_photograph, trimap_source
        from .folders import is_many
        from .inference.files import matte_files, require_free
        from .inference.matte import Matter
        from .model.lookup import DEFAULT_WEIGHTS

    if is_many(options.image):
        return matte_many(options)
    require_one_photograph(options)
    what = wanted(options)
    output = options.output or default_output(options.image, what.what)
    trimap = trimap_source(options)
    require_free(output, what, options.image, *([trimap] if isinstance(trimap, Path) else []))
    with without_collection():
        matter = Matter(options.weights or DEFAULT_WEIGHTS, options.device, options.views, **computing(options))
    matte_files(matter, options.image, trimap, output, what)
    print(matter.computed_by, file=sys.stderr)
    if str(output) != STANDARD_STREAM:
        print(output)
    return 0


def _info(options: argparse.Namespace) -> int:
    from .model.info import inspect, parse_size, table

    height, width = parse_size(options.size)
    print(table([inspect(variant, height, width) for variant in options.variants], height, width))
    return 0
