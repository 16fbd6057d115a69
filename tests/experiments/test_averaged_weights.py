"""experiments/recipes/averaged_weights.py: weights between two models."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from scripts import load_script
from small import small_network

from atldas.common.errors import UserError
from cheapmatting.model import weights

script = load_script("experiments/recipes/averaged_weights.py")


def test_it_is_the_mean_with_the_shares(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = small_network(seed=0), small_network(seed=1)
    weights.save(first, tmp_path / "a.safetensors")
    weights.save(second, tmp_path / "b.safetensors")
    files = [str(tmp_path / name) for name in ("a.safetensors", "b.safetensors")]
    for share in ("0", "0.25", "1"):
        monkeypatch.setattr(sys, "argv", ["x", *files, "--share", share, "--out", str(tmp_path / "c.safetensors")])
        script.run()
        found = weights.load(tmp_path / "c.safetensors").state_dict()
        for name, tensor in second.state_dict().items():
            wanted = torch.lerp(first.state_dict()[name].double(), tensor.double(), float(share))
            torch.testing.assert_close(found[name].double(), wanted, rtol=1e-3, atol=1e-4)


def test_statistics_are_those_of_the_pairs_of_a_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are not those of the file, and the same with another batch."""
    monkeypatch.setattr(script, "PAIRS", 4)
    (tmp_path / "recipe.yaml").write_text("{schema: 1, steps: 1, batch: 4, data: {size: 32}}")
    found = []
    for batch in (4, 2):
        network = small_network()
        before = {name: buffer.clone() for name, buffer in network.named_buffers() if name.endswith("running_mean")}
        recipe = script.read_recipe(tmp_path / "recipe.yaml", [f"batch={batch}"])
        buffers = dict(script.calibrated(network, recipe).named_buffers())
        found.append({name: buffers[name] for name in before})
        assert not network.training and all(not torch.equal(buffers[name], value) for name, value in before.items())
    first = next(iter(found[0]))  # behind the first convolution: later ones see what the batch's own statistics make
    torch.testing.assert_close(found[0][first], found[1][first], rtol=1e-3, atol=1e-4)


def test_other_shares_and_other_networks_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="two models of one network"):
        script.averaged(small_network(), weights.load("cheapmatting-light"), 0.5)
    monkeypatch.setattr(sys, "argv", ["x", "a", "b", "--share", "2", "--out", str(tmp_path / "c")])
    with pytest.raises(UserError, match="--share: expected 0 to 1, got 2"):
        script.run()
