"""Training: it learns, resumes bit for bit, stops in order, and never spoils what it has saved."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from small import NETWORK, SIZE, digests, edited, small_network, stop_after
from small import training_settings as settings

from atldas.common.errors import UserError
from atldas.common.runfolder import load_checkpoint, logged, read_log
from atldas.genotype import Genotype
from cheapmatting.data.config import make_source
from cheapmatting.data.sample import collate
from cheapmatting.model import weights
from cheapmatting.model.network import CheapMatting
from cheapmatting.training import stages
from cheapmatting.training import train as train_module
from cheapmatting.training.losses import LOSSES
from cheapmatting.training.train import Training, train
from cheapmatting.training.validation import network_sad

CPU = torch.device("cpu")
pytestmark = pytest.mark.usefixtures("one_thread")


def tensors(network: CheapMatting) -> dict[str, str]:
    return digests(network.state_dict())


def outcome(folder: Path) -> tuple[Any, ...]:
    """What two equal runs agree on to the last bit."""
    state = load_checkpoint(folder / "checkpoint.pt")
    raw = digests(state["network"])
    files = {name: tensors(weights.load(folder / name)) for name in ("model.safetensors", "best.safetensors")}
    return raw, files, (folder / "log.csv").read_text(), state["step"], state["best"]


def test_it_learns_a_few_pairs_by_heart(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    source = make_source(settings().data, 0)
    pairs = [source[index] for index in range(4)]
    monkeypatch.setattr(stages, "make_source", lambda data, seed: _Repeated(pairs))
    network = small_network()
    before = network_sad(network, pairs, CPU)
    recipe = settings(steps=50, batch=4, optimizer={"lr": 0.01, "warm_up": 5}, ema=0.8, validation=None)
    trained = train(network, recipe, tmp_path, CPU)
    assert trained is not None
    steps, losses = logged(read_log(tmp_path), "loss")
    assert steps == list(range(1, 51))
    assert sum(losses[-5:]) < 0.3 * sum(losses[:5])
    assert network_sad(trained, pairs, CPU) < 0.3 * before


class _Repeated:
    def __init__(self, pairs: list[Any]) -> None:
        self.pairs = pairs

    def __getitem__(self, index: int) -> Any:
        return self.pairs[index % len(self.pairs)]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("uninterrupted")
    assert train(small_network(), settings(), folder, CPU) is not None
    return folder


def test_what_a_run_leaves(uninterrupted: Path) -> None:
    files = {path.name for path in uninterrupted.iterdir()}
    assert files == {
        "best.safetensors", "checkpoint.pt", "config.yaml", "curves.png", "log.csv", "model.safetensors", "tensorboard",
    }  # fmt: skip
    header, *rows = (uninterrupted / "log.csv").read_text().splitlines()
    assert header == "step,loss,l1_unknown,lr,gradient_norm,SAD" and len(rows) == 8
    assert [bool(row.split(",")[-1]) for row in rows] == [False, False, False, True] * 2
    assert float(rows[1].split(",")[3]) == 0.003  # warmed up


@pytest.mark.parametrize(("stop", "workers"), [(5, 0), (6, 1)])  # between two checkpoints, and at one
def test_a_resumed_run_is_the_uninterrupted_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, uninterrupted: Path, stop: int, workers: int
) -> None:
    with monkeypatch.context() as patched:
        stop_after(patched, stop)
        assert train(small_network(), settings(workers=0), tmp_path, CPU) is None
    assert load_checkpoint(tmp_path / "checkpoint.pt")["step"] == stop
    assert not (tmp_path / "model.safetensors").exists()
    if workers:  # a setting that changes no result, but the settings of a run must stay
        config = tmp_path / "config.yaml"
        config.write_text(config.read_text().replace("workers: 0", "workers: 1"))
    torch.manual_seed(99)
    assert train(small_network(99), settings(workers=workers), tmp_path, CPU, resume=True) is not None
    assert outcome(tmp_path) == outcome(uninterrupted)


def test_a_run_killed_between_checkpoints_resumes_from_the_last(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, uninterrupted: Path
) -> None:
    class Killed(BaseException):
        pass

    original = Training.train_step

    def step(self: Training, batch: Any) -> dict[str, float]:
        if self.step == 5:
            raise Killed
        return original(self, batch)

    with monkeypatch.context() as patched:
        patched.setattr(Training, "train_step", step)
        with pytest.raises(Killed):
            train(small_network(), settings(), tmp_path, CPU)
    assert load_checkpoint(tmp_path / "checkpoint.pt")["step"] == 3
    assert train(small_network(5), settings(), tmp_path, CPU, resume=True) is not None
    assert outcome(tmp_path) == outcome(uninterrupted)


def test_a_run_killed_before_its_first_checkpoint_begins_again(tmp_path: Path, uninterrupted: Path) -> None:
    (tmp_path / "config.yaml").write_bytes((uninterrupted / "config.yaml").read_bytes())
    assert train(small_network(), settings(), tmp_path, CPU, resume=True) is not None
    assert outcome(tmp_path) == outcome(uninterrupted)


def test_a_finished_run_is_left_as_it_is(uninterrupted: Path) -> None:
    before = outcome(uninterrupted)
    assert train(small_network(1), settings(), uninterrupted, CPU, resume=True) is not None
    assert outcome(uninterrupted) == before


def test_workers_make_the_same_run(tmp_path: Path, uninterrupted: Path) -> None:
    train(small_network(), settings(workers=1), tmp_path, CPU)
    assert outcome(tmp_path) == outcome(uninterrupted)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"log_every": 2}, "log_every was 1, now 2"),
        ({"losses": {"l1_unknown": 2.0}}, "losses.l1_unknown was 1.0, now 2.0"),
        ({"data": {"size": 96}}, "data.size was 64, now 96"),
    ],
)
def test_resuming_with_other_settings(uninterrupted: Path, changes: dict[str, Any], message: str) -> None:
    before = outcome(uninterrupted)
    with pytest.raises(UserError, match=re.escape(message)):
        train(small_network(), settings(**changes), uninterrupted, CPU, resume=True)
    with pytest.raises(UserError, match="holds a run already; continue it with --resume"):
        train(small_network(), settings(), uninterrupted, CPU)
    with pytest.raises(UserError, match="holds no run to resume"):
        train(small_network(), settings(), uninterrupted / "other", CPU, resume=True)
    assert outcome(uninterrupted) == before


def test_steps_workers_and_checkpoints_may_change_when_a_run_is_resumed(tmp_path: Path) -> None:
    train(small_network(), settings(steps=3, validation=None), tmp_path, CPU)
    changed = settings(steps=5, validation=None, workers=1, checkpoint_every=2)
    assert train(small_network(), changed, tmp_path, CPU, resume=True) is not None
    assert [row["step"] for row in read_log(tmp_path)] == ["1", "2", "3", "4", "5"]


def test_a_wrong_data_folder_leaves_a_folder_for_the_right_one(tmp_path: Path) -> None:
    wrong = {"size": SIZE, "sources": [{"kind": "cutouts", "foregrounds": str(tmp_path / "absent")}]}
    for folder, resume in (("run", False), ("resumed", True)):
        with pytest.raises(UserError, match="absent"):
            train(small_network(), settings(steps=2, validation=None, data=wrong), tmp_path / folder, CPU)
        right = settings(steps=2, validation=None)
        assert train(small_network(), right, tmp_path / folder, CPU, resume) is not None


def test_a_file_of_ones_own_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"mine")
    with pytest.raises(UserError, match=r"expected a folder without model\.safetensors"):
        train(small_network(), settings(), tmp_path, CPU)
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]


def test_resuming_with_fewer_steps_than_are_done(tmp_path: Path) -> None:
    assert train(small_network(), settings(steps=3, validation=None), tmp_path, CPU) is not None
    with pytest.raises(UserError, match=r"steps of all stages: expected at least 3, the steps done, got 2"):
        train(small_network(), settings(steps=2, validation=None), tmp_path, CPU, resume=True)
    assert train(small_network(), settings(steps=3, validation=None), tmp_path, CPU, resume=True) is not None


def test_resuming_with_another_network(tmp_path: Path) -> None:
    train(small_network(), settings(steps=2, validation=None), tmp_path, CPU)
    with pytest.raises(UserError, match=r"variant\.network\.stem was 8, now 16"):
        train(small_network(stem=16), settings(steps=2, validation=None), tmp_path, CPU, resume=True)
    # Where it was found is no part of what it is.
    network = small_network()
    network.genotype = replace(network.genotype, provenance={"command": "another"})
    assert train(network, settings(steps=2, validation=None), tmp_path, CPU, resume=True) is not None


def test_another_programs_checkpoint(tmp_path: Path, uninterrupted: Path) -> None:
    (tmp_path / "config.yaml").write_bytes((uninterrupted / "config.yaml").read_bytes())
    for state in ({"step": 1}, {**load_checkpoint(uninterrupted / "checkpoint.pt"), "network": {"a": torch.ones(1)}}):
        torch.save(state, tmp_path / "checkpoint.pt")
        with pytest.raises(UserError, match=r"checkpoint\.pt: does not fit this training"):
            train(small_network(), settings(), tmp_path, CPU, resume=True)


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_nothing_is_spoilt_by_a_loss_or_gradient_that_is_not_finite(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, what: str
) -> None:
    count = 0

    def faulty(alpha: torch.Tensor, batch: Any) -> torch.Tensor:
        nonlocal count
        count += 1
        error = (alpha - batch.alpha).abs().mean()
        if count < 5:
            return error
        return error / 0 if what == "loss" else error + (error - error.detach()).sqrt()  # 0, its slope infinite

    monkeypatch.setitem(LOSSES, "faulty", faulty)
    recipe = settings(losses={"faulty": 1.0}, checkpoint_every=1, validation=None)
    with pytest.raises(UserError, match=f"the {what} is (inf|nan) at step 4; the last checkpoint is from before"):
        train(small_network(), recipe, tmp_path, CPU)
    state = load_checkpoint(tmp_path / "checkpoint.pt")
    assert state["step"] == 4
    for part in ("network", "averaged"):
        assert all(tensor.isfinite().all() for tensor in state[part].values())
    assert len(read_log(tmp_path)) == 4 and not (tmp_path / "model.safetensors").exists()
    kept = load_checkpoint(tmp_path / "diverged_batch.pt")["0"]
    source = make_source(recipe.data, recipe.seed)
    wanted = collate([source[index] for index in range(4 * recipe.batch, 5 * recipe.batch)])
    assert torch.equal(kept["inputs"], wanted.inputs) and torch.equal(kept["alpha"], wanted.alpha)


def test_a_diverged_run_without_a_checkpoint_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(LOSSES, "faulty", lambda alpha, batch: alpha.sum() / 0)
    with pytest.raises(UserError, match=r"the loss is (inf|nan) at step 0; no checkpoint yet\. Lower optimizer\.lr"):
        train(small_network(), settings(losses={"faulty": 1.0}, validation=None), tmp_path, CPU)


def test_the_weights_of_the_lowest_sad_are_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    values = iter([3.0, 2.0, 2.5, 2.0])
    seen = []

    def measured(network: torch.nn.Module, pairs: Any, device: Any) -> float:
        seen.append(tensors(network.module))  # type: ignore[arg-type]
        return next(values)

    monkeypatch.setattr(train_module.validation, "network_sad", measured)
    train(small_network(), settings(steps=4, validation={"every": 1, "pairs": 1}), tmp_path, CPU)
    assert tensors(weights.load(tmp_path / "best.safetensors")) == seen[1]
    assert tensors(weights.load(tmp_path / "model.safetensors")) == seen[3]
    assert logged(read_log(tmp_path), "SAD")[1] == [3.0, 2.0, 2.5, 2.0]
    assert load_checkpoint(tmp_path / "checkpoint.pt")["best"] == 2.0


def test_averaged_weights_are_the_moving_average_and_are_what_is_saved(tmp_path: Path) -> None:
    training = Training(small_network(), settings(ema=0.75), CPU)
    source = make_source(settings().data, 0)
    name = "head.0.weight"
    expected = None
    for step in range(4):
        training.train_step(collate([source[step]]))
        training.step += 1
        raw = training.network.state_dict()[name].clone()
        expected = raw if expected is None else 0.75 * expected + 0.25 * raw
    averaged = training.result().state_dict()[name]
    assert torch.allclose(averaged, expected, atol=1e-7) and not torch.allclose(averaged, raw, atol=1e-5)
    folder = tmp_path / "run"
    train(small_network(), settings(steps=4, ema=0.75), folder, CPU)
    state = load_checkpoint(folder / "checkpoint.pt")
    saved = weights.load(folder / "model.safetensors").state_dict()
    for key, tensor in saved.items():
        assert torch.equal(tensor, state["averaged"][f"module.{key}"]), key
    assert not torch.equal(saved[name], state["network"][name])


def test_float16_scales_the_loss_and_resumes_with_its_scale(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    batch = collate([make_source(settings().data, 0)[0]])
    reference = Training(small_network(), settings(), CPU).train_step(batch)
    training = Training(small_network(), settings(precision="float16"), CPU)
    scale = training.scaler.get_scale()
    assert scale > 1
    figures = training.train_step(batch)
    assert figures["loss"] != reference["loss"] and figures["loss"] == pytest.approx(reference["loss"], rel=0.05)
    assert figures["gradient_norm"] == pytest.approx(reference["gradient_norm"], rel=0.1)  # scaled down again
    recipe = settings(precision="float16", validation=None)
    train(small_network(), recipe, tmp_path / "whole", CPU)
    with monkeypatch.context() as patched:
        stop_after(patched, 5)
        assert train(small_network(), recipe, tmp_path / "parts", CPU) is None
    assert train(small_network(), recipe, tmp_path / "parts", CPU, resume=True) is not None
    whole, parts = (load_checkpoint(tmp_path / name / "checkpoint.pt") for name in ("whole", "parts"))
    assert digests(whole["network"]) == digests(parts["network"])
    assert whole["scaler"] == parts["scaler"] and whole["scaler"]["_growth_tracker"] == 8


def test_a_short_run_with_nothing_to_log(tmp_path: Path) -> None:
    recipe = settings(steps=1, log_every=10, validation=None, ema=0.0)
    assert train(small_network(), recipe, tmp_path, CPU) is not None
    state = load_checkpoint(tmp_path / "checkpoint.pt")
    assert read_log(tmp_path) == [] and torch.equal(
        state["network"]["head.4.bias"], state["averaged"]["module.head.4.bias"]
    )


def test_another_seed_is_another_run(tmp_path: Path) -> None:
    for seed in (0, 1):
        train(small_network(), settings(steps=2, seed=seed), tmp_path / str(seed), CPU)
    assert read_log(tmp_path / "0")[0]["loss"] != read_log(tmp_path / "1")[0]["loss"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT between processes")
def test_ctrl_c_in_a_real_process(tmp_path: Path) -> None:
    variant = edited(tmp_path, str(NETWORK))
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"schema: 1\nsteps: 100000\nbatch: 1\nworkers: 1\ndata: {{size: {SIZE}}}\nlosses: {{l1_unknown: 1.0}}\n"
        "log_every: 1\ncheckpoint_every: 100000\n"
    )
    arguments = [sys.executable, "-m", "cheapmatting", "train", str(variant), "--config", str(recipe)]
    arguments += ["--out", str(tmp_path / "run"), "--device", "cpu"]
    with subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        log = tmp_path / "run" / "log.csv"
        while process.poll() is None and not (log.exists() and log.read_text().count("\n") > 3):
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers too
        assert process.stderr is not None
        errors = process.stderr.read()
    assert process.returncode == 130
    assert "stopping after this step; once more to stop at once" in errors
    assert "Traceback" not in errors
    last = errors.strip().splitlines()[-1]
    assert last == f"interrupted; go on with: cheapmatting {' '.join(arguments[3:])} --resume"
    step = load_checkpoint(tmp_path / "run" / "checkpoint.pt")["step"]
    assert step == int(read_log(tmp_path / "run")[-1]["step"]) >= 3
    assert not list(tmp_path.rglob("*.tmp*"))


def test_the_published_genotype_is_what_small_networks_have() -> None:
    assert small_network().genotype.cells == Genotype.load("cheapmatting").cells
