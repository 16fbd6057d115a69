"""What `--region near` and bf16 change on photographs with measured alpha, beside the exact way in fp32 with PyTorch.

    python benchmarks/approximations.py --truth photos_truth --out table.md
    python benchmarks/approximations.py --truth photos_truth --ways near --width 1600 --in-one-place 0.05 --out near.md

`photos_truth` holds the folders image, trimap_narrow and alpha with files of equal names. Differences are those of
unknown pixels, in levels of 255; SAD is in thousands. bf16 needs a processor that has it, and OpenVINO its extra.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from atldas.common.machine import prepare

prepare()  # before torch comes in

import cv2
import numpy as np
from large_photographs import enlarged

from atldas.common.atomic import write_text
from cheapmatting.arrays import Bytes, Floats
from cheapmatting.evaluation.metrics import sad
from cheapmatting.images import read_image
from cheapmatting.inference.matte import Matter
from cheapmatting.inference.regions import regions
from cheapmatting.model.weights import load
from cheapmatting.trimap import BACKGROUND, FOREGROUND, UNKNOWN

WAYS: dict[str, dict[str, Any]] = {
    "near": {"engine": "torch", "precision": "fp32", "region": "near"},
    "bf16 torch": {"engine": "torch", "precision": "bf16"},
    "bf16 openvino": {"engine": "openvino", "precision": "bf16"},
}
COLUMNS = ["way", "photograph", "unknown", "seen", "differs from exact, mean", "largest", "SAD, exact", "SAD"]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--truth", type=Path, required=True)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--width", type=int, help="of the longer side, to which photographs are enlarged; else as is")
    parser.add_argument("--in-one-place", type=float, metavar="SHARE", help="leave this share of the pixels unknown")
    parser.add_argument("--weights", default="cheapmatting-light")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(arguments)
    network = load(options.weights).eval()
    matters = {way: Matter(network, "cpu", scales="one", **WAYS[way]) for way in options.ways}
    exact = Matter(network, "cpu", engine="torch", precision="fp32", scales="one")
    rows: dict[str, list[list[float]]] = {way: [] for way in matters}
    lines = [f"| {' | '.join(COLUMNS)} |", "|---|---" + "|---:" * (len(COLUMNS) - 2) + "|"]
    for path in sorted((options.truth / "image").iterdir()):
        width = options.width or max(read_image(path).shape[:2])
        image, trimap, truth = enlarged(path, options.truth / "trimap_narrow", options.truth / "alpha", width)
        if options.in_one_place:
            trimap = in_one_place(trimap, truth, options.in_one_place)
        expected = exact.matte(image, trimap)
        for way, matter in matters.items():
            seen = sum(trimap[part.box].size for part in regions(trimap, matter.region, float("inf"))) / trimap.size
            alpha = matter.matte(image, trimap)
            figures = [float((trimap == UNKNOWN).mean()), seen, *_off(alpha, expected, trimap)]
            rows[way].append([*figures, sad(expected, truth, trimap), sad(alpha, truth, trimap)])
            lines.append(_line(way, path.stem, rows[way][-1]))
            print(lines[-1], flush=True)
    lines += [_line(way, "mean of all", np.mean(figures, 0).tolist()) for way, figures in rows.items()]
    write_text(options.out, "\n".join(lines) + "\n")


def in_one_place(trimap: Bytes, truth: Floats, share: float) -> Bytes:
    """The trimap with `share` of its pixels unknown: those nearest to where most are; the others become known."""
    unknown = trimap == UNKNOWN
    side = round((share * trimap.size) ** 0.5)
    dense = cv2.boxFilter(unknown.astype(np.float32), -1, (side, side), borderType=cv2.BORDER_CONSTANT)
    row, column = np.unravel_index(np.argmax(dense), dense.shape)
    rows, columns = np.indices(trimap.shape)
    distance = np.where(unknown, np.hypot(rows - row, columns - column), np.inf)
    most = min(int(share * trimap.size), int(unknown.sum()))
    made = np.where(unknown, np.where(truth >= 0.5, FOREGROUND, BACKGROUND), trimap).astype(np.uint8)
    made.flat[np.argsort(distance, axis=None, kind="stable")[:most]] = UNKNOWN
    return made


def _off(alpha: Floats, expected: Floats, trimap: Bytes) -> tuple[float, float]:
    """Mean and largest difference of unknown pixels, in levels."""
    off = np.abs(alpha - expected)[trimap == UNKNOWN] * 255
    return float(off.mean()), float(off.max())


def _line(way: str, photograph: str, figures: Sequence[float]) -> str:
    unknown, seen, *others = figures
    cells = [way, photograph, f"{unknown:.0%}", f"{seen:.0%}", *(f"{figure:.2f}" for figure in others)]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
