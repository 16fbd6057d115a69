"""How far other ports of the matting metrics are from ours on equal input: the table of docs/metrics.md.

    python benchmarks/metric_deviations.py --foregrounds DIR [--count 100] [--seed 0]

DIR holds RGBA cut-outs; their alpha is the truth. Predictions are the truth, blurred, with noise and local
errors. They depend on the seed and the picture's number alone. Each deviation is a function, written from its
description.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from atldas.common.errors import UserError, exit_status
from cheapmatting.evaluation.metrics import METRICS, as_levels, gradient_kernels

Levels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
IMAGE_SUFFIXES = {".png", ".webp", ".tif", ".tiff"}


@dataclass(frozen=True)
class Picture:
    """One prediction to score: alpha [H, W] float32 in 0..1, truth [H, W] and trimap [H, W] uint8."""

    alpha: Floats
    truth: Levels
    trimap: Levels


# --- The deviations: each a function of a picture, in the units of the port ---


def over_all_pixels(metric: str) -> Callable[[Picture], float]:
    """Our metric with every pixel taken for unknown."""
    return lambda picture: METRICS[metric](picture.alpha, picture.truth, np.full_like(picture.trimap, 128))


def mse_sum_over_all_pixels(picture: Picture) -> float:
    """The squares summed over every pixel, divided by the number of unknown ones."""
    p, g = _alphas(picture)
    return float(np.square(p - g).sum()) / np.count_nonzero(picture.trimap == 128)


def saved_by_truncation(metric: str) -> Callable[[Picture], float]:
    """Our metric of an alpha saved as the integer part of 255 alpha."""
    score = METRICS[metric]
    return lambda picture: score((picture.alpha * 255).astype(np.uint8), picture.truth, picture.trimap)


def conn_in_double_precision(picture: Picture) -> float:
    return _conn(picture, np.arange(0, 1.1, 0.1), _largest_foreground)


def conn_with_background(picture: Picture) -> float:
    return _conn(picture, np.arange(0, 1.1, 0.1).astype(np.float32), _largest_label)


def grad_without_stretching(picture: Picture) -> float:
    p, g = _alphas(picture)
    return _grad(picture, p, g, gradient_kernels(), cv2.BORDER_REPLICATE) / 1000


def grad_with_plain_filters(picture: Picture) -> float:
    """Filters not normalised, borders reflected, the sum divided by 10."""
    p, g = (_stretched(alpha) for alpha in _alphas(picture))
    sigma = 1.4
    x = np.arange(-4.0, 5.0)
    gauss = np.exp(-(x**2) / (2 * sigma**2)) / (sigma * np.sqrt(2 * np.pi))
    return _grad(picture, p, g, (gauss, -x * gauss / sigma**2), cv2.BORDER_REFLECT) / 10


def sad_after_stretching(picture: Picture) -> float:
    return float(np.abs(_stretched_difference(picture)).sum()) / 1000


def mse_after_stretching(picture: Picture) -> float:
    return float(np.square(_stretched_difference(picture)).mean())


# Port, what it does otherwise, metric, and its figure for a picture.
DEVIATIONS: list[tuple[str, str, str, Callable[[Picture], float]]] = [
    ("mmagic", "sum over all pixels", "SAD", over_all_pixels("SAD")),
    ("mmagic", "sum over all pixels, divided by the unknown ones", "MSE", mse_sum_over_all_pixels),
    ("mmagic", "thresholds in double precision", "Conn", conn_in_double_precision),
    ("GCA-Matting", "no min-max", "Grad", grad_without_stretching),
    ("GCA-Matting", "background may be the largest component", "Conn", conn_with_background),
    ("IndexNet", "min-max in place", "SAD", sad_after_stretching),
    ("IndexNet", "min-max in place", "MSE", mse_after_stretching),
    ("IndexNet", "plain filters, reflected borders, / 10", "Grad", grad_with_plain_filters),
    *[("AIM, RVM", "whole image", metric, over_all_pixels(metric)) for metric in METRICS],
    *[("any", "alpha saved by truncation", metric, saved_by_truncation(metric)) for metric in METRICS],
]


def _alphas(picture: Picture) -> tuple[Doubles, Doubles]:
    return as_levels(picture.alpha, "alpha") / 255, picture.truth / 255


def _stretched(alpha: Doubles) -> Doubles:
    return (alpha - alpha.min()) / (np.ptp(alpha) or 1)


def _stretched_difference(picture: Picture) -> Doubles:
    p, g = (_stretched(alpha) for alpha in _alphas(picture))
    return (p - g)[picture.trimap == 128]


def _grad(picture: Picture, p: Doubles, g: Doubles, filters: tuple[Doubles, Doubles], border: int) -> float:
    smoothing, derivative = filters

    def amplitude(image: Doubles) -> Doubles:
        along_x = cv2.sepFilter2D(image, cv2.CV_64F, derivative, smoothing, borderType=border)
        along_y = cv2.sepFilter2D(image, cv2.CV_64F, smoothing, derivative, borderType=border)
        return np.hypot(along_x, along_y)

    difference = (amplitude(p) - amplitude(g))[picture.trimap == 128]
    return float(np.square(difference).sum())


def _conn(picture: Picture, thresholds: npt.NDArray[np.floating], component: Callable[[Levels, Levels], Mask]) -> float:
    """Conn as defined, at these thresholds and in their precision, with `component` to choose Omega."""
    p, g = (alpha.astype(thresholds.dtype) for alpha in _alphas(picture))
    level = np.full(p.shape, -1.0)
    for previous, threshold in itertools.pairwise(thresholds):
        reached = ((p >= threshold) & (g >= threshold)).astype(np.uint8)
        omega = component(reached, cv2.connectedComponents(reached, connectivity=4)[1])
        level[(level == -1) & ~omega] = previous
    level[level == -1] = 1
    phi_p, phi_g = (1 - (x - level) * (x - level >= 0.15) for x in (p, g))
    return float(np.abs(phi_p - phi_g)[picture.trimap == 128].sum()) / 1000


def _largest_foreground(reached: Levels, labels: Levels) -> Mask:
    areas = np.bincount(labels[reached == 1])
    return np.asarray((labels == areas.argmax()) & (reached == 1)) if len(areas) else reached.astype(np.bool_)


def _largest_label(reached: Levels, labels: Levels) -> Mask:
    return np.asarray(labels == np.bincount(labels.ravel()).argmax())


# --- The pictures ---


def read_alphas(folder: Path, count: int, rng: np.random.Generator) -> list[Levels]:
    """The alphas [H, W] of `count` of the folder's cut-outs, drawn by `rng`.

    Raises:
        UserError: no such folder, or fewer RGBA pictures with something in them than wanted.
    """
    if not folder.is_dir():
        raise UserError(f"--foregrounds: expected a folder of RGBA pictures, got {folder}")
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
    found: list[Levels] = []
    for index in rng.permutation(len(paths)):
        if len(found) == count:
            break
        image = cv2.imdecode(np.fromfile(paths[index], np.uint8), cv2.IMREAD_UNCHANGED)
        if image is not None and image.ndim == 3 and image.shape[2] == 4 and image.dtype == np.uint8:
            alpha = image[..., 3].astype(np.uint8)
            # A trimap needs some foreground and some background.
            if min(np.mean(alpha == 0), np.mean(alpha > 200)) > 0.01 and min(alpha.shape) >= 100:
                found.append(alpha)
    if len(found) < count:
        raise UserError(f"{folder}: expected {count} RGBA pictures that can be used (--count), got {len(found)}")
    return found


def trimap_of(truth: Levels, rng: np.random.Generator) -> Levels:
    """The pure foreground and background of the truth, each eroded by 1..14 pixels; the rest unknown."""

    def eroded(mask: Mask) -> Mask:
        size = 2 * int(rng.integers(1, 15)) + 1
        element = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
        return cv2.erode(mask.astype(np.uint8), element).astype(np.bool_)

    trimap = np.full(truth.shape, 128, np.uint8)
    trimap[eroded(truth == 0)] = 0
    trimap[eroded(truth == 255)] = 255
    return trimap


def prediction_of(truth: Levels, rng: np.random.Generator) -> Floats:
    """The truth with the errors of a network: blurred, uneven, wrong in places, and exactly 0 or 1 at both ends."""
    height, width = truth.shape
    alpha: Doubles = cv2.GaussianBlur(truth / 255, (0, 0), rng.uniform(0.5, 1.5)).astype(np.float64)
    alpha += rng.normal(0, 0.012, truth.shape)
    coarse = rng.normal(0, 0.03, (height // 16 + 2, width // 16 + 2))
    alpha += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    for _ in range(6):  # pulled towards a wrong value around a point
        centre_y, centre_x, radius = rng.uniform(0, height), rng.uniform(0, width), rng.uniform(4, 12)
        near_y = np.exp(-((np.arange(height) - centre_y) ** 2) / (2 * radius**2))
        near_x = np.exp(-((np.arange(width) - centre_x) ** 2) / (2 * radius**2))
        alpha += 0.6 * np.outer(near_y, near_x) * (rng.uniform(0, 1) - alpha)
    return np.clip((alpha - 0.06) / 0.88, 0, 1).astype(np.float32)


def known_kept(alpha: Floats, trimap: Levels) -> Floats:
    return np.where(trimap == 128, alpha, trimap.astype(np.float32) / np.float32(255))


def picture_of(
    truth: Levels, rng: np.random.Generator, *, margin: float = 0, error: float = 1, keep_known: bool = True
) -> Picture:
    """A picture from a truth.

    `margin` times the truth's size of background is added on every side; the errors are scaled by `error`.
    With `keep_known`, known pixels are set to what the trimap says.
    """
    rows, columns = (round(margin * side) for side in truth.shape)
    truth = np.pad(truth, ((rows, rows), (columns, columns)))
    trimap = trimap_of(truth, rng)
    exact = truth.astype(np.float32) / np.float32(255)
    alpha: Floats = np.clip(exact + error * (prediction_of(truth, rng) - exact), 0, 1).astype(np.float32)
    return Picture(known_kept(alpha, trimap) if keep_known else alpha, truth, trimap)


# --- The table ---

SETS: dict[str, Callable[[Levels, np.random.Generator], Picture]] = {
    "cut-outs": picture_of,
    "little foreground": lambda truth, rng: picture_of(truth, rng, margin=0.5),
    "little foreground, errors x 0.3": lambda truth, rng: picture_of(truth, rng, margin=0.5, error=0.3),
    "known pixels not kept": lambda truth, rng: picture_of(truth, rng, keep_known=False),
}


def table(columns: dict[str, list[Picture]]) -> str:
    """Markdown: our mean of each metric, then each deviation's change of it in per cent."""
    lines = [_row(["Port", "Deviation", "Metric", *columns]), _row(["---"] * 3 + ["---:"] * len(columns))]
    ours: dict[str, list[Doubles]] = {}  # of each metric, per column, one value per picture
    for metric, score in METRICS.items():
        ours[metric] = [
            np.array([score(picture.alpha, picture.truth, picture.trimap) for picture in pictures])
            for pictures in columns.values()
        ]
        lines.append(_row(["ours", "", metric, *(f"{values.mean():.4g}" for values in ours[metric])]))
    for port, deviation, metric, figure in DEVIATIONS:
        theirs = [np.array([figure(picture) for picture in pictures]) for pictures in columns.values()]
        changes = [_change(*values) for values in zip(theirs, ours[metric], strict=True)]
        lines.append(_row([port, deviation, metric, *changes]))
    return "\n".join(lines)


