"""What becomes of a large photograph's alpha in tiles, or at half its scale: the error beside that of the whole image.

    python benchmarks/large_photographs.py --images image --trimaps trimap --truths alpha --out table.md

The folders hold files of the same names. Photographs are enlarged to each of `--widths`, with their trimaps and true
alphas. Figures are mean differences of unknown pixels, in levels of 255.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from atldas.common.machine import prepare

prepare()  # before torch comes in

import cv2
import numpy as np

from atldas.common.atomic import write_text
from cheapmatting.arrays import Bytes, Floats
from cheapmatting.images import read_alpha, read_image
from cheapmatting.inference.matte import Matter
from cheapmatting.inference.memory import needed
from cheapmatting.inference.scales import halved
from cheapmatting.model.weights import load
from cheapmatting.trimap import UNKNOWN, known_pixels_kept, read_trimap

WAYS = ("whole", "tiles of 1/2", "tiles of 1/4", "half the scale")
COLUMNS = [
    "photograph",
    "pixels",
    *(f"{way}: from the whole" for way in WAYS[1:]),
    *(f"{way}: from the truth" for way in WAYS),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("images", "trimaps", "truths"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--widths", type=int, nargs="+", default=[1600, 2400], help="of the longer side")
    parser.add_argument("--weights", default="cheapmatting-light")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    lines = [f"| {' | '.join(COLUMNS)} |", "|---|---" + "|---:" * (len(COLUMNS) - 2) + "|"]
    network = load(options.weights).eval()
    for width in options.widths:
        for path in sorted(options.images.iterdir()):
            image, trimap, truth = enlarged(path, options.trimaps, options.truths, width)
            size, unknown = trimap.size, trimap == UNKNOWN
            alphas = {"whole": Matter(network, "cpu", engine="torch", scales="one").matte(image, trimap)}
            for share in (2, 4):
                bound = needed(network, "torch", size, size // share)
                tiled = Matter(network, "cpu", engine="torch", scales="one", max_memory=bound)
                alphas[f"tiles of 1/{share}"] = tiled.matte(image, trimap)
            alphas["half the scale"] = _at_half(Matter(network, "cpu", engine="torch", scales="one"), image, trimap)
            off = [np.abs(alphas[way] - alphas["whole"])[unknown].mean() * 255 for way in WAYS[1:]]
            off += [np.abs(alphas[way] - truth)[unknown].mean() * 255 for way in WAYS]
            cells = [path.stem, f"{trimap.shape[1]} x {trimap.shape[0]}", *(f"{figure:.1f}" for figure in off)]
            lines.append(f"| {' | '.join(cells)} |")
            print(lines[-1], flush=True)
            write_text(options.out, "\n".join(lines) + "\n")


def enlarged(path: Path, trimaps: Path, truths: Path, width: int) -> tuple[Bytes, Bytes, Floats]:
    """Image uint8 [H, W, 3], trimap uint8 [H, W] and true alpha float32 [H, W], the longer side `width` pixels."""
    image = read_image(path)
    scale = width / max(image.shape[:2])
    size = round(image.shape[1] * scale), round(image.shape[0] * scale)
    large = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_CUBIC), np.uint8)
    trimap = cv2.resize(read_trimap(trimaps / path.name), size, interpolation=cv2.INTER_NEAREST)
    truth = cv2.resize(read_alpha(truths / path.name), size, interpolation=cv2.INTER_CUBIC)
    return large, np.asarray(trimap, np.uint8), np.asarray(truth, np.float32) / np.float32(255)


def _at_half(matter: Matter, image: Bytes, trimap: Bytes) -> Floats:
    large = cv2.resize(matter.matte(*halved(image, trimap)), trimap.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return known_pixels_kept(np.asarray(large, np.float32), trimap)


if __name__ == "__main__":
    main()
