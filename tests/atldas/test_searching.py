"""A whole search: what it writes, that it resumes to the same bits, and that it learns."""

from __future__ import annotations

import csv
import math
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import pytest
import torch
from torch import Tensor, nn
from toy import SPACE_FILE, image_folder

from atldas.classification import ImageFolderTask
from atldas.common.config import from_dict, to_dict
from atldas.common.errors import UserError
from atldas.common.runfolder import load_checkpoint, read_log
from atldas.genotype import Genotype
from atldas.searching import COLUMNS, Experiment, Search, search

CPU = torch.device("cpu")
STEPS = 14


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of images and a small space's file."""
    folder = tmp_path_factory.mktemp("data")
    image_folder(folder / "stripes")
    (folder / "small.yaml").write_text(SPACE_FILE)
    return folder


def experiment(data: Path, sampler: str = "straight_through", **settings: Any) -> Experiment:
    return from_dict(
        Experiment,
        {
            "schema": 1,
            "name": "stripes",
            "space": str(data / "small.yaml"),
            "task": "atldas.classification:ImageFolderTask",
            "task_options": {"folder": str(data / "stripes"), "image_size": 16, "channels": 4, "depth": 3, "batch": 4},
            "seed": 3,
            "search": {
                "steps": STEPS,
                "architecture": {"sampler": sampler, "lr": 0.3, "start": 2, "macs_weight": 0.1},
                "pruning": {"threshold": 0.25, "patience": 2, "every": 2},
                "log_every": 1,
                "checkpoint_every": 5,
            },
            "evaluation": {"most_probable": 3, "samples": 2, "calibration_batches": 2},
            **settings,
        },
        "experiment",
    )


