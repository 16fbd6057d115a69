"""SAD, MSE, Grad and Conn of saved predictions, or of a network, on a folder of images with known alpha.

The run's folder gets `per_image.csv`, `means.yaml` and `worst.png`. A network's alpha is rounded to
8 bits before it is measured, like one that was saved: both forms give the same figures.
"""

from __future__ import annotations

import argparse
import csv
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from atldas.common.atomic import atomic_path, write_text
from atldas.common.checksum import sha256_of_file
from atldas.common.errors import UserError
from atldas.common.interruption import Interruption
from atldas.common.progress import progress
from atldas.common.runfolder import open_run
from atldas.common.yaml_text import to_yaml

from ..arrays import Bytes
from ..images import read_alpha, read_image, require_same_size, write_image
from ..inference.matte import Matter
from ..inference.pair import read_pair
from ..inference.scales import SCALES
from ..model.lookup import DEFAULT_WEIGHTS, find_weights
from ..picture_grid import Row, error_picture, picture_grid
from ..trimap import UNKNOWN, read_trimap
from .metrics import METRICS, as_levels
from .pairing import Entry, pair_files

EXAMPLES = """examples:
  cheapmatting evaluate --predictions mine/ --truths alpha/ --trimaps trimaps/
  cheapmatting evaluate --weights model.safetensors --images merged/ --truths alpha/ --trimaps trimaps/ --save mine/
"""
TABLE, MEANS, WORST = "per_image.csv", "means.yaml", "worst.png"
WORST_COUNT, WORST_BY = 10, "SAD"
log = logging.getLogger(__name__)


class Measured(NamedTuple):
    """A line of per_image.csv: figures by metric, units as in metrics.py; unknown pixels, and sizes in pixels."""

    name: str
    figures: Mapping[str, float]
    unknown: int
    width: int
    height: int

    def cells(self) -> list[str | float]:
        """The values of the columns of `columns()`."""
        return [self.name, *(self.figures[metric] for metric in METRICS), self.unknown, self.width, self.height]


def columns() -> list[str]:
    """The header of per_image.csv."""
    return ["name", *METRICS, "unknown", "width", "height"]


Predict = Callable[[Entry], Bytes]


def evaluate(
    entries: Sequence[Entry], predict: Predict, folder: Path, kept: Sequence[Measured] = ()
) -> list[Measured] | None:
    """Measure every entry and write the table, except for the lines `kept` from before.

    Every line is in the file as soon as it is measured.

    Returns:
        The lines in the order of the entries, or None if the user interrupted it.

    Raises:
        UserError: a file that cannot be read, sizes that differ, or a folder that cannot be written to.
    """
    lines = {line.name: line for line in kept}
    write_table(list(lines.values()), folder / TABLE)
    todo = [entry for entry in entries if entry.name not in lines]
    with (
        Interruption() as interruption,
        (folder / TABLE).open("a", newline="", encoding="utf-8") as file,
        progress(len(entries), "evaluate", "image", initial=len(lines)) as bar,
    ):
        for entry in todo:
            if interruption.requested:
                return None
            line = lines[entry.name] = measure(entry, predict(entry))
            csv.writer(file).writerow(line.cells())
            file.flush()
            bar.update()
    ordered = [lines[entry.name] for entry in entries]
    write_table(ordered, folder / TABLE)
    return ordered


def measure(entry: Entry, alpha: Bytes) -> Measured:
    """All metrics of one alpha, uint8 [H, W].

    Raises:
        UserError: truth or trimap cannot be read, or has another size.
    """
    truth, trimap = read_alpha(entry.truth), read_trimap(entry.trimap)
    source = entry.prediction or entry.image
    assert source is not None  # pair_files saw to it
    for path, plane in ((entry.truth, truth), (entry.trimap, trimap)):
        require_same_size(path, plane, source, alpha)
    figures = {name: metric(alpha, truth, trimap) for name, metric in METRICS.items()}
    height, width = alpha.shape
    return Measured(entry.name, figures, int(np.count_nonzero(trimap == UNKNOWN)), width, height)


def means(lines: Sequence[Measured]) -> dict[str, float]:
    """The mean of each metric over the images."""
    return {name: float(np.mean([line.figures[name] for line in lines])) for name in METRICS}


