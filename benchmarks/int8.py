"""The exported network in int8 beside fp32: error and time of static quantization by ONNX Runtime.

    python benchmarks/int8.py --calibration photos --truth photos_truth --out table.md

`photos` holds photographs NAME.png with trimaps NAME_trimap.png, which say what values occur. `photos_truth` holds the
folders image, trimap_narrow and alpha with files of equal names; on these, alphas are measured. Needs the extra `onnx`.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace

from atldas.common.machine import prepare

prepare()  # before torch comes in

import numpy as np
import onnx
import onnxruntime
from onnxruntime.quantization import QuantType, quantize_static

from atldas.common.atomic import write_text
from cheapmatting.arrays import Floats
from cheapmatting.evaluation.metrics import METRICS
from cheapmatting.exporting.checked import export
from cheapmatting.images import read_alpha, read_image
from cheapmatting.model.weights import load
from cheapmatting.trimap import UNKNOWN, encode_trimap, read_trimap

KEPT = {  # what stays in float32
    "int8": (),
    "int8, head and stem in fp32": ("/head/", "/stem"),
    "int8, head, stem and decoder in fp32": ("/head/", "/stem", "/decoder"),
}
COLUMNS = ("differs from fp32, mean", "largest", "SAD", "more SAD", "CPU s per megapixel", "times faster")
HEADER = f"| network | {' | '.join(COLUMNS)} |\n|---{'|---:' * len(COLUMNS)}|"
Inputs = dict[str, Floats]


def inputs(image: Path, trimap: Path) -> Inputs:
    """One photograph as the exported network takes it."""
    rgb = read_image(image).transpose(2, 0, 1)[None] / np.float32(255)
    return {"image": rgb, "trimap": encode_trimap(read_trimap(trimap))[None]}


def quantized(model: Path, made: Path, pairs: list[Inputs], kept: tuple[str, ...]) -> Path:
    """Convolutions in int8 (QDQ, weights per channel) but for those of norms, and with one of `kept` in their names."""
    graph = onnx.load(model).graph
    learned = {array.name for array in graph.initializer}  # the averages of norms are constants
    nodes = [node for node in graph.node if node.op_type == "Conv"]
    reader = SimpleNamespace(get_next=partial(next, iter(pairs), None))  # asked which values occur
    exact = [n.name for n in nodes if n.input[1] not in learned or any(part in n.name for part in kept)]
    quantize_static(
        model, made, reader, per_channel=True, op_types_to_quantize=["Conv"], nodes_to_exclude=exact,
        activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
    )  # fmt: skip
    return made


def mattes(model: Path, pairs: list[Inputs], repeats: int) -> tuple[list[Floats], float]:
    """Alphas [H, W], and seconds of one thread of the processor per megapixel: the least of `repeats` rounds."""
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads, settings.log_severity_level = 1, 3
    session = onnxruntime.InferenceSession(model, settings, providers=["CPUExecutionProvider"])
    least = float("inf")
    for _ in range(repeats):
        start = time.process_time()
        alphas = [session.run(["alpha"], pair)[0][0, 0] for pair in pairs]
        least = min(least, time.process_time() - start)
    return alphas, least / sum(alpha.size for alpha in alphas) * 1e6


def table(weights: str, calibration: Path, truth: Path, repeats: int) -> str:
    """Markdown: a row for fp32, and one for each of `KEPT`."""
    marks = sorted(calibration.glob("*_trimap.png"))
    known = [inputs(path.with_name(path.name.replace("_trimap", "")), path) for path in marks]
    images, trimaps, truths = (sorted((truth / name).iterdir()) for name in ("image", "trimap_narrow", "alpha"))
    pairs = [inputs(*files) for files in zip(images, trimaps, strict=True)]
    truth_and_trimap = [(read_alpha(a), read_trimap(b)) for a, b in zip(truths, trimaps, strict=True)]

    def sad(alphas: list[Floats]) -> float:
        return float(np.mean([METRICS["SAD"](a, *files) for a, files in zip(alphas, truth_and_trimap, strict=True)]))

    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "fp32.onnx"
        export(load(weights), model, "onnx")
        plain, slow = mattes(model, pairs, repeats)
        lines = [HEADER, f"| fp32 | | | {sad(plain):.2f} | | {slow:.2f} | |"]
        for name, kept in KEPT.items():
            alphas, seconds = mattes(quantized(model, Path(folder) / "int8.onnx", known, kept), pairs, repeats)
            both = zip(alphas, plain, truth_and_trimap, strict=True)
            off = np.concatenate([np.abs(a - b)[trimap == UNKNOWN] * 255 for a, b, (_, trimap) in both])
            errors = f"{off.mean():.2f} | {off.max():.0f} | {sad(alphas):.2f} | {sad(alphas) / sad(plain) - 1:+.1%}"
            lines.append(f"| {name} | {errors} | {seconds:.2f} | {slow / seconds:.2f} |")
    return "\n".join(lines) + "\n"


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calibration", type=Path, required=True, help="photographs NAME.png with NAME_trimap.png")
    parser.add_argument("--truth", type=Path, required=True, help="a folder with image, trimap_narrow and alpha")
    parser.add_argument("--weights", default="cheapmatting-light")
    parser.add_argument("--repeats", type=int, default=3, help="rounds that are timed (default: 3)")
    parser.add_argument("--out", type=Path, required=True, help="the table")
    options = parser.parse_args(words)
    write_text(options.out, table(options.weights, options.calibration, options.truth, options.repeats))


if __name__ == "__main__":
    main()
