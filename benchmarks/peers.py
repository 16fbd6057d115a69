"""CheapMatting beside closed-form and KNN matting (PyMatting), on held-out pairs and on photographs.

    pip install -e '.[peers]'
    python benchmarks/peers.py --config experiments/recipes/train_seventh_round.yaml --weights model.safetensors
    python benchmarks/peers.py --config ... --weights a.safetensors b.safetensors --photos photos/ --picture peers.png

The pairs are those that the configuration's training is validated on, in three sets: with the trimaps as drawn, and the
same pictures with trimaps of two fixed widths. Pairs whose trimap has no known foreground or no known background are
left out: closed-form and KNN matting need both. Photographs with a true alpha that the training is validated on are
sets of their own, with a line for each photograph in `photographs.md`. All methods get 8-bit images. Their alphas are
rounded to 8 bits, and known pixels are set to what the trimap says.

Results are kept in `--out`, by the contents of pairs and weights: only new weights are measured.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np

from atldas.common.atomic import atomic_path, write_text
from atldas.common.checksum import sha256_of_arrays, sha256_of_file
from atldas.common.config import read_config
from atldas.common.errors import UserError, exit_status
from atldas.common.machine import prepare
from atldas.common.progress import progress

prepare()  # before PyTorch is imported

from cheapmatting.arrays import Bytes, Floats
from cheapmatting.data.config import make_source
from cheapmatting.data.image_folder import image_files
from cheapmatting.data.sample import Sample
from cheapmatting.data.sources import Source
from cheapmatting.evaluation.metrics import METRICS, as_levels
from cheapmatting.images import read_alpha, write_image
from cheapmatting.inference.foreground import cut_out
from cheapmatting.inference.matte import Matter
from cheapmatting.inference.pair import read_pair
from cheapmatting.picture_grid import Row, on_green, picture_grid
from cheapmatting.pipeline import example
from cheapmatting.training import validation
from cheapmatting.training.recipe import TrainConfig
from cheapmatting.trimap import LEVELS, UNKNOWN, known_pixels_kept, make_trimap

EXAMPLES = ("astronaut", "chelsea")
CROPS, CROP_SHARE = 2, 0.22  # of a photograph: how many crops, and how wide as a share of its longer side
# An image uint8 RGB [H, W, 3] and a trimap uint8 [H, W] to an alpha float32 [H, W].
Method = Callable[[Bytes, Bytes], Floats]


class Pair(NamedTuple):
    """An image uint8 RGB [H, W, 3], a trimap [H, W] and the true alpha [H, W]."""

    image: Bytes
    trimap: Bytes
    truth: Bytes


# --- The methods ---


def half(image: Bytes, trimap: Bytes) -> Floats:
    """0.5 wherever the trimap is unknown."""
    return known_pixels_kept(np.full(trimap.shape, 0.5, np.float32), trimap)


def closed_form(image: Bytes, trimap: Bytes) -> Floats:
    """Levin, Lischinski and Weiss, "A Closed-Form Solution to Natural Image Matting", PAMI 2008; PyMatting's."""
    return _by_pymatting("estimate_alpha_cf", image, trimap)


def knn(image: Bytes, trimap: Bytes) -> Floats:
    """Chen, Li and Tang, "KNN Matting", PAMI 2013; PyMatting's."""
    return _by_pymatting("estimate_alpha_knn", image, trimap)


PEERS: dict[str, Method] = {"all 0.5": half, "closed-form": closed_form, "KNN": knn}


def _by_pymatting(function: str, image: Bytes, trimap: Bytes) -> Floats:
    import pymatting  # here, since it takes long the first time: it compiles itself

    alpha = getattr(pymatting, function)(image / 255.0, np.where(trimap == UNKNOWN, 0.5, trimap / 255.0))
    return known_pixels_kept(np.clip(alpha, 0, 1).astype(np.float32), trimap)