def summary(lines: Sequence[Measured]) -> str:
    """The means, and how many images and unknown pixels they are of, as text."""
    unknown, pixels = sum(line.unknown for line in lines), sum(line.width * line.height for line in lines)
    text = [f"{len(lines)} images, {unknown:,} unknown pixels ({unknown / pixels:.1%} of all)"]
    if idle := [line.name for line in lines if line.unknown == 0]:
        text.append(f"nothing is unknown in {len(idle)} of them, which count as 0: {', '.join(idle[:5])}")
    for name, value in means(lines).items():
        text.append(f"  {name:5} {METRICS[name].times * value:9.3f} {METRICS[name].unit}")
    return "\n".join(text)


def write_table(lines: Sequence[Measured], path: Path) -> None:
    """Write per_image.csv."""
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns())
        writer.writerows(line.cells() for line in lines)


def read_table(path: Path) -> list[Measured]:
    """The lines of a per_image.csv, nothing if there is none; a last line that was cut short is left out.

    Raises:
        UserError: the file is something else.
    """
    if not path.exists():
        return []
    try:
        whole = path.read_bytes().rpartition(b"\n")[0].decode("utf-8").splitlines()
        if not whole:
            return []
        header, *rows = csv.reader(whole)
        if header != columns():
            raise ValueError(header)
        return [_line(row) for row in rows]
    except (ValueError, TypeError, csv.Error) as error:
        raise UserError(
            f"{path}: expected a table of this program, got another file; delete it to measure all again"
        ) from error


def _line(row: list[str]) -> Measured:
    name, *figures, unknown, width, height = row
    values = dict(zip(METRICS, map(float, figures), strict=True))
    return Measured(name, values, int(unknown), int(width), int(height))


def still_valid(lines: Sequence[Measured], entries: Sequence[Entry], table: Path, save: Path | None) -> list[Measured]:
    """Those lines of an interrupted run's table that need not be measured again.

    A line counts if none of its files has changed since the table was written, and the prediction, where it is to be
    saved, is there.
    """
    known = {entry.name: entry for entry in entries}
    written = table.stat().st_mtime if lines else 0.0
    valid = []
    for line in lines:
        entry = known.get(line.name)
        files = [*entry.files, *([_saved(entry, save)] if save else [])] if entry else []
        if files and all(path.exists() and path.stat().st_mtime <= written for path in files):
            valid.append(line)
    return valid


def write_worst(entries: Sequence[Entry], lines: Sequence[Measured], predict: Predict, path: Path) -> None:
    """A picture of the ten images with the highest SAD: image, if there is one, trimap, truth, prediction, error."""
    with_images = any(entry.image for entry in entries)
    order = sorted(range(len(lines)), key=lambda index: -lines[index].figures[WORST_BY])[:WORST_COUNT]
    rows = []
    for rank, index in enumerate(order, 1):
        entry, line = entries[index], lines[index]
        truth, trimap, alpha = read_alpha(entry.truth), read_trimap(entry.trimap), predict(entry)
        pictures: list[Bytes | None] = [trimap, truth, alpha, error_picture(alpha, truth, trimap)]
        if with_images:
            pictures.insert(0, read_image(entry.image) if entry.image else None)
        figures = ", ".join(f"{name} {line.figures[name]:.4g}" for name in METRICS)
        rows.append(Row(f"{rank}. {line.name}: {figures}; {line.width} x {line.height}", pictures))
    headings = ["trimap", "truth", "prediction", "error (red high, blue low)"]
    write_image(path, picture_grid(["image", *headings] if with_images else headings, rows))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments, for a parser of its own or a verb's."""
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--predictions", type=Path, metavar="DIR", help="alphas to measure, grey images")
    what.add_argument(
        "--weights",
        metavar="FILE|RUN|NAME",
        help=f"a network to measure: a model, a training's folder, or {DEFAULT_WEIGHTS}",
    )
    parser.add_argument("--truths", type=Path, metavar="DIR", required=True, help="the true alphas")
    parser.add_argument(
        "--trimaps", type=Path, metavar="DIR", required=True, help="0 background, 128 unknown, 255 foreground"
    )
    parser.add_argument("--images", type=Path, metavar="DIR", help="the images; beside --predictions only to be shown")
    parser.add_argument(
        "--views", type=int, choices=(1, 2, 4), default=1, help="mirror images to average with --weights (default: 1)"
    )
    parser.add_argument(
        "--scales",
        choices=SCALES,
        default="auto",
        help="with --weights, auto: wide bands of unknown at half the size first, as `matte` does; one: the images' "
        "own size alone (default: auto)",
    )
    parser.add_argument("--save", type=Path, metavar="DIR", help="where to keep what the network of --weights gives")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/evaluate"), help="the run's folder (default: runs/evaluate)"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps (default: auto)")
    parser.add_argument("--resume", action="store_true", help="go on with an interrupted run")


