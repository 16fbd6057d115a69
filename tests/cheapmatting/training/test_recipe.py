"""The recipe of a training: faults in it are named by key, with what was expected and what came."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from small import training_settings as settings

from atldas.common.errors import UserError
from atldas.common.yaml_text import to_yaml
from cheapmatting.training.recipe import read_recipe


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimizer": {"name": "adam"}}, 'optimizer.name: expected one of adamw, muon, radam, sgd, got "adam" (text)'),
        ({"optimizer": {"lr": 0}}, "optimizer.lr: expected more than 0, got 0 (an integer)"),
        ({"losses": {"l1": 1}}, "losses: expected one or more of l1_unknown"),
        ({"steps": 0}, "steps: expected 1 or more, got 0"),
        ({"schema": 2}, "schema: expected 1, got 2"),
        ({"ema": 1.0}, "ema: expected 0.99999 or less, got 1.0"),
        ({"calibration": {"pairs": 0}}, "calibration.pairs: expected 1 or more, got 0"),
        ({"calibration": {"pairs": 300}}, "calibration: expected last to be at least pairs, 300, got"),
        ({"precision": "half"}, 'precision: expected auto, float32, bfloat16 or float16, got "half"'),
        ({"validation": {"pairs": 0}}, "validation.pairs: expected 1 or more, got 0"),
        ({"data": {"size": 16}}, "data.size: expected 32 or more, got 16"),
        ({"batch": 10**9}, "batch: expected 65536 or less, got 1000000000"),
        ({"data": {"size": 10**9}}, "data.size: expected 8192 or less, got 1000000000"),
        ({"further_stages": [{"steps": 1, "batch": 10**9, "size": 64}]}, "further_stages[0].batch: expected 65536 or"),
        ({"further_stages": [{"steps": 1, "batch": 1, "size": 10**9}]}, "further_stages[0].size: expected 8192 or"),
        ({"gradient_accumulation": 10**9}, "gradient_accumulation: expected 65536 or less"),
        ({"validation": {"pairs": 10**9}}, "validation.pairs: expected 100000 or less"),
        ({"workers": 10**9}, "workers: expected 1024 or less"),
        ({"seed": 2**32}, "seed: expected 4294967295 or less, got 4294967296"),
        ({"workers": -1}, "workers: expected 0 or more, got -1"),
    ],
)
def test_faulty_settings(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as error:
        settings(**changes)
    assert str(error.value).startswith(f"settings: {message}")


def test_a_shipped_recipe_is_found_by_its_name_in_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = read_recipe("train_small", ["steps=7"])
    assert (recipe.steps, recipe.schema) == (7, 1)
    Path("train_small").write_text(to_yaml({"schema": 1, "steps": 3}))  # a file of that name comes first
    assert read_recipe("train_small").steps == 3
    with pytest.raises(
        UserError, match=r"^train_smal: expected a file or a shipped recipe \(.*train_small.*got neither"
    ):
        read_recipe("train_smal")
