"""Time, peak memory and error of the engines, beside the reference way of running the same network.

    pip install -e '.[onnx,openvino]'
    python benchmarks/matting_engines.py                    # everything; writes experiments/results/matting_engines.md
    python benchmarks/matting_engines.py --sizes 1024 --networks cheapmatting-light --out table.md

The reference way is plain eager PyTorch: float32, NCHW, the whole padded image, without `machine.prepare()`. Each row
is a process of its own, so that peak memory (of the whole process) is the row's. The published network has random
weights.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from atldas.common.machine import prepare

if "reference" not in sys.argv:  # before torch comes in
    prepare()

import cv2
import numpy as np
import torch

from atldas.common.atomic import write_text
from atldas.common.errors import UserError
from cheapmatting.arrays import Bytes, Floats
from cheapmatting.images import read_image
from cheapmatting.inference.engines.choice import ENGINES
from cheapmatting.inference.matte import Matter
from cheapmatting.model.network import CheapMatting
from cheapmatting.model.variants import variant
from cheapmatting.model.weights import load
from cheapmatting.pipeline import example
from cheapmatting.trimap import BACKGROUND, FOREGROUND, UNKNOWN, encode_trimap, known_pixels_kept, read_trimap

NETWORKS = ("cheapmatting", "cheapmatting-light")
SIZES = ("1024x1024", "1920x1080", "2048x2048")
SHARES = (0.25, 0.05)  # of unknown pixels
# Engine, precision, region. The reference first: the others are measured against it.
ROWS = [
    ("reference", "fp32", "exact"),
    *((name, precision, "exact") for name, kind in ENGINES.items() for precision in kind.places["cpu"].precisions),
    ("torch", "fp32", "near"),
]
COLUMNS = ["network", "engine", "precision", "region", "size"]
FIGURES = ["unknown", "seconds", "times faster", "peak MiB", "of the reference's", "error, mean", "error, largest"]
HEADER = [f"| {' | '.join(COLUMNS + FIGURES)} |", "|---" * len(COLUMNS) + "|---:" * len(FIGURES) + "|"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", default=NETWORKS)
    parser.add_argument("--sizes", nargs="+", default=SIZES)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("experiments/results/matting_engines.md"))
    parser.add_argument("--row", nargs=5, help=argparse.SUPPRESS)  # one row, in a process of its own
    options = parser.parse_args()
    if options.row:
        print(json.dumps(measured(*options.row, options.repeats)))
        return
    lines = [_conditions(), "", *HEADER]
    with tempfile.TemporaryDirectory() as folder:
        for network in options.networks:
            for size in options.sizes:
                lines += _table(network, size, folder, options.repeats)
                write_text(options.out, "\n".join(lines) + "\n")
    print(options.out)


def _conditions() -> str:
    return (
        f"`python benchmarks/matting_engines.py`; {torch.get_num_threads()} threads, PyTorch {torch.__version__}. "
        "Medians of single images after one that is not counted. Errors are those of unknown pixels, in levels of 255."
    )


def _table(network: str, size: str, folder: str, repeats: int) -> list[str]:
    lines, reference = [], []
    for engine, precision, region in ROWS:
        row = [network, engine, precision, region, size]
        command = [sys.executable, __file__, "--repeats", str(repeats), "--row", *row]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        if done.returncode:
            print(" ".join(row), "failed:", done.stderr.strip().splitlines()[-1], file=sys.stderr)
            continue
        results = json.loads(done.stdout.splitlines()[-1])
        reference = reference or results
        for own, theirs in zip(results, reference, strict=True):
            cells = [
                *row,
                f"{own['unknown']:.0%}",
                f"{own['seconds']:.2f}",
                f"{theirs['seconds'] / own['seconds']:.1f}",
                f"{own['peak']:.0f}",
                f"{own['peak'] / theirs['peak']:.0%}",
                f"{own['mean']:.4f}",
                f"{own['largest']:.4f}",
            ]
            lines.append("| " + " | ".join(cells) + " |")
            print(lines[-1], flush=True)
    return lines


def measured(network: str, engine: str, precision: str, region: str, size: str, repeats: int) -> list[dict[str, Any]]:
    """A row's figures for each share of unknown pixels; the reference's alphas are left in the working folder."""
    matte = _method(_network(network), engine, precision, region)
    results = []
    for share in SHARES:
        image, trimap = _pair(size, share)
        alpha, seconds = matte(image, trimap), []
        for _ in range(repeats):
            start = time.perf_counter()
            matte(image, trimap)
            seconds.append(time.perf_counter() - start)
        file = Path(f"{network}_{size}_{share}.npy")
        if engine == "reference":
            np.save(file, alpha)
        off = np.abs(alpha - np.load(file))[trimap == UNKNOWN] * 255
        results.append(
            {
                "unknown": share,
                "seconds": statistics.median(seconds),
                "mean": float(off.mean()),
                "largest": float(off.max()),
            }
        )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return [{**result, "peak": peak} for result in results]


def _network(name: str) -> CheapMatting:
    if name != "cheapmatting":
        return load(name)
    torch.manual_seed(0)
    network = variant(name).eval()
    network.head[4].bias.data.fill_(0.5)  # alphas in the middle of the range
    return network


def _method(network: CheapMatting, engine: str, precision: str, region: str) -> Callable[[Bytes, Bytes], Floats]:
    if engine != "reference":
        return Matter(network, "cpu", engine=engine, precision=precision, region=region, scales="one").matte

    @torch.inference_mode()
    def reference(image: Bytes, trimap: Bytes) -> Floats:
        planes = np.concatenate([image.transpose(2, 0, 1) / np.float32(255), encode_trimap(trimap)])
        return known_pixels_kept(network(torch.from_numpy(planes)[None])[0, 0].numpy(), trimap)

    return reference


def _pair(size: str, share: float) -> tuple[Bytes, Bytes]:
    """The bundled portrait in another size, with a band of unknown pixels around its outline."""
    width, height = map(int, size.split("x"))
    if not 0 < width * height < 10**8:
        raise UserError(f"--sizes: expected WIDTHxHEIGHT such as 1024x1024, got {size}")
    image = cv2.resize(read_image(example("astronaut.jpg")), (width, height), interpolation=cv2.INTER_CUBIC)
    known = cv2.resize(read_trimap(example("astronaut_trimap.png")), (width, height), interpolation=cv2.INTER_NEAREST)
    inside = (known == FOREGROUND).astype(np.uint8)
    distance = cv2.distanceTransform(inside, cv2.DIST_L2, 5) + cv2.distanceTransform(1 - inside, cv2.DIST_L2, 5)
    trimap = np.where(inside == 1, np.uint8(FOREGROUND), np.uint8(BACKGROUND))
    trimap[distance <= np.quantile(distance, share)] = UNKNOWN
    return np.asarray(image, np.uint8), trimap


if __name__ == "__main__":
    main()