def labels_of(weights: Sequence[Path]) -> list[str]:
    """Short names that differ: the file's, or with its folder's before it."""
    stems = [path.stem for path in weights]
    return [path.stem if stems.count(path.stem) == 1 else f"{path.parent.name}/{path.stem}" for path in weights]


# --- Pairs ---


def pair_sets(source: Source, count: int, radii: Sequence[int]) -> tuple[dict[str, list[Pair]], int]:
    """The first `count` fit pairs of a source by set, `as drawn` and `N px`, and how many were passed over.

    A set's trimaps are eroded by its radius on both sides (see `make_trimap`); pictures and order are the same in all.

    Raises:
        UserError: hardly any pair of the source is fit.
    """
    sets: dict[str, list[Pair]] = {"as drawn": [], **{f"{radius} px": [] for radius in radii}}
    index = passed_over = 0
    while len(sets["as drawn"]) < count:
        sample = source[index]
        trimaps = [sample.trimap, *(make_trimap(sample.alpha, radius, radius) for radius in radii)]
        if all(np.isin(LEVELS, trimap).all() for trimap in trimaps):
            for pairs, trimap in zip(sets.values(), trimaps, strict=True):
                pairs.append(_pair(sample, trimap))
        else:
            passed_over += 1
        index += 1
        if passed_over > 20 + 4 * count:
            raise UserError(
                f"expected trimaps with known foreground and background, got {passed_over} of {index} without; "
                "lower --radii"
            )
    return sets, passed_over


def _pair(sample: Sample, trimap: Bytes) -> Pair:
    return Pair(sample.levels, trimap, as_levels(sample.alpha, "alpha"))


# --- The table ---


def score(method: Method, pairs: Sequence[Pair], what: str) -> list[dict[str, float]]:
    """A line for each pair: the metrics, and `seconds` of CPU time."""
    method(pairs[0].image, pairs[0].trimap)  # the first call compiles and allocates; it is not timed
    lines = []
    with progress(len(pairs), what, "pair") as bar:
        for pair in pairs:
            start = time.process_time()
            alpha = method(pair.image, pair.trimap)
            seconds = time.process_time() - start
            figures = {name: metric(alpha, pair.truth, pair.trimap) for name, metric in METRICS.items()}
            lines.append({**figures, "seconds": seconds})
            bar.update()
    return lines


def kept_or_scored(path: Path, method: Method, pairs: Sequence[Pair], what: str) -> list[dict[str, float]]:
    """The lines of `score` from a file, or made and written to it."""
    if path.exists():
        with path.open(newline="", encoding="utf-8") as file:
            return [{name: float(value) for name, value in line.items()} for line in csv.DictReader(file)]
    lines = score(method, pairs, what)
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)
    return lines


def table(results: Mapping[str, Mapping[str, Sequence[Mapping[str, float]]]]) -> str:
    """Markdown: means by set and method."""
    titles = [f"{name} ({metric.unit})" for name, metric in METRICS.items()]
    lines = [
        f"| Trimap | Method | {' | '.join(titles)} | CPU s |",
        f"| --- | --- | {'---: | ' * len(titles)}---: |",
    ]
    for name, methods in results.items():
        for label, scores in methods.items():
            mean = {key: float(np.mean([line[key] for line in scores])) for key in scores[0]}
            figures = [f"{metric.times * mean[key]:.3f}" for key, metric in METRICS.items()]
            lines.append(f"| {name} | {label} | {' | '.join(figures)} | {mean['seconds']:.2f} |")
    return "\n".join(lines)


def photograph_table(names: Sequence[str], results: Mapping[str, Mapping[str, Sequence[Mapping[str, float]]]]) -> str:
    """Markdown: SAD of every photograph by set and method, and their mean."""
    methods = list(next(iter(results.values())))
    lines = [f"| Trimap | Photograph | {' | '.join(methods)} |", f"| --- | --- |{' ---: |' * len(methods)}"]
    for name, scores in results.items():
        rows = np.array([[line["SAD"] for line in scores[method]] for method in methods]).T  # [photographs, methods]
        for label, row in zip([*names, "mean"], [*rows, rows.mean(axis=0)], strict=True):
            lines.append(f"| {name} | {label} | {' | '.join(f'{value:.2f}' for value in row)} |")
    return "\n".join(lines)


