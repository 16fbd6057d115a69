"""The options of a command that say how the network is computed: engine, precision, region, memory."""

from __future__ import annotations

import argparse
import re
from typing import Any

from atldas.common.errors import UserError

UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


def add_computing_options(verb: argparse.ArgumentParser) -> None:
    """What `computing` reads. The names are repeated here, because the engines import PyTorch, and help need not."""
    verb.add_argument(
        "--engine",
        default="auto",
        help="auto, torch, onnxruntime or openvino (default: auto, the fastest installed; a line on stderr says which)",
    )
    verb.add_argument("--precision", default="auto", help="auto, fp32, bf16 or fp16 (default: auto; fp32 on a CPU)")
    verb.add_argument(
        "--region",
        default="exact",
        help="exact: the network sees the whole image; near: only what is near unknown pixels (default: exact)",
    )
    verb.add_argument("--max-memory", metavar="SIZE", help="such as 2GiB; larger images are computed in tiles")


def computing(options: argparse.Namespace) -> dict[str, Any]:
    """The options as keyword arguments of `Matter`.

    Raises:
        UserError: a size that cannot be read.
    """
    max_memory = None if options.max_memory is None else parse_memory(options.max_memory)
    return {
        "engine": options.engine,
        "precision": options.precision,
        "region": options.region,
        "max_memory": max_memory,
    }


def parse_memory(text: str) -> int:
    """`2GiB`, `1500 MB` or a number of bytes, as bytes.

    Raises:
        UserError: anything else.
    """
    found = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,3})?) ?([KMG]I?B|)", text.strip().upper())
    if not found or not float(found[1]):
        raise UserError(f"--max-memory: expected a size such as 2GiB, 1500MB or a number of bytes, got {text[:20]}")
    return int(float(found[1]) * UNITS[found[2]])
