"""What a path or a name means: a file, a run's folder, or something that ships."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from small import NETWORK, edited, small_network

from atldas.common.errors import UserError
from atldas.genotype import Genotype
from cheapmatting.model import weights
from cheapmatting.model.lookup import find_model, find_weights, shipped_genotypes, shipped_weights
from cheapmatting.model.variants import variant


def test_shipped_names() -> None:
    assert set(shipped_weights()) == {"cheapmatting-light"}
    assert {"cheapmatting", "default"} <= set(shipped_genotypes())
    for name, path in {**shipped_genotypes(), **shipped_weights()}.items():
        assert find_model(name) == path and path.is_file()
    assert Genotype.load(find_model("default")).name == "cheapmatting-light"
    # The shipped weights are those of the default variant.
    assert variant("cheapmatting-light").config == variant("default").config


def test_a_file_comes_first_then_a_shipped_name_then_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("cheapmatting").mkdir()
    Path("cheapmatting/genotype.yaml").touch()
    assert find_model("cheapmatting") == shipped_genotypes()["cheapmatting"]
    assert find_model(tmp_path / "cheapmatting") == tmp_path / "cheapmatting/genotype.yaml"
    Path("default").touch()
    assert find_model("default") == Path("default")


def test_a_runs_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"expected a run's folder with model.safetensors or genotype.yaml or variant"):
        find_model(tmp_path)
    edited(tmp_path, str(NETWORK), "genotype")
    assert find_model(tmp_path).name == "genotype.yaml"
    with pytest.raises(
        UserError, match=re.escape(f"{tmp_path}: expected a run's folder with model.safetensors, got a")
    ):
        find_weights(tmp_path)
    weights.save(small_network(), tmp_path / "model.safetensors")
    assert find_model(tmp_path) == find_weights(tmp_path) == tmp_path / "model.safetensors"
    assert variant(tmp_path).config == small_network().config


def test_weights_are_no_genotypes() -> None:
    with pytest.raises(UserError, match=r"cheapmattin: expected a file, a run's folder or a shipped name \(cheapmatt"):
        find_weights("cheapmattin")
    with pytest.raises(UserError, match="default: expected a file"):
        find_weights("default")


def test_the_variant_of_a_model_is_the_network_that_was_trained(tmp_path: Path) -> None:
    # It may differ from the genotype's own `network:` section.
    network = small_network(stem=16, hints=True)
    assert "stem" not in network.genotype.network
    weights.save(network, tmp_path / "m.safetensors")
    found = variant(tmp_path / "m.safetensors")
    assert found.config == network.config and found.genotype.cells == network.genotype.cells
    assert variant(tmp_path / "m.safetensors", stem=24).config.stem == 24
