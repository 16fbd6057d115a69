"""benchmarks/wide_bands.py: the table of what half the size first changes, with its control."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from scripts import load_script
from small import small_network

from cheapmatting.inference import scales
from cheapmatting.model import weights

pytestmark = pytest.mark.usefixtures("one_thread")
RECIPE = """
schema: 1
steps: 1
validation:
  data: {size: 64, sources: [{kind: synthetic, kinds: [sharp]}]}
"""


def rows(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    network = small_network().eval()
    network.head[4].bias.data.fill_(0.5)  # alphas in the middle of the range
    weights.save(network, folder / "model.safetensors")
    (folder / "recipe.yaml").write_text(RECIPE)
    script = load_script("benchmarks/wide_bands.py")
    arguments = ["--config", folder / "recipe.yaml", "--weights", folder / "model.safetensors", "--count", "3"]
    monkeypatch.setattr(
        sys, "argv", ["wide_bands.py", *map(str, arguments), "--size", "96", "--out", str(folder / "t.md")]
    )
    script.run()
    (line,) = (folder / "t.md").read_text().splitlines()[2:]
    return line.strip("| ").split(" | ")


def test_small_pairs_have_no_wide_bands_and_all_ways_are_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name, count, wide, half, one, auto, control, verdict, _ = rows(tmp_path, monkeypatch)
    assert (name, count, wide, verdict) == ("pairs of 96 pixels", "3", "0", "0, 0")
    assert one == auto == control and 0 < float(half) < 96 * 96 / 2000


def test_wide_bands_are_counted_and_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is clear at half the size, so that `auto` differs from `one`."""
    monkeypatch.setattr(scales, "SMALLEST", 32)
    monkeypatch.setattr(scales, "DEEP", 2)
    monkeypatch.setattr(scales, "CLEAR", 0.6)
    _, _, wide, _, one, auto, *_ = rows(tmp_path, monkeypatch)
    assert wide == "3" and one != auto
