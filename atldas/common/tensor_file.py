"""Tensors in a safetensors file whose bytes depend on the contents alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
from torch import Tensor

from .atomic import atomic_path


def save_tensors(path: str | Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors, on any device, and metadata; equal ones give equal bytes. The file appears whole or not at all.

    Raises:
        UserError: the file cannot be written.
    """
    moved = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    data = _with_sorted_metadata(safetensors.torch.save(moved, dict(metadata)))
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)  # safetensors' own save_file makes files that only their owner can read


def _with_sorted_metadata(data: bytes) -> bytes:
    """A safetensors file with its metadata in the order of the keys; the library writes them in a random order.

    The file is the header's length (8 bytes, little-endian), the header as JSON, filled up with spaces to a multiple of
    8 bytes, and the tensors, whose offsets count from the header's end.
    """
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[end:]
