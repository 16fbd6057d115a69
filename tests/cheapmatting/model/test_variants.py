"""Variants: a genotype with the network around its cells, and changes to it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small import NETWORK, edited, small_network

from atldas.common.config import to_dict
from atldas.common.errors import UserError
from cheapmatting.model import weights
from cheapmatting.model.variants import variant


def test_a_file_and_changes_make_the_same_network(tmp_path: Path) -> None:
    network = variant(edited(tmp_path, str(NETWORK)))
    assert network.genotype.name == "mine"
    assert network.config == variant("cheapmatting", **NETWORK).config
    assert to_dict(network.config)["width"] == NETWORK["width"]
    assert variant("cheapmatting").config.width == 48


def test_changes_come_before_the_file(tmp_path: Path) -> None:
    path = edited(tmp_path, str(NETWORK))
    changed = variant(path, width=16)
    assert changed.config.width == 16 and changed.config.stem == NETWORK["stem"]


def test_a_models_network_is_taken_but_not_its_weights(tmp_path: Path) -> None:
    trained = small_network(seed=1, width=16)
    weights.save(trained, tmp_path / "model.safetensors")
    torch.manual_seed(2)
    made = variant(tmp_path / "model.safetensors")
    assert made.config == trained.config and made.genotype.cells == trained.genotype.cells
    own, other = made.state_dict(), trained.state_dict()
    assert own.keys() == other.keys() and any(not torch.equal(own[name], other[name]) for name in own)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"width": 7}, "network.width: expected a multiple of 2"),
        ({"wdith": 8}, "network.wdith: unknown key (did you mean width?)"),
    ],
)
def test_faulty_changes_are_named(changes: dict[str, int], said: str) -> None:
    with pytest.raises(UserError) as error:
        variant("cheapmatting", **changes)
    assert said in str(error.value)