def run(options: argparse.Namespace) -> int:
    """The command itself; 130 if the user interrupted it.

    Raises:
        UserError: arguments or files that do not fit together, or as `evaluate`.
    """
    _check(options)
    pairing = pair_files(options.truths, options.trimaps, options.predictions, options.images)
    predict, settings = _network(options) if options.weights else (_read, {})
    for key in ("images" if options.weights else "predictions", "truths", "trimaps"):
        settings[key] = str(getattr(options, key).resolve())
    for message in pairing.messages():
        log.warning("not measured: %s", message)
    table = options.out / TABLE
    open_run(options.out, settings, options.resume, (TABLE, MEANS, WORST))
    kept = still_valid(read_table(table), pairing.entries, table, options.save)
    lines = evaluate(pairing.entries, predict, options.out, kept)
    if lines is None:
        print(f"interrupted; {options.out} holds what was measured: the same with --resume goes on", file=sys.stderr)
        return 130
    write_means(lines, pairing.unpaired, options.out / MEANS)
    again: Predict = (lambda entry: read_alpha(_saved(entry, options.save))) if options.save else predict
    write_worst(pairing.entries, lines, again, options.out / WORST)
    print(summary(lines))
    print(f"in {options.out}: {TABLE}, {MEANS} and, for the worst, {WORST}")
    return 0


def write_means(lines: Sequence[Measured], unpaired: Mapping[str, Sequence[str]], path: Path) -> None:
    """Write means.yaml: means, counts, and the names of all files that have no partner."""
    content: dict[str, Any] = {
        **means(lines),
        "images": len(lines),
        "unknown_pixels": sum(line.unknown for line in lines),
        "images_without_unknown_pixels": sum(line.unknown == 0 for line in lines),
        "unpaired": {how: list(names) for how, names in unpaired.items()},
    }
    write_text(path, to_yaml(content))


def _check(options: argparse.Namespace) -> None:
    if options.weights and options.images is None:
        raise UserError("--weights: expected --images as well, the folder of images for the network")
    if options.predictions and options.views != 1:
        raise UserError("--views: expected --weights beside it, got --predictions, which are files already")
    if options.save is None:
        return
    if options.predictions:
        raise UserError("--save: expected --weights beside it, got --predictions, which are files already")
    for name in ("images", "truths", "trimaps"):
        if options.save.resolve() == getattr(options, name).resolve():
            raise UserError(
                f"--save {options.save}: expected another folder, got that of --{name}, whose files would be replaced"
            )


def _read(entry: Entry) -> Bytes:
    assert entry.prediction is not None  # pair_files saw to it
    return read_alpha(entry.prediction)


def _network(options: argparse.Namespace) -> tuple[Predict, dict[str, Any]]:
    """The network as a prediction, and what its figures depend on."""
    matter = Matter(options.weights, options.device, options.views, scales=options.scales)

    def predict(entry: Entry) -> Bytes:
        assert entry.image is not None  # pair_files saw to it
        alpha = as_levels(matter.matte(*read_pair(entry.image, entry.trimap)), "alpha")
        if options.save:
            write_image(_saved(entry, options.save), alpha)
        return alpha

    return predict, {
        "weights_sha256": sha256_of_file(find_weights(options.weights)),
        "device": matter.device.type,
        "views": options.views,
        "scales": options.scales,
    }


def _saved(entry: Entry, folder: Path) -> Path:
    return folder / f"{entry.name}.png"
