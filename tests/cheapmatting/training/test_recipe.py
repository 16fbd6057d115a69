"""The recipe of a training: faults in it are named by key, found and allowed."""

from __future__ import annotations

from typing import Any

import pytest
from small import training_settings as settings

from atldas.common.errors import UserError


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"optimizer": {"name": "adam"}},
            'optimizer.name: found "adam" (text), allowed is one of adamw, muon, radam, sgd',
        ),
        ({"optimizer": {"lr": 0}}, "optimizer.lr: found 0 (an integer), allowed is greater than 0"),
        ({"losses": {"l1": 1}}, "losses: found"),
        ({"steps": 0}, "steps: found 0"),
        ({"schema": 2}, "schema: found 2"),
        ({"ema": 1.0}, "ema: found 1.0"),
        ({"precision": "half"}, "precision: found"),
        ({"validation": {"pairs": 0}}, "validation.pairs: found 0"),
        ({"data": {"size": 16}}, "data.size: found 16"),
        ({"workers": -1}, "workers: found -1"),
    ],
)
def test_faulty_settings(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as error:
        settings(**changes)
    assert str(error.value).startswith(f"settings: {message}")
