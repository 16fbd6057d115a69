"""Checksums are those of `sha256sum`, whatever the length of a file or the memory order of an array."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from atldas.common.checksum import sha256_of_arrays, sha256_of_file


@pytest.mark.parametrize("size", [0, 1, 2**20, 2**20 + 1])
def test_files(tmp_path: Path, size: int) -> None:
    data = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    (tmp_path / "file").write_bytes(data)
    assert sha256_of_file(tmp_path / "file") == hashlib.sha256(data).hexdigest()


def test_the_known_digest_of_abc(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256_of_file(tmp_path / "abc") == expected
    assert sha256_of_arrays(np.frombuffer(b"ab", np.uint8), np.frombuffer(b"c", np.uint8)) == expected


def test_arrays_are_read_in_c_order() -> None:
    array = np.arange(12, dtype=np.int16).reshape(3, 4)
    assert sha256_of_arrays(np.asfortranarray(array)) == sha256_of_arrays(array) != sha256_of_arrays(array.T)
