"""A whole experiment: search cells, build the variant, train it, cut out a photograph, report."""

from __future__ import annotations

from dataclasses import field
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
from annotated_types import Ge

from atldas.common.atomic import write_text
from atldas.common.config import MOST, Seed, Source, assigned, config, from_dict, load_object
from atldas.common.errors import UserError
from atldas.common.runfolder import CONFIG, has_begun, require_absent
from atldas.common.shipped import read_named
from atldas.common.yaml_text import to_yaml
from atldas.experiment import Experiment
from atldas.probabilities import learnt_in_words
from atldas.searching import WRITES as SEARCH_WRITES
from atldas.searching import Found, search

from .arrays import Bytes
from .data.config import DataConfig, make_source
from .data.sample import Sample
from .images import write_image
from .inference.foreground import cut_out
from .inference.matte import Matter
from .inference.pair import read_pair
from .model import weights
from .model.lookup import MODEL
from .model.network import CheapMatting
from .picture_grid import on_green
from .task import MattingTask
from .training.recipe import TrainConfig
from .training.train import WRITES as TRAIN_WRITES
from .training.train import train
from .training.validation import half_everywhere, mean_sad, network_sad

VARIANT, SUMMARY, CUTOUT, RESULT = "variant.yaml", "summary.yaml", "{}_cutout.png", "{}_result.png"


@config
class ReportConfig:
    """What the trained variant is tested on.

    Attributes:
        photo, trimap: a photograph and its trimap: files, or names of bundled examples.
        pairs, seed, data: the held-out pairs for the comparison by SAD.
    """

    photo: str = "astronaut.jpg"
    trimap: str = "astronaut_trimap.png"
    pairs: Annotated[int, Ge(1), MOST] = 50
    seed: Seed = 2_000_003
    data: DataConfig = field(default_factory=DataConfig)


@config
class Pipeline:
    """A whole experiment, as `cheapmatting run` reads it from YAML.

    Attributes:
        search: what `atldas search` takes.
        train: what `cheapmatting train --config` takes.
        inherit: whether training begins with the supernet's weights.
    """

    schema: Literal[1]
    search: Experiment
    train: TrainConfig
    inherit: bool = True
    report: ReportConfig = field(default_factory=ReportConfig)


def load_pipeline(source: str, assignments: list[str]) -> tuple[Pipeline, Source]:
    """Read a pipeline from a file, or a shipped one by its name, such as `quickstart`; and where it comes from.

    Raises:
        UserError: no such file or name, or a fault in it.
    """
    shipped = resources.files("cheapmatting.experiments")
    data, origin = read_named(source, shipped, "a shipped experiment such as quickstart")
    data, origin = assigned(data, origin, assignments)
    return from_dict(Pipeline, data, origin), origin


def run(
    pipeline: Pipeline, folder: Path, device: torch.device, resume: bool, source: Source, command: str = ""
) -> str | None:
    """Run or resume every stage in `folder` (search/, variant.yaml, train/, cut-out) and return the summary.

    None if the user interrupted it: what is done is kept, and `resume` goes on from there. `source` is where the
    pipeline comes from; `command` is written into the provenance of the genotype.

    Raises:
        UserError: faulty settings, a folder that cannot be used, or data, photograph or trimap that cannot be read.
    """
    _require_matting(pipeline, source)
    _require_free(pipeline, folder)
    photo, trimap = _later_stages_input(pipeline)
    found = search(pipeline.search, folder / "search", device, resume, source.under("search"), command)
    if found is None:
        return None
    found.genotype.save(folder / VARIANT)
    torch.manual_seed(pipeline.train.seed)
    untrained = CheapMatting(found.genotype)
    begun = (folder / "train" / CONFIG).exists()
    trained = train(_starting_network(found, pipeline), pipeline.train, folder / "train", device, begun)
    if trained is None:
        return None
    weights.save(trained, folder / MODEL)
    cutout = cut_out(photo, Matter(trained, str(device)).matte(photo, trimap))
    name = Path(pipeline.report.photo).stem
    write_image(folder / CUTOUT.format(name), cutout)
    write_image(folder / RESULT.format(name), side_by_side(photo, trimap, cutout))
    errors, samples = _errors(pipeline.report, {"untrained": untrained, "trained": trained}, device)
    return _summary(folder, name, errors, samples, found)


