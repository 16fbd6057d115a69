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
from searches import STEPS, experiment, search_data
from torch import Tensor, nn
from toy import SPACE_FILE

from atldas.classification import ImageFolderTask
from atldas.common.config import from_dict, to_dict
from atldas.common.errors import UserError
from atldas.common.runfolder import load_checkpoint, read_log
from atldas.experiment import Experiment
from atldas.genotype import Genotype
from atldas.halving import Archive
from atldas.oracles import Inherited, Oracle, ShortTraining
from atldas.searching import COLUMNS, Search, load_search, search

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of images and a small space's file."""
    return search_data(tmp_path_factory.mktemp("data"))


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
    found = search(made, tmp_path / "run", CPU, command="atldas search e.yaml")
    assert found is not None
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        "config.yaml", "checkpoint.pt", "log.csv", "tensorboard", "measured.json", "genotype.yaml", "candidates.csv",
        "probabilities.csv", "learnt.csv", "cells.png", "curves.png", "pruned.csv",
    }  # fmt: skip
    assert list((tmp_path / "run" / "tensorboard").glob("events.out.tfevents.*"))
    for name in ("cells.png", "curves.png"):
        assert cv2.imread(str(tmp_path / "run" / name)).std() > 1

    genotype, winner = Genotype.load(tmp_path / "run" / "genotype.yaml"), found.candidates[0]
    assert genotype == found.genotype and genotype.cells == winner.child.cells
    assert genotype.name == "stripes" and set(genotype.cells) == {"normal", "reduce"}
    assert genotype.network["channels"] == 4
    assert genotype.provenance["scores"] == {f"accuracy_{oracle}": figure for oracle, figure in winner.figures.items()}
    assert genotype.provenance["command"] == "atldas search e.yaml" and genotype.provenance["seed"] == 3
    assert genotype.provenance["strategy"] == "atldas"

    with (tmp_path / "run" / "candidates.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert 3 <= len(table) <= 5 and len({row["child"] for row in table}) == len(table)
    trained = [row["accuracy_short_training_3"] for row in table]
    assert all(trained[:2]) and not any(trained[2:])
    assert float(trained[0]) == winner.figures["short_training_3"] >= float(trained[1])
    dropped = [float(row["accuracy_inherited"]) for row in table[2:]]
    assert dropped == sorted(dropped, reverse=True)
    assert min(float(row["accuracy_inherited"]) for row in table[:2]) >= max(dropped)

    rows = read_log(tmp_path / "run")
    assert [int(row["step"]) for row in rows] == list(range(STEPS)) and tuple(rows[0]) == ("step", *COLUMNS)
    assert [row["held_out_loss"] == "" for row in rows] == [True, True] + [False] * (STEPS - 2)
    assert all(math.isfinite(float(value)) for row in rows for value in row.values() if value)
    uniform = 2 * math.log(2 * 3 * 3 * 3)
    assert float(rows[0]["entropy"]) == pytest.approx(uniform, abs=1e-4) and float(rows[-1]["entropy"]) < uniform - 0.1
    assert float(rows[0]["weight_free_share"]) == pytest.approx(2 / 3)
    assert float(rows[0]["best_probability"]) == pytest.approx(1 / 54**2, rel=1e-4)
    assert {kind: len(figures) for kind, figures in found.learnt.items()} == {"learned": 2, "random": 2}
    assert from_dict(Experiment, to_dict(made), "again") == made


def same_results(a: Path, b: Path) -> None:
    for name in ("log.csv", "candidates.csv", "pruned.csv", "probabilities.csv", "measured.json", "learnt.csv"):
        assert (a / name).read_bytes() == (b / name).read_bytes(), name
    assert Genotype.load(a / "genotype.yaml").cells == Genotype.load(b / "genotype.yaml").cells
    first, second = load_checkpoint(a / "checkpoint.pt"), load_checkpoint(b / "checkpoint.pt")
    for part in ("supernet", "distribution", "pruner"):
        assert first[part].keys() == second[part].keys()
        for name, tensor in first[part].items():
            assert torch.equal(tensor, second[part][name]), name


@pytest.mark.parametrize("strategy", ["atldas", "gdas"])
def test_an_interrupted_search_resumes_to_the_same_bits(
    data: Path, tmp_path: Path, strategy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped twice in the loop, once between two checks of pruning, and once in the choice."""
    made = experiment(data, strategy)
    judged = {"atldas": 2, "gdas": 1}[strategy]  # losses of an architecture step, which steps 0 and 1 do not have
    assert search(made, tmp_path / "whole", CPU) is not None

    def stopped(step: int, begun: int = 0, resume: bool = True) -> None:
        calls = sum(1 + judged * (s >= 2) for s in range(begun, step)) + 1
        with monkeypatch.context() as patch:
            patch.setattr(ImageFolderTask, "loss", at_call(calls, interrupt))
            assert search(made, tmp_path / "parts", CPU, resume=resume) is None
        assert load_checkpoint(tmp_path / "parts" / "checkpoint.pt")["step"] == step + 1

    stopped(6, resume=False)
    stopped(8, begun=7)
    assert not (tmp_path / "parts" / "genotype.yaml").exists()

    original = Archive.measure

    def tired(self: Archive, oracle: Oracle, child: Genotype) -> float:
        if oracle.name == "short_training_3":
            raise KeyboardInterrupt
        return original(self, oracle, child)

    with monkeypatch.context() as patch:
        patch.setattr(Archive, "measure", tired)
        with pytest.raises(KeyboardInterrupt):
            search(made, tmp_path / "parts", CPU, resume=True)
    assert not (tmp_path / "parts" / "genotype.yaml").exists()
    assert search(made, tmp_path / "parts", CPU, resume=True) is not None
    same_results(tmp_path / "whole", tmp_path / "parts")

    pruned = load_checkpoint(tmp_path / "whole" / "checkpoint.pt")["distribution"]
    removed = sum(int((~mask).sum()) for name, mask in pruned.items() if "allowed" in name)
    told = (tmp_path / "whole" / "pruned.csv").read_text().splitlines()
    assert removed > 0 and len(told) == 1 + removed

    def again(self: Oracle, child: Genotype) -> float:
        pytest.fail("measures a second time")

    with monkeypatch.context() as patch:  # a finished search resumes to its results once more, from its archive
        patch.setattr(Inherited, "measure", again)
        patch.setattr(ShortTraining, "measure", again)
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
        patch.setattr(ImageFolderTask, "loss", at_call(20, die))
        with pytest.raises(MemoryError):
            search(made, tmp_path / "parts", CPU)
    assert load_checkpoint(tmp_path / "parts" / "checkpoint.pt")["step"] == 5
    assert len(read_log(tmp_path / "parts")) > 5
    search(made, tmp_path / "parts", CPU, resume=True)
    same_results(tmp_path / "whole", tmp_path / "parts")


def test_an_interruption_in_the_last_step_is_heard(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(ImageFolderTask, "loss", at_call(3 * STEPS - 4, interrupt))
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
        return original(self, network, batch) * (math.nan if calls == 21 else 1.0)  # step 8; one is saved every 5

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
@pytest.mark.parametrize("call", [1, 5])  # a weight step, the second judged child of an architecture step
def test_a_loss_that_is_not_finite_is_named_and_spoils_nothing(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bad: float, call: int
) -> None:
    original, calls = ImageFolderTask.loss, 0

    def loss(self: ImageFolderTask, network: nn.Module, batch: Any) -> Tensor:
        nonlocal calls
        calls += 1
        return original(self, network, batch) * (bad if calls == call else 1.0)

    monkeypatch.setattr(ImageFolderTask, "loss", loss)
    running = Search(experiment(data), tmp_path, CPU)
    with pytest.raises(UserError, match=rf"finite loss, got {bad} at step {0 if call == 1 else 2}; there is no"):
        running.run(tmp_path, None)
    assert not (tmp_path / "checkpoint.pt").exists()
    assert all(p.isfinite().all() for p in [*running.supernet.parameters(), *running.distribution.parameters()])


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"task": "atldas.classification:NoSuchTask"}, "e.yaml: task: expected .*has no NoSuchTask"),
        ({"task": "no_such_module:Task"}, "e.yaml: task: expected .*there is no module no_such_module"),
        ({"task": "math:sqrt"}, "e.yaml: task: expected a task .*, got math:sqrt without Options, metric"),
        ({"strategy": "math:sqrt"}, "e.yaml: strategy: expected a class with Options, got sqrt"),
        ({"strategy_options": {"childs": 3}}, "e.yaml: strategy_options.childs: unknown key .did you mean children"),
        ({"strategy": "gdas", "strategy_options": {"children": 3}}, "e.yaml: strategy_options.children: unknown key"),
        (
            {"evaluation": {"rungs": [{"oracle": "inherited"}, {"oracle": "inherited", "calibration_batches": 3}]}},
            "e.yaml: evaluation.rungs: expected oracles that differ, got inherited, inherited",
        ),
        ({"budget": {"gmacs": 1e-6}}, "budget: gmacs .*: expected a limit that some child keeps"),
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
        ("architecture", {"betas": [0.5, 1.0]}, r"search.architecture.betas\[1\]: expected less than 1, got 1.0"),
        (
            "architecture",
            {"start": 3},
            r"search: expected the first architecture step under steps \(3\), or",
        ),
        ("pruning", {"treshold": 0.1}, "search.pruning.treshold: unknown key"),
        ("steps", -1, "search.steps: expected 0 or more, got -1"),
    ],
)
def test_faulty_search_settings_are_named(data: Path, path: str, value: Any, said: str) -> None:
    with pytest.raises(UserError, match=f"^experiment: {said}"):
        experiment(data, search={"steps": 3, path: value})


@pytest.mark.parametrize(("name", "said"), [("atlas", "did you mean atldas"), ("nothing", "one of atldas")])
def test_a_strategy_that_is_not_there_is_named(data: Path, name: str, said: str) -> None:
    with pytest.raises(UserError, match=f"^experiment: strategy: expected .*{said}"):
        experiment(data, strategy=name)


def test_a_finished_search_is_loaded_and_an_unfinished_one_named(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = experiment(data)
    with monkeypatch.context() as patch:
        patch.setattr(ImageFolderTask, "loss", at_call(1, interrupt))
        search(made, tmp_path / "run", CPU)
    with pytest.raises(UserError, match=rf"expected a finished search, got one at step 1 of {STEPS}; finish it with"):
        load_search(tmp_path / "run", CPU)
    found = search(made, tmp_path / "run", CPU, resume=True)
    assert found is not None
    loaded = load_search(tmp_path / "run", CPU)
    for a, b in ((found.search.supernet, loaded.supernet), (found.search.distribution, loaded.distribution)):
        assert all(torch.equal(t, b.state_dict()[name]) for name, t in a.state_dict().items())
