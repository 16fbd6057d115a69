"""What a search has cost: exact image counts, and sums over its attempts."""

from __future__ import annotations

import copy
import json
import time
from pathlib import Path

import pytest
import torch
from small_search import CPU, STEPS, data_folder, experiment
from torch import nn

from atldas.common.errors import UserError
from atldas.common.forked import in_processes
from atldas.searching import search
from atldas.spent import Spent, read_spent


def test_a_search_counts_its_images(tmp_path: Path) -> None:
    """Each of 14 weight steps trains on a batch of 4; each of 12 architecture steps judges 2 children on one."""
    made = experiment(data_folder(tmp_path), evaluation={"rungs": [{"oracle": "short_training", "steps": 3}]})
    found = search(made, tmp_path / "run", CPU)
    assert found is not None
    spent = read_spent(tmp_path / "run" / "spent.json")
    assert spent["images_trained"] == 4 * (STEPS + 3 * len(found.candidates))
    measured = 2  # images in the third part of 24: measured once before the search, and once for every candidate
    assert spent["images_judged"] >= 4 * 2 * (STEPS - 2) + (1 + len(found.candidates)) * measured
    assert spent["seconds"] > 0 and spent["cpu_seconds"] > 0 and spent["peak_mib"] > 50


def test_attempts_add_up_and_the_most_memory_counts(tmp_path: Path) -> None:
    path = tmp_path / "spent.json"
    path.write_text(json.dumps({"seconds": 1000.0, "images_trained": 30, "images_judged": 7, "peak_mib": 1e9}))

    class Task:
        def build(self, builder: object) -> nn.Module:
            return nn.Conv2d(1, 1, 1)

    spent = Spent(path)
    task = Task()
    spent.watch(task)  # type: ignore[arg-type]
    network = task.build(None)
    network(torch.zeros(5, 1, 2, 2))
    with torch.no_grad():
        network(torch.zeros(2, 1, 2, 2))
    spent.write()
    found = read_spent(path)
    assert found["images_trained"] == 35 and found["images_judged"] == 9 and found["peak_mib"] == 1e9
    assert 1000 <= found["seconds"] < 1100


def test_what_forked_processes_do_counts(tmp_path: Path) -> None:
    class Task:
        def build(self, builder: object) -> nn.Module:
            return nn.Conv2d(1, 1, 1)

    spent, task = Spent(tmp_path / "spent.json"), Task()
    spent.watch(task)  # type: ignore[arg-type]
    network = copy.deepcopy(task.build(None))

    def work(count: int) -> int:
        network(torch.zeros(count, 1, 2, 2))
        begun = time.process_time()
        while time.process_time() - begun < 0.2:
            pass
        return count

    before = spent.figures()["cpu_seconds"]
    assert list(in_processes(work, [2, 3, 4], 2)) == [2, 3, 4]
    assert spent.figures()["images_trained"] == 9
    assert spent.figures()["cpu_seconds"] - before >= 0.6


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "spent.json").write_text("[1]")
    with pytest.raises(UserError, match=r"spent\.json: is damaged"):
        read_spent(tmp_path / "spent.json")
