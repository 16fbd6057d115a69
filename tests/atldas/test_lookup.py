"""Which genotype a path or a name means."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from atldas.common.errors import UserError
from atldas.genotype import CellGenotype, Edge, Genotype
from atldas.lookup import find_genotype

CELL = CellGenotype(1, ((Edge("skip_connect", 0),),), (1,))


def named(name: str) -> Genotype:
    return Genotype(name, {"normal": CELL}, {"width": 8})


def write_model(path: Path, **metadata: str) -> None:
    path.write_bytes(save({"x": np.zeros(2, np.float32)}, metadata or None))


def test_a_run_is_read_by_what_it_leaves(tmp_path: Path) -> None:
    write_model(tmp_path / "model.safetensors", genotype=named("trained").to_json())
    assert find_genotype(tmp_path) == find_genotype(tmp_path / "model.safetensors") == named("trained")
    named("variant").save(tmp_path / "variant.yaml")
    assert find_genotype(str(tmp_path)) == named("variant")
    named("searched").save(tmp_path / "genotype.yaml")
    assert find_genotype(tmp_path) == named("searched")
    assert find_genotype(tmp_path / "variant.yaml") == named("variant")


def test_a_shipped_name_is_not_hidden_by_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cheapmatting").mkdir()
    assert find_genotype("cheapmatting") == Genotype.load("cheapmatting")


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ({}, r"m\.safetensors: expected a model with its genotype in the metadata, got one without"),
        ({"format": "pt"}, "got one without"),
        ({"genotype": '{"schema": 1}'}, r"m\.safetensors \(metadata\): name: expected a value, got nothing"),
        ({"genotype": "["}, r"m\.safetensors \(metadata\): expected valid YAML"),
        (None, r"m\.safetensors: expected a whole safetensors file, got a damaged one"),
    ],
)
def test_a_model_without_a_genotype_is_named(tmp_path: Path, metadata: dict[str, str] | None, said: str) -> None:
    path = tmp_path / "m.safetensors"
    if metadata is None:
        path.write_bytes(b"damaged")
    else:
        write_model(path, **metadata)
    with pytest.raises(UserError, match=said) as error:
        find_genotype(path)
    assert "\n" not in str(error.value)


def test_a_folder_or_a_name_without_a_genotype_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"expected a run's folder with genotype\.yaml or variant\.yaml, got a folder"):
        find_genotype(tmp_path)
    with pytest.raises(UserError, match=r"expected a file or a shipped genotype \(.*cheapmatting.*\), got neither"):
        find_genotype("cheapmating")
