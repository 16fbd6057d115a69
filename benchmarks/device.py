"""Everything that the project claims for a device, checked in ten minutes at most: one command, one Markdown table.

    pip install -e '.[onnx,openvino]'                        # with onnxruntime-gpu in place of onnxruntime on CUDA
    python benchmarks/device.py                              # the best device; experiments/results/device_DEVICE.md
    python benchmarks/device.py --device cuda:1 --out table.md
    python benchmarks/device.py --device cpu --small         # the same checks in seconds, as the tests run them

Each check is a process of its own, so that one that dies leaves the others and their memory alone; with `--small` all
are in this one. A check that fails is a row that says so, and the exit status is 1. One that does not apply says why.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

from atldas.common.machine import prepare

prepare()

import torch
from device_checks import CHECKS, FAILS, Place, Row

from atldas.common.atomic import write_text
from atldas.common.device import choose
from atldas.common.errors import exit_status
from cheapmatting.inference.self_test import first_line

MOST = 0.4  # of the time, for one check: TensorRT and the compiler take minutes


def rows_of(name: str, at: Place) -> Iterator[Row]:
    """The rows of a check; its error is one too."""
    try:
        yield from CHECKS[name](at)
    except Exception as error:  # of any kind: it is what is looked for
        traceback.print_exc()
        yield Row(name, "", "", FAILS + first_line(error))


def rows_in_a_process(command: list[str], name: str, limit: float) -> list[Row]:
    """The rows that a process prints as JSON, a line each; its death or its time is one too."""
    if limit <= 0:
        return [Row(name, "", "", f"{FAILS}the time was over before it began")]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, timeout=limit)
        text, end = done.stdout, f"its process ended with status {done.returncode}" if done.returncode else ""
    except subprocess.TimeoutExpired as error:
        text, end = error.stdout or b"", f"not finished after {limit:.0f} s"
    rows = [Row(*json.loads(line)) for line in text.decode().splitlines() if line.startswith('["')]
    return [*rows, Row(name, "", "", FAILS + end)] if end else rows


def table(rows: list[Row], at: Place) -> str:
    """Markdown."""
    small = ", small" if at.small else ""
    versions = f"PyTorch {torch.__version__}, {torch.get_num_threads()} threads"
    head = f"`python benchmarks/device.py`{small}; {name_of(at)}, {versions}."
    lines = [" | ".join(cell.replace("|", "/") for cell in row) for row in rows]
    return "\n".join([head, "", "| check | of | result | verdict |", "|---|---|---|---|", *(f"| {x} |" for x in lines)])


def name_of(at: Place) -> str:
    """The GPU's name, or the kind of the device."""
    return torch.cuda.get_device_name(at.device) if at.device.type == "cuda" else at.device.type


def run(arguments: list[str] | None = None) -> int:
    """The command; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps (default: auto)")
    parser.add_argument("--small", action="store_true", help="small networks and pictures, all in this process")
    parser.add_argument("--minutes", type=float, default=10, help="what has not finished then fails (default: 10)")
    parser.add_argument("--out", type=Path, help="the table (default: experiments/results/device_DEVICE.md)")
    parser.add_argument("--check", choices=CHECKS, help=argparse.SUPPRESS)  # one, in a process of its own
    options = parser.parse_args(arguments)
    at, end = Place(choose(options.device), options.small), time.monotonic() + 60 * options.minutes
    if options.check:
        for row in rows_of(options.check, at):
            print(json.dumps(row), flush=True)
        return 0
    out = options.out or Path("experiments/results") / f"device_{re.sub(r'[^a-z0-9]+', '_', name_of(at).lower())}.md"
    rows: list[Row] = []
    for check in CHECKS:
        command = [sys.executable, __file__, "--device", str(at.device), "--check", check]
        limit = min(end - time.monotonic(), MOST * 60 * options.minutes)
        found = rows_of(check, at) if at.small else rows_in_a_process(command, check, limit)
        for row in found:
            rows.append(row)
            print(" | ".join(row), flush=True)
        write_text(out, table(rows, at) + "\n")
    print(out)
    return 1 if any(row.verdict.startswith(FAILS) for row in rows) else 0


if __name__ == "__main__":
    raise SystemExit(exit_status(run))
