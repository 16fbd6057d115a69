"""What half the size first (`--scales auto`) changes where the trimap's bands are wide: SAD beside the one size alone.

    python benchmarks/wide_bands.py --config experiments/recipes/train_tenth_round.yaml --out wide_bands.md

The pairs are the recipe's held-out ones, larger, with bands of 20 to 80 pixels on either side, sometimes three times
that, and whole pieces unknown; the photographs are the recipe's. The control settles pixels by another alpha of half
the size: the picture's own, upside down.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from atldas.common.atomic import write_text
from atldas.common.config import read_config
from atldas.common.errors import UserError, exit_status
from atldas.common.progress import progress
from cheapmatting.arrays import Bytes, Floats
from cheapmatting.data.sample import Sample
from cheapmatting.evaluation.metrics import sad
from cheapmatting.inference import scales
from cheapmatting.inference.matte import Matter
from cheapmatting.model.lookup import DEFAULT_WEIGHTS
from cheapmatting.training.recipe import TrainConfig
from cheapmatting.training.validation import PAIRS, half_everywhere, held_out

TRIMAPS = "{radii: [20, 80], wide: 0.2, pieces: 0.4, patches: 0.3}"
WAYS = ("all 0.5", "one", "auto", "control")


def upside_down(matter: Matter, image: Bytes, trimap: Bytes) -> Floats:
    """The alpha with what another picture settles, in place of this one at half the size."""
    if not scales.too_wide(trimap):
        return np.asarray(matter.matte(image, trimap))
    coarse = matter.matte(*scales.halved(image, trimap))
    return np.asarray(matter.matte(image, scales.narrowed(trimap, np.ascontiguousarray(coarse[::-1]))))


def measured(one: Matter, auto: Matter, sample: Sample) -> tuple[list[float], list[float]]:
    """SAD of each of `WAYS`, and the CPU seconds of `one` and `auto`."""
    image, times = sample.levels, [time.process_time()]
    alphas = [half_everywhere(sample)]
    for matter in (one, auto):
        alphas.append(matter.matte(image, sample.trimap))
        times.append(time.process_time())
    alphas.append(upside_down(one, image, sample.trimap))
    return [sad(alpha, sample.alpha, sample.trimap) for alpha in alphas], np.diff(times).tolist()


def table(sets: dict[str, list[Sample]], weights: str) -> str:
    """A Markdown table: a line for each set, and how often `auto` was better and worse by 2% or more."""
    one, auto = (Matter(weights, "cpu", engine="torch", scales=way) for way in ("one", "auto"))
    lines = [
        f"| pictures | how many | of them with wide bands | {' | '.join(WAYS)} | better, worse | CPU s one, auto |",
        f"|---|---:|---:|{'---:|' * len(WAYS)}---:|---:|",
    ]
    for name, samples in sets.items():
        each = []
        with progress(len(samples), name, "picture") as bar:
            for sample in samples:
                each.append(measured(one, auto, sample))
                bar.update()
        errors, seconds = np.array([errors for errors, _ in each]), np.array([seconds for _, seconds in each])
        wide = sum(scales.too_wide(sample.trimap) for sample in samples)
        ratio = errors[:, 2] / np.maximum(errors[:, 1], 1e-9)
        verdict = f"{(ratio <= 0.98).sum()}, {(ratio >= 1.02).sum()}"
        means = " | ".join(f"{value:.2f}" for value in errors.mean(0))
        cpu = ", ".join(f"{value:.2f}" for value in seconds.mean(0))
        lines.append(f"| {name} | {len(samples)} | {wide} | {means} | {verdict} | {cpu} |")
    return "\n".join(lines)


def run() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    add = parser.add_argument
    add("--config", required=True, metavar="YAML", help="a training's recipe, for its validation")
    add("--set", action="append", default=[], metavar="KEY.PATH=VALUE", help="change one setting of it")
    add("--weights", default=DEFAULT_WEIGHTS, help=f"a model (default: {DEFAULT_WEIGHTS})")
    add("--count", type=int, default=60, help="pairs (default: 60)")
    add("--size", type=int, default=768, help="the side of the pairs in pixels (default: 768)")
    add("--out", type=Path, metavar="FILE", help="write the table as well")
    options = parser.parse_args()
    own = [f"validation.data.size={options.size}", f"validation.data.augment.trimap={TRIMAPS}"]
    own.append(f"validation.pairs={options.count}")
    settings = read_config(TrainConfig, options.config, [*own, *options.set])
    if settings.validation is None or settings.validation.data is None:
        raise UserError(f"{options.config}: expected validation.data, whose pairs are measured, got none")
    sets = {
        f"pairs of {options.size} pixels" if name == PAIRS else name.removeprefix(f"{PAIRS} "): samples
        for name, samples in held_out(settings).items()
    }
    text = table(sets, options.weights)
    if options.out:
        write_text(options.out, text + "\n")
    print(text)


if __name__ == "__main__":
    raise SystemExit(exit_status(run))
