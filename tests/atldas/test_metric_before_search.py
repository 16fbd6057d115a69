"""A task's metric is tried before the first step of a search, and the search does not notice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from small_search import data_folder, experiment
from torch import nn

from atldas.classification import ImageFolderTask
from atldas.common.errors import UserError
from atldas.genotype import Genotype
from atldas.searching import search

CPU = torch.device("cpu")


class TensorMetric(ImageFolderTask):
    def measure(self, network: nn.Module) -> Any:
        torch.rand(7)  # moves the random generator
        return torch.tensor([super().measure(network)])


class NoMetric(ImageFolderTask):
    def measure(self, network: nn.Module) -> Any:
        return None


SETTINGS: dict[str, Any] = {
    "search": {"steps": 3, "log_every": 1}, "evaluation": {"most_probable": 2, "samples": 0},
}  # fmt: skip


def test_a_metric_may_be_a_tensor_and_its_check_changes_no_search(tmp_path: Path) -> None:
    data_folder(tmp_path)
    for name, task in (("plain", "atldas.classification:ImageFolderTask"), ("tensor", f"{__name__}:TensorMetric")):
        assert search(experiment(tmp_path, task=task, **SETTINGS), tmp_path / name, CPU) is not None
    assert (tmp_path / "tensor" / "log.csv").read_bytes() == (tmp_path / "plain" / "log.csv").read_bytes()
    found, expected = (Genotype.load(tmp_path / name / "genotype.yaml") for name in ("tensor", "plain"))
    assert found.cells == expected.cells
    assert dict(found.provenance["scores"]) == pytest.approx(dict(expected.provenance["scores"]))
    assert all(type(score) is float for score in found.provenance["scores"].values())


def test_a_metric_that_is_no_number_is_told_before_the_search(tmp_path: Path) -> None:
    data_folder(tmp_path)
    with pytest.raises(UserError, match=r":NoMetric: expected one number from `measure`, got NoneType$"):
        search(experiment(tmp_path, task=f"{__name__}:NoMetric"), tmp_path / "run", CPU)
    assert not (tmp_path / "run").exists()