def _require_matting(pipeline: Pipeline, source: Source) -> None:
    """Check that what the search finds are matting networks, before it starts."""
    task = load_object(pipeline.search.task, source, "search.task")
    if not isinstance(task, type) or not issubclass(task, MattingTask):
        raise UserError(
            f"{source}: search.task: expected cheapmatting.task:MattingTask or a subclass of it, got "
            f"{pipeline.search.task}; `atldas search` is for other tasks"
        )


def _require_free(pipeline: Pipeline, folder: Path) -> None:
    """Check, before a search begins, that no later stage would replace a file of another origin."""
    if not has_begun(folder / "search", SEARCH_WRITES):
        name = Path(pipeline.report.photo).stem
        of_training = (f"train/{file}" for file in (CONFIG, *TRAIN_WRITES))
        require_absent(folder, (VARIANT, MODEL, SUMMARY, CUTOUT.format(name), RESULT.format(name), *of_training))


def _later_stages_input(pipeline: Pipeline) -> tuple[Bytes, Bytes]:
    """The photograph and the trimap. Read before the first stage, like the data folders: a fault costs no search."""
    for data in (pipeline.train.data, pipeline.report.data):
        make_source(data, seed=0)
    return read_pair(example(pipeline.report.photo), example(pipeline.report.trimap))


def _starting_network(found: Found, pipeline: Pipeline) -> CheapMatting:
    network = CheapMatting(found.genotype)
    if pipeline.inherit:
        inherited = found.search.inherited(found.candidates[0].child)
        network.load_state_dict(inherited.state_dict())
    return network


def _errors(
    settings: ReportConfig, networks: dict[str, CheapMatting], device: torch.device
) -> tuple[dict[str, float], list[Sample]]:
    """SAD of each network on the held-out pairs, and the pairs."""
    source = make_source(settings.data, settings.seed)
    samples = [source[index] for index in range(settings.pairs)]
    errors = {"all 0.5": mean_sad(half_everywhere, samples)}
    for label, network in networks.items():
        errors[label] = network_sad(network.to(device), samples, device)
    return errors, samples


def _summary(folder: Path, photo: str, errors: dict[str, float], samples: list[Sample], found: Found) -> str:
    files = {
        "genotype and variant": VARIANT,
        "the searched cells": "search/cells.png",
        "how the search went": "search/curves.png",
        "weights (one file, a whole model)": MODEL,
        "the photograph cut out": CUTOUT.format(photo),
        "photograph, trimap, cut-out on green": RESULT.format(photo),
    }
    width = samples[0].alpha.shape[1]
    lines = ["", *(f"{what:38} {folder / file}" for what, file in files.items()), ""]
    lines.append(f"SAD in thousands, mean of {len(samples)} held-out synthetic pairs of {width}x{width}:")
    lines += [f"  {label:10} {error:.3f}" for label, error in errors.items()]
    write_text(folder / SUMMARY, to_yaml({"SAD": errors, "pairs": len(samples)}))
    if found.learnt:
        lines += ["", f"the search: {learnt_in_words(found.learnt, found.search.task.metric)}"]
    return "\n".join(lines)


def example(name: str) -> Path:
    """The path of a file, or of a bundled example by its name.

    Raises:
        UserError: there is neither.
    """
    bundled = Path(str(resources.files("cheapmatting") / "examples" / name))
    if not Path(name).exists() and not bundled.exists():
        raise UserError(f"{name}: expected a file or a bundled example, got neither")
    return Path(name) if Path(name).exists() else bundled


def side_by_side(photo: Bytes, trimap: Bytes, cutout: Bytes) -> Bytes:
    """Photograph, trimap and cut-out on green, side by side: uint8 RGB [H, 3 W, 3]."""
    return np.hstack([photo, np.repeat(trimap[..., None], 3, axis=2), on_green(cutout)])