def write_csv(results: Mapping[str, Mapping[str, Sequence[Mapping[str, float]]]], path: Path) -> None:
    """Every pair's figures: set, method, pair, metrics and seconds."""
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["trimap", "method", "pair", *METRICS, "seconds"])
        for name, methods in results.items():
            for label, scores in methods.items():
                writer.writerows([name, label, number, *line.values()] for number, line in enumerate(scores))


# --- The picture ---


def photographs(folder: Path | None) -> dict[str, tuple[Path, Path]]:
    """The bundled examples and the photographs of a folder that have a NAME_trimap beside them.

    Raises:
        UserError: no such folder, or no photograph with a trimap in it.
    """
    found = {name: (example(f"{name}.jpg"), example(f"{name}_trimap.png")) for name in EXAMPLES}
    if folder is None:
        return found
    paths = {path.relative_to(folder).with_suffix("").as_posix(): path for path in image_files(folder)}
    with_trimap = {name: (path, paths[f"{name}_trimap"]) for name, path in paths.items() if f"{name}_trimap" in paths}
    if not with_trimap:
        raise UserError(f"{folder}: expected a photograph NAME with a trimap NAME_trimap beside it, got none")
    return {**found, **with_trimap}


def side_by_side(
    photos: Mapping[str, tuple[Path, Path]], networks: Mapping[str, Method], cache: Path, path: Path, tile: int = 320
) -> None:
    """Photograph, trimap, closed-form alpha, then every network's alpha and its cut-out on green: whole, and crops.

    Raises:
        UserError: a file that cannot be read or written.
    """
    headings = ["photograph", "trimap", "closed-form"]
    headings += [f"{label}: {what}" for label in networks for what in ("alpha", "cut-out")]
    rows = []
    for name, (photo, trimap_path) in photos.items():
        image, trimap = read_pair(photo, trimap_path)
        pictures = [image, trimap, _closed_form_kept(image, trimap, cache)]
        for network in networks.values():
            alpha = network(image, trimap)
            pictures += [as_levels(alpha, "alpha"), on_green(cut_out(image, alpha))]
        rows.append(Row(f"{name}, {image.shape[1]} x {image.shape[0]}", pictures))
        for top, left, side in crops(trimap):
            part = [picture[top : top + side, left : left + side] for picture in pictures]
            rows.append(Row(f"{name}: {part[0].shape[1]} x {part[0].shape[0]} at ({left}, {top})", part))
    write_image(path, picture_grid(headings, rows, tile))


