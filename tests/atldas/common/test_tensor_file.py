"""Tensor files: what was written is read back, and equal contents give equal bytes."""

from __future__ import annotations

from pathlib import Path

import pytest
import safetensors
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from atldas.common.errors import UserError
from atldas.common.tensor_file import save_tensors

KEYS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=8)


@settings(max_examples=40)
@given(
    metadata=st.dictionaries(KEYS, st.text(max_size=20), min_size=1, max_size=6),
    sizes=st.lists(st.integers(0, 5), min_size=1, max_size=4),
)
def test_what_was_written_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, metadata: dict[str, str], sizes: list[int]
) -> None:
    path = tmp_path_factory.getbasetemp() / "tensors.safetensors"
    tensors = {f"t{number}": torch.arange(size, dtype=torch.float32) for number, size in enumerate(sizes)}
    save_tensors(path, tensors, metadata)
    with safetensors.safe_open(path, "pt") as file:
        assert file.metadata() == metadata
        assert set(file.keys()) == set(tensors)
        for name, tensor in tensors.items():
            assert torch.equal(file.get_tensor(name), tensor)


def test_equal_contents_give_equal_bytes_whatever_the_order(tmp_path: Path) -> None:
    for number, keys in enumerate(["abcdefgh", "hgfedcba", "abcdefgh", "dcbahgfe"]):
        save_tensors(tmp_path / str(number), {"a": torch.eye(3)}, {key: key for key in keys})
    contents = {(tmp_path / str(number)).read_bytes() for number in range(4)}
    assert len(contents) == 1 and len(contents.pop()) % 4 == 0


def test_a_view_is_written_as_what_it_shows(tmp_path: Path) -> None:
    save_tensors(tmp_path / "view", {"t": torch.arange(6.0).reshape(2, 3).T}, {})
    with safetensors.safe_open(tmp_path / "view", "pt") as file:
        assert file.get_tensor("t").tolist() == [[0, 3], [1, 4], [2, 5]]


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        save_tensors(tmp_path / "file" / "model", {"t": torch.ones(1)}, {})
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