def at_call(number: int, act: Callable[[], object]) -> Callable[..., Tensor]:
    """`ImageFolderTask.loss`, doing `act` at its call of that number."""
    calls = 0
    original = ImageFolderTask.loss

    def loss(self: ImageFolderTask, network: nn.Module, batch: Any) -> Tensor:
        nonlocal calls
        calls += 1
        if calls == number:
            act()
        return original(self, network, batch)

    return loss


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_writes_everything_and_a_genotype_that_loads(data: Path, tmp_path: Path) -> None:
    made = experiment(data)
    winner = search(made, tmp_path / "run", CPU, command="atldas search e.yaml")
    assert winner is not None
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        "config.yaml", "checkpoint.pt", "log.csv", "tensorboard", "genotype.yaml", "candidates.csv", "cells.png",
        "curves.png", "pruned.csv",
    }  # fmt: skip
    assert list((tmp_path / "run" / "tensorboard").glob("events.out.tfevents.*"))
    for name in ("cells.png", "curves.png"):
        assert cv2.imread(str(tmp_path / "run" / name)).std() > 1

    genotype = Genotype.load(tmp_path / "run" / "genotype.yaml")
    assert genotype == winner.child and genotype.name == "stripes" and set(genotype.cells) == {"normal", "reduce"}
    assert genotype.network["channels"] == 4
    assert genotype.provenance["scores"]["accuracy"] == winner.recalibrated
    assert genotype.provenance["command"] == "atldas search e.yaml" and genotype.provenance["seed"] == 3

    with (tmp_path / "run" / "candidates.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    accuracies = [float(row["accuracy_recalibrated"]) for row in table]
    assert 3 <= len(table) <= 5 and accuracies == sorted(accuracies, reverse=True)
    assert len({row["cells"] for row in table}) == len(table)
    assert float(table[0]["accuracy_recalibrated"]) == winner.recalibrated

    rows = read_log(tmp_path / "run")
    assert [int(row["step"]) for row in rows] == list(range(STEPS)) and tuple(rows[0]) == ("step", *COLUMNS)
    assert [row["held_out_loss"] == "" for row in rows] == [True, True] + [False] * (STEPS - 2)
    assert all(math.isfinite(float(value)) for row in rows for value in row.values() if value)
    assert float(rows[0]["uniform_share"]) == 1.0 and float(rows[0]["temperature"]) == 5.0
    assert float(rows[0]["entropy"]) == pytest.approx(2 * math.log(2 * 3 * 3 * 3), abs=1e-4)
    assert float(rows[0]["weight_free_share"]) == pytest.approx(2 / 3)
    assert from_dict(Experiment, to_dict(made), "again") == made


def same_results(a: Path, b: Path) -> None:
    assert (a / "log.csv").read_bytes() == (b / "log.csv").read_bytes()
    assert (a / "candidates.csv").read_bytes() == (b / "candidates.csv").read_bytes()
    assert (a / "pruned.csv").read_bytes() == (b / "pruned.csv").read_bytes()
    assert Genotype.load(a / "genotype.yaml").cells == Genotype.load(b / "genotype.yaml").cells
    first, second = load_checkpoint(a / "checkpoint.pt"), load_checkpoint(b / "checkpoint.pt")
    for part in ("supernet", "distribution", "pruner"):
        assert first[part].keys() == second[part].keys()
        for name, tensor in first[part].items():
            assert torch.equal(tensor, second[part][name]), name


@pytest.mark.parametrize("sampler", ["straight_through", "score_function"])
def test_an_interrupted_search_resumes_to_the_same_bits(
    data: Path, tmp_path: Path, sampler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = experiment(data, sampler)
    assert search(made, tmp_path / "whole", CPU) is not None

    with monkeypatch.context() as patch:
        patch.setattr(ImageFolderTask, "loss", at_call(12, interrupt))  # steps 0 and 1 have one loss, the others two
        assert search(made, tmp_path / "parts", CPU) is None
    assert load_checkpoint(tmp_path / "parts" / "checkpoint.pt")["step"] == 7
    assert not (tmp_path / "parts" / "genotype.yaml").exists()
    with monkeypatch.context() as patch:
        patch.setattr(ImageFolderTask, "loss", at_call(3, interrupt))  # and once more, between two checks of pruning
        assert search(made, tmp_path / "parts", CPU, resume=True) is None
    assert search(made, tmp_path / "parts", CPU, resume=True) is not None
    same_results(tmp_path / "whole", tmp_path / "parts")

    pruned = load_checkpoint(tmp_path / "whole" / "checkpoint.pt")["distribution"]
    removed = sum(int((~mask).sum()) for name, mask in pruned.items() if "allowed" in name)
    told = (tmp_path / "whole" / "pruned.csv").read_text().splitlines()
    assert removed > 0 and len(told) == 1 + removed
    # A finished search resumes to its results once more.
    assert search(made, tmp_path / "parts", CPU, resume=True) is not None
    same_results(tmp_path / "whole", tmp_path / "parts")


def test_a_killed_search_resumes_from_its_last_checkpoint(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = experiment(data)
    search(made, tmp_path / "whole", CPU)

    def die() -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(ImageFolderTask, "loss", at_call(14, die))
        with pytest.raises(MemoryError):
            search(made, tmp_path / "parts", CPU)
    assert load_checkpoint(tmp_path / "parts" / "checkpoint.pt")["step"] == 5
    assert len(read_log(tmp_path / "parts")) > 5
    search(made, tmp_path / "parts", CPU, resume=True)
    same_results(tmp_path / "whole", tmp_path / "parts")


def test_an_interruption_in_the_last_step_is_heard(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(ImageFolderTask, "loss", at_call(2 * STEPS - 2, interrupt))
        assert search(experiment(data), tmp_path, CPU) is None
    assert load_checkpoint(tmp_path / "checkpoint.pt")["step"] == STEPS
    assert search(experiment(data), tmp_path, CPU, resume=True) is not None


def test_a_second_start_and_other_settings_are_refused(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(ImageFolderTask, "loss", at_call(1, interrupt))
        search(experiment(data), tmp_path, CPU)
    with pytest.raises(UserError, match="holds a run already; continue it with --resume"):
        search(experiment(data), tmp_path, CPU)
    with pytest.raises(UserError, match=r"config\.yaml: seed was 3, now 4; a run is resumed with the settings"):
        search(experiment(data, seed=4), tmp_path, CPU, resume=True)
    with pytest.raises(UserError, match="holds no run to resume"):
        search(experiment(data), tmp_path / "absent", CPU, resume=True)


@pytest.mark.parametrize("name", ["genotype.yaml", "log.csv", "checkpoint.pt", "pruned.csv", "config.yaml"])
def test_a_file_of_ones_own_in_the_folder_is_not_replaced(data: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(UserError, match=f"expected a folder without {name}, which the run would replace"):
        search(experiment(data), tmp_path, CPU)
    assert [path.name for path in tmp_path.iterdir()] == [name] and (tmp_path / name).read_text() == "mine"


def test_a_finished_search_goes_on_with_more_steps(data: Path, tmp_path: Path) -> None:
    settings = {"steps": 4, "architecture": {"start": 2}, "log_every": 1}
    assert search(experiment(data, search=settings), tmp_path, CPU) is not None
    assert search(experiment(data, search={**settings, "steps": 7}), tmp_path, CPU, resume=True) is not None
    assert [row["step"] for row in read_log(tmp_path)] == [str(step) for step in range(7)]
    assert load_checkpoint(tmp_path / "checkpoint.pt")["step"] == 7
    assert Genotype.load(tmp_path / "genotype.yaml").provenance["steps"] == 7


def test_the_checkpoint_that_is_left_is_named(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original, calls = ImageFolderTask.loss, 0

    def loss(self: ImageFolderTask, network: nn.Module, batch: Any) -> Tensor:
        nonlocal calls
        calls += 1
        return original(self, network, batch) * (math.nan if calls == 15 else 1.0)  # step 8; one is saved every 5

    monkeypatch.setattr(ImageFolderTask, "loss", loss)
    with pytest.raises(UserError, match=r"got nan at step 8; the checkpoint is of step 5\. Lower"):
        search(experiment(data), tmp_path, CPU)


def test_a_space_that_changed_under_a_run_is_named(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "space.yaml").write_text(SPACE_FILE)
    made = experiment(data, space=str(tmp_path / "space.yaml"))
    with monkeypatch.context() as patch:
        patch.setattr(ImageFolderTask, "loss", at_call(1, interrupt))
        search(made, tmp_path / "run", CPU)
    (tmp_path / "space.yaml").write_text(SPACE_FILE.replace("max_pool_3x3, ", ""))
    with pytest.raises(UserError, match=r"checkpoint\.pt: does not fit this search: its space or its task has changed"):
        search(made, tmp_path / "run", CPU, resume=True)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("call", [1, 4])  # a weight step, an architecture step
def test_a_loss_that_is_not_finite_is_named_and_spoils_nothing(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bad: float, call: int
) -> None:
    original, calls = ImageFolderTask.loss, 0

    def loss(self: ImageFolderTask, network: nn.Module, batch: Any) -> Tensor:
        nonlocal calls
        calls += 1
        return original(self, network, batch) * (bad if calls == call else 1.0)

    monkeypatch.setattr(ImageFolderTask, "loss", loss)
    running = Search(experiment(data), CPU)
    with pytest.raises(
        UserError, match=rf"finite loss, got {bad} at step {0 if call == 1 else 2}; there is no checkpoint"
    ):
        running.run(tmp_path, None)
    assert not (tmp_path / "checkpoint.pt").exists()
    assert all(p.isfinite().all() for p in [*running.supernet.parameters(), *running.distribution.parameters()])


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"task": "atldas.classification:NoSuchTask"}, "e.yaml: task: expected .*has no NoSuchTask"),
        ({"task": "no_such_module:Task"}, "e.yaml: task: expected .*there is no module no_such_module"),
        ({"task": "math:sqrt"}, "e.yaml: task: expected a task, got math:sqrt"),
        ({"task_options": {"foldr": "x"}}, "e.yaml: task_options.foldr: unknown key .did you mean folder"),
        ({"space": "dart"}, "dart: no such file, nor a shipped space"),
    ],
)
def test_faulty_settings_are_named_before_a_folder_is_made(
    data: Path, tmp_path: Path, settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        search(experiment(data, **settings), tmp_path / "run", CPU, source="e.yaml")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (
            "architecture",
            {"sampler": "straigt_through"},
            "search.architecture.sampler: expected one of straight_through",
        ),
        ("training", {"sampler": "darts"}, "search.training.sampler: expected one of uniform, mixed"),
        ("architecture", {"betas": [0.5, 1.0]}, r"search.architecture.betas\[1\]: expected less than 1, got 1.0"),
        ("pruning", {"treshold": 0.1}, "search.pruning.treshold: unknown key .did you mean threshold"),
        ("steps", 0, "search.steps: expected 1 or more, got 0"),
    ],
)
def test_faulty_search_settings_are_named(data: Path, path: str, value: Any, said: str) -> None:
    with pytest.raises(UserError, match=f"^experiment: {said}"):
        experiment(data, search={"steps": 3, path: value})


def learning(folder: Path, sampler: str, steps: int, **architecture: Any) -> Search:
    """A search over `none` and a convolution on images that only a convolution's features tell apart."""
    space = SPACE_FILE.replace("[skip_connect, max_pool_3x3, nor_conv_1x1]", "[none, nor_conv_1x1]")
    space = space.replace("nodes: 2", "nodes: 1")
    folder.mkdir(exist_ok=True)
    (folder / "space.yaml").write_text(space)
    made = from_dict(
        Experiment,
        {
            "schema": 1, "name": "learns", "space": str(folder / "space.yaml"), "task": "toy:BrightnessTask",
            "search": {
                "steps": steps, "weights": {"lr": 0.1}, "log_every": 1000, "checkpoint_every": 1000,
                "architecture": {"sampler": sampler, "lr": 0.1, **architecture},
            },
        },
        "experiment",
    )  # fmt: skip
    running = Search(made, CPU)
    running.run(folder, None)
    return running


@pytest.mark.parametrize("sampler", ["straight_through", "score_function"])
def test_a_search_learns_which_operation_is_right(tmp_path: Path, sampler: str) -> None:
    running = learning(tmp_path, sampler, 250)
    _, best = running.distribution.most_probable(1)[0]
    ((_, edge),) = best.cells["normal"].edges()
    assert edge.operation == "nor_conv_1x1"
    none, conv = running.distribution.cell("normal").log_operations()[edge.input].exp().tolist()
    assert conv > 4 * none


def test_a_weight_on_macs_makes_the_cheap_operation_win(tmp_path: Path) -> None:
    running = learning(tmp_path, "straight_through", 120, macs_weight=20.0)
    _, best = running.distribution.most_probable(1)[0]
    assert {edge.operation for _, edge in best.cells["normal"].edges()} == {"none"}
    with torch.no_grad():
        left = float(running.expected_macs()) - running.constant_macs
    assert left < 0.2 * (running.uniform_macs - running.constant_macs)


def test_an_architecture_step_moves_no_weight_and_leaves_no_gradient(tmp_path: Path) -> None:
    running = learning(tmp_path, "straight_through", 3)
    before = [p.clone() for p in running.supernet.parameters()]
    logits = [p.clone() for p in running.distribution.parameters()]
    running.weight_optimizer.zero_grad()
    running.architecture_step(next(running.task.held_out_batches(0)))
    assert all(torch.equal(a, b) for a, b in zip(before, running.supernet.parameters(), strict=True))
    assert all(p.grad is None for p in running.supernet.parameters())
    assert any(not torch.equal(a, b) for a, b in zip(logits, running.distribution.parameters(), strict=True))


def test_a_weight_step_moves_no_logit(tmp_path: Path) -> None:
    running = learning(tmp_path, "straight_through", 3)
    logits = [p.clone() for p in running.distribution.parameters()]
    running.weight_step(next(running.task.training_batches(0)))
    assert all(torch.equal(a, b) for a, b in zip(logits, running.distribution.parameters(), strict=True))