def _change(theirs: Doubles, ours: Doubles) -> str:
    """`mean (low .. high)`, per cent: the mean's change, and the middle 80 % of the pictures' own."""
    single = theirs[ours > 0] / ours[ours > 0] - 1
    low, high = (_percent(change) for change in np.percentile(single, [10, 90]))
    mean = _percent(theirs.mean() / ours.mean() - 1)
    return mean if mean == low == high else f"{mean} ({low} .. {high})"


def _percent(change: float) -> str:
    percent = 100 * change
    return "0" if abs(percent) < 0.005 else f"{percent:+.2f}" if abs(percent) < 10 else f"{percent:+.0f}"


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def run() -> None:
    parser = argparse.ArgumentParser(description="Measure what the deviations of other ports amount to.")
    add = parser.add_argument
    add("--foregrounds", type=Path, required=True, metavar="DIR", help="folder of RGBA cut-outs")
    add("--count", type=int, default=100, help="number of pictures (default: 100)")
    add("--seed", type=int, default=0, help="of the choice and of the predictions (default: 0)")
    arguments = parser.parse_args()
    if arguments.count < 1:
        raise UserError(f"--count: expected 1 or more, got {arguments.count}")
    cv2.setNumThreads(1)
    alphas = read_alphas(arguments.foregrounds, arguments.count, np.random.default_rng(arguments.seed))
    columns = {
        name: [make(alpha, np.random.default_rng([arguments.seed, i])) for i, alpha in enumerate(alphas)]
        for name, make in SETS.items()
    }
    spanning = sum(int(alpha.min()) == 0 and int(alpha.max()) == 255 for alpha in alphas)
    print(f"{len(alphas)} pictures, {spanning} of which hold both 0 and 255\n\n{table(columns)}")


if __name__ == "__main__":
    raise SystemExit(exit_status(run))
