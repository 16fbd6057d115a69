"""Which batches come at which step."""

from __future__ import annotations

import pytest
import torch
from small import SIZE
from small import training_settings as settings

from atldas.common import processes
from cheapmatting.training.stages import Stages

RECIPE = settings(
    steps=2, batch=2, further_stages=[{"steps": 3, "batch": 1, "size": 96}], gradient_accumulation=2, validation=None
)


def test_stages_follow_one_another_and_resume_inside_a_later_one() -> None:
    assert RECIPE.all_steps == 5
    stages = Stages(RECIPE)
    assert [stages.at(step) for step in range(6)] == [(0, 0), (0, 1), (1, 0), (1, 1), (1, 2), (1, 3)]
    whole = list(stages.from_step(0))
    assert [tuple(batch.inputs.shape) for batch in whole] == [(2, 6, SIZE, SIZE)] * 4 + [(1, 6, 96, 96)] * 6
    rest = list(stages.from_step(3))
    assert len(rest) == 4 and all(torch.equal(a.inputs, b.inputs) for a, b in zip(rest, whole[6:], strict=True))
    assert list(stages.from_step(5)) == []


def test_processes_share_the_batches_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = [batch.inputs for batch in Stages(RECIPE).from_step(0)][:4]
    monkeypatch.setattr(processes, "world_size", lambda: 2)
    for rank in (0, 1):
        monkeypatch.setattr(processes, "rank", lambda rank=rank: rank)
        own = [batch.inputs for batch in Stages(RECIPE).from_step(0)][:2]
        assert all(torch.equal(a, b) for a, b in zip(own, alone[rank::2], strict=True))
