"""Matting as a search's task: its batches, its metric, and a search with it."""

from __future__ import annotations

import csv
import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from small import NETWORK

from atldas.builder import FixedBuilder
from atldas.common.config import from_dict, to_dict
from atldas.common.errors import UserError
from atldas.experiment import Experiment
from atldas.genotype import Genotype
from atldas.searching import search
from cheapmatting.evaluation.metrics import sad
from cheapmatting.model.network import CheapMatting, NetworkConfig
from cheapmatting.task import MattingOptions, MattingTask
from cheapmatting.training.validation import predict

CPU = torch.device("cpu")
OPTIONS = {
    "network": NETWORK, "data": {"size": 64}, "batch": 2, "training_pairs": 5, "held_out_pairs": 3,
    "measured_pairs": 2, "losses": {"l1_unknown": 1.0, "gradient": 0.5},
}  # fmt: skip


def task(seed: int = 0, **changes: object) -> MattingTask:
    return MattingTask(from_dict(MattingOptions, {**OPTIONS, **changes}, "options"), seed, CPU)


def test_batch_n_is_the_same_whatever_the_start() -> None:
    for name in ("training_batches", "held_out_batches"):
        first = list(itertools.islice(getattr(task(), name)(0), 6))
        later = list(itertools.islice(getattr(task(), name)(3), 3))
        for a, b in zip(first[3:], later, strict=True):
            assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_a_pool_comes_round() -> None:
    # Batches of 2 from 5 pairs: batch 5 holds pairs 10 and 11, which are pairs 0 and 1.
    drawn = list(itertools.islice(task().training_batches(0), 6))
    assert torch.equal(drawn[5].alpha, drawn[0].alpha)
    assert torch.equal(drawn[2].alpha[1], drawn[0].alpha[0])
    assert not torch.equal(drawn[1].alpha, drawn[0].alpha)


def test_the_three_parts_and_seeds_differ() -> None:
    drawn = [
        pool[0].alpha for seed in (0, 1) for of in [task(seed)] for pool in (of.training, of.held_out, of.measured)
    ]
    assert all(not np.array_equal(a, b) for a, b in itertools.combinations(drawn, 2))


def test_the_metric_is_the_mean_sad_of_the_third_part() -> None:
    matting = task()
    network = matting.build(FixedBuilder(Genotype.load("cheapmatting"))).eval()
    pairs = [matting.measured[index] for index in range(2)]
    by_hand = [sad(predict(network, sample, CPU), sample.alpha, sample.trimap) for sample in pairs]
    assert matting.measure(network) == pytest.approx(np.mean(by_hand), rel=1e-9)


def test_the_loss_is_the_configured_one() -> None:
    matting = task()
    network = matting.build(FixedBuilder(Genotype.load("cheapmatting"))).eval()
    batch = next(matting.training_batches(0))
    error = (network(batch.inputs) - batch.alpha) * batch.unknown
    gradient = error.diff(dim=2).abs().sum() + error.diff(dim=3).abs().sum()
    expected = (error.abs().sum() + 0.5 * gradient) / batch.unknown.sum()
    assert matting.loss(network, batch).item() == pytest.approx(expected.item(), rel=1e-5)


def test_the_network_section_builds_the_same_network() -> None:
    section = task().network_section()
    config = from_dict(NetworkConfig, section, "section")
    assert config == task().options.network and to_dict(config) == section
    assert section["width"] == 8 and section["reductions"] == [1, 2]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bach": 2}, "task_options.bach: unknown key (did you mean batch?)"),
        ({"network": {"width": 7}}, "task_options.network.width: expected a multiple of 2 from 2 to 1024"),
        ({"losses": {"l2": 1}}, "task_options.losses: expected one or more of l1_unknown"),
        ({"measured_pairs": 0}, "task_options.measured_pairs: expected 1 or more, got 0"),
        ({"batch": 10**9}, "task_options.batch: expected 65536 or less, got 1000000000"),
        ({"data": {"size": 10**9}}, "task_options.data.size: expected 8192 or less, got 1000000000"),
    ],
)
def test_faulty_options(changes: dict[str, object], message: str) -> None:
    with pytest.raises(UserError) as error:
        from_dict(MattingOptions, {**OPTIONS, **changes}, "mine.yaml", at="task_options")
    assert str(error.value).startswith(f"mine.yaml: {message}")


def test_a_search(tmp_path: Path) -> None:
    experiment = from_dict(Experiment, {
        "schema": 2, "name": "tiny", "space": "matting", "task": "cheapmatting.task:MattingTask",
        "task_options": OPTIONS,
        "search": {"steps": 6, "architecture": {"start": 2}, "log_every": 1},
        "strategy_options": {"children": 2},
        "evaluation": {
            "most_probable": 2, "samples": 1, "rungs": [{"oracle": "inherited", "calibration_batches": 20}]
        },
    }, "experiment")  # fmt: skip
    found = search(experiment, tmp_path, CPU)
    assert found is not None
    figure = found.candidates[0].figures["inherited"]
    genotype = Genotype.load(tmp_path / "genotype.yaml")
    assert genotype == found.genotype
    assert NetworkConfig.of(genotype) == task().options.network
    network = CheapMatting(genotype)
    network.load_state_dict(found.search.inherited(found.candidates[0].child).state_dict())
    # Another memory order, another order of sums: a level of 255 may round the other way.
    assert task().measure(network.eval()) == pytest.approx(figure, rel=1e-4)
    with (tmp_path / "candidates.csv").open() as file:
        rows = list(csv.DictReader(file))
    metrics = [float(row["SAD_inherited"]) for row in rows]
    assert metrics == sorted(metrics) and metrics[0] == figure and len(rows) >= 2
    assert genotype.provenance["scores"]["SAD_inherited"] == figure