def crops(trimap: Bytes) -> list[tuple[int, int, int]]:
    """(top, left, side) of the windows with the most unknown pixels, apart from one another."""
    side = max(32, round(CROP_SHARE * max(trimap.shape)))
    unknown = (trimap == UNKNOWN).astype(np.int64)
    found = []
    for _ in range(CROPS):
        # sums[y, x]: the unknown pixels above and left of (y, x)
        sums = np.pad(unknown.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
        down, across = (min(side, length) for length in trimap.shape)
        window = sums[down:, across:] - sums[:-down, across:] - sums[down:, :-across] + sums[:-down, :-across]
        top, left = divmod(int(window.argmax()), window.shape[1])
        if window[top, left] == 0:
            break
        found.append((top, left, side))
        unknown[
            max(0, top - side // 4) : top + side + side // 4, max(0, left - side // 4) : left + side + side // 4
        ] = 0
    return found


def _closed_form_kept(image: Bytes, trimap: Bytes, cache: Path) -> Bytes:
    path = cache / f"closed-form-{sha256_of_arrays(image, trimap)[:12]}.png"
    if not path.exists():
        write_image(path, as_levels(closed_form(image, trimap), "alpha"))
    return read_alpha(path)


def compare(
    sets: Mapping[str, Sequence[Pair]], networks: Mapping[str, Method], keys: Mapping[str, str], cache: Path
) -> dict[str, dict[str, list[dict[str, float]]]]:
    """The lines of `score` for every peer and network, by set and name; `keys` tells networks of one name apart."""
    keys = {**{label: f"{label.replace(' ', '-')}-{version('pymatting')}" for label in PEERS}, **keys}
    results: dict[str, dict[str, list[dict[str, float]]]] = {}
    for name, pairs in sets.items():
        of_pairs = sha256_of_arrays(*(array for pair in pairs for array in pair))[:12]
        results[name] = {
            label: kept_or_scored(cache / f"{keys[label]}-{of_pairs}.csv", method, pairs, f"{label}, {name}")
            for label, method in {**PEERS, **networks}.items()
        }
    return results


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compare networks with closed-form and KNN matting.")
    add = parser.add_argument
    add("--config", required=True, metavar="YAML", help="a training's configuration, for its validation pairs")
    add("--set", action="append", default=[], metavar="KEY.PATH=VALUE", help="change one setting of it")
    add("--weights", type=Path, nargs="*", default=[], metavar="FILE", help="networks")
    add("--count", type=int, default=100, help="pairs of each set (default: 100)")
    add("--radii", type=int, nargs="*", default=[4, 12], help="of the fixed trimaps, in pixels (default: 4 12)")
    add("--out", type=Path, default=Path("runs/peers"), help="where to write (default: runs/peers)")
    add("--photos", type=Path, metavar="DIR", help="photographs NAME with NAME_trimap, for --picture")
    add("--picture", type=Path, metavar="FILE", help="write photographs and the bundled examples side by side")
    options = parser.parse_args()
    if options.count < 1 or any(radius < 1 for radius in options.radii):
        raise UserError(f"expected --count and --radii of 1 or more, got {options.count} and {options.radii}")
    if options.photos and not options.picture:
        raise UserError("--photos: expected --picture as well, the file to write")
    return options


def run() -> None:
    options = parse()
    if find_spec("pymatting") is None:
        raise UserError("expected PyMatting, got no such package; install it: pip install -e '.[peers]'")
    settings = read_config(TrainConfig, options.config, options.set)
    if settings.validation is None:
        raise UserError(f"{options.config}: expected a section validation, whose pairs are compared, got none")
    labels = labels_of(options.weights)
    networks: dict[str, Method] = {
        label: Matter(path).matte for label, path in zip(labels, options.weights, strict=True)
    }
    keys = {label: sha256_of_file(path)[:12] for label, path in zip(labels, options.weights, strict=True)}
    data = settings.validation.data or settings.data
    source = make_source(data, settings.validation.seed)
    if options.picture:
        side_by_side(photographs(options.photos), networks, options.out / "cache", options.picture)
        print(options.picture)
    sets, passed_over = pair_sets(source, options.count, options.radii)
    found = validation.photographs(settings.validation.photographs) if settings.validation.photographs else {}
    of_photographs = {
        name: [_pair(sample, sample.trimap) for sample in samples.values()] for name, samples in found.items()
    }
    results = compare({**sets, **of_photographs}, networks, keys, options.out / "cache")
    if found:
        names = list(next(iter(found.values())))
        single = photograph_table(names, {name: results[name] for name in found})
        write_text(options.out / "photographs.md", single + "\n")
        print(single, end="\n\n")
    about = f"{options.count} pairs of {data.size} x {data.size} a set, the same pictures in each"
    text = f"{about}; {passed_over} passed over; PyMatting {version('pymatting')}\n\n{table(results)}\n"
    write_csv(results, options.out / "per_pair.csv")
    write_text(options.out / "table.md", text)
    print(text)


if __name__ == "__main__":
    raise SystemExit(exit_status(run))
