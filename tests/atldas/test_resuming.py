"""A search that is stopped, killed or made longer: it goes on to the same bits, or says why it cannot."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from small_search import STEPS, at_call, data_folder, experiment, interrupt
from torch import Tensor, nn
from toy import SPACE_FILE

from atldas.classification import ImageFolderTask
from atldas.common.errors import UserError
from atldas.common.runfolder import load_checkpoint, read_log
from atldas.genotype import Genotype
from atldas.oracles import Inherited, InheritedConfig, Measured, Oracle, ShortTraining
from atldas.pareto import load_search
from atldas.searching import search

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return data_folder(tmp_path_factory.mktemp("data"))


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

    def tired(self: ShortTraining, child: Genotype) -> float:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ShortTraining, "measure", tired)
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


def test_a_search_is_not_resumed_with_fewer_steps_than_it_has_done(data: Path, tmp_path: Path) -> None:
    made = experiment(data)
    assert search(made, tmp_path / "run", CPU) is not None
    before = (tmp_path / "run" / "genotype.yaml").read_text()
    shorter = dataclasses.replace(made, search=dataclasses.replace(made.search, steps=STEPS - 2))
    with pytest.raises(UserError) as error:
        search(shorter, tmp_path / "run", CPU, resume=True)
    assert str(error.value) == f"search.steps: expected at least {STEPS}, the steps done, got {STEPS - 2}"
    assert (tmp_path / "run" / "genotype.yaml").read_text() == before
    assert search(made, tmp_path / "run", CPU, resume=True) is not None


def test_a_search_that_is_made_longer_measures_its_children_anew(data: Path, tmp_path: Path) -> None:
    """Inherited figures of the shorter search are of other weights; those of short trainings stay."""
    short = experiment(data)
    longer = dataclasses.replace(short, search=dataclasses.replace(short.search, steps=STEPS + 4))
    assert search(short, tmp_path / "run", CPU) is not None
    before = json.loads((tmp_path / "run" / "measured.json").read_text())
    found = search(longer, tmp_path / "run", CPU, resume=True)
    assert found is not None
    for candidate in found.candidates:
        oracle = Inherited(
            InheritedConfig(calibration_batches=2), Measured(found.search.task, found.search.supernet, 3, CPU)
        )
        assert candidate.figures["inherited"] == oracle.measure(candidate.child)
    after = json.loads((tmp_path / "run" / "measured.json").read_text())
    assert before["short_training_3"].items() <= after["short_training_3"].items()
    assert not before["inherited"].items() <= after["inherited"].items()
