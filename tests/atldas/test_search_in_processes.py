"""A search under torchrun: two processes find what one finds with the same draws, and survive a death."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from small_search import CPU, data_folder, experiment
from stripes import CHOICE_SPACE

from atldas.command import main
from atldas.common.runfolder import load_checkpoint, logged, read_log
from atldas.genotype import Genotype
from atldas.searching import Search
from atldas.spent import read_spent

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="torchrun's gloo needs a POSIX system here")
STEPS = 24
EXPERIMENT = """
schema: 2
name: stripes
space: {space}
task: stripes:StripesTask
task_options: {{batch: 16}}
strategy_options: {{children: 3, memory: 16, sampler: mixed}}
search:
  steps: {steps}
  children_per_step: 2
  weights: {{lr: 0.05}}
  architecture: {{lr: 0.5, start: 4}}
  pruning: {{share: 0.3, patience: 3, every: 4}}
  log_every: 1
  checkpoint_every: 3
evaluation:
  most_probable: 5
  samples: 0
  controls: 2
  rungs: [{{oracle: inherited, calibration_batches: 2, keep: 3}}, {{oracle: short_training, steps: 3}}]
"""
HELPERS = str(Path(__file__).parents[1] / "helpers")
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")


def command(place: Path, folder: Path, *launcher: str) -> list[str]:
    (place / "space.yaml").write_text(CHOICE_SPACE)
    (place / "search.yaml").write_text(EXPERIMENT.format(space=place / "space.yaml", steps=STEPS))
    words = ["-m", "atldas.command", "search", str(place / "search.yaml"), "--device", "cpu", "--out", str(folder)]
    return [sys.executable, *launcher, *words]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": HELPERS, "OMP_NUM_THREADS": "1"}


def run(words: list[str]) -> None:
    done = subprocess.run(words, capture_output=True, text=True, timeout=240, env=environment())
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The search by one process, which trains both children of every step."""
    place = tmp_path_factory.mktemp("alone")
    run(command(place, place / "run"))
    return place / "run"


def assert_same_search(found: Path, expected: Path) -> None:
    """The same curves, logits, weights, candidates and genotype, up to the order in which floats are summed."""
    for column in ("training_loss", "held_out_loss", "lr", "entropy", "best_probability", "expected_macs"):
        (steps, values), (found_steps, found_values) = (logged(read_log(run), column) for run in (expected, found))
        assert found_steps == steps and found_values == pytest.approx(values, rel=2e-3), column
        assert found_values[:3] == pytest.approx(values[:3], rel=1e-5), column
    states = [load_checkpoint(folder / "checkpoint.pt") for folder in (found, expected)]
    for part in ("distribution", "supernet"):
        assert states[0][part].keys() == states[1][part].keys()
        for name, tensor in states[1][part].items():
            if "running_" not in name and "num_batches" not in name:  # averaged, not gathered one after the other
                assert torch.allclose(states[0][part][name].float(), tensor.float(), rtol=1e-2, atol=1e-4), name
    assert candidates(found) == candidates(expected)
    genotypes = [Genotype.load(folder / "genotype.yaml") for folder in (found, expected)]
    assert [(g.cells, g.choices) for g in genotypes[:1]] == [(g.cells, g.choices) for g in genotypes[1:]]
    assert genotypes[0].provenance["scores"] == pytest.approx(genotypes[1].provenance["scores"], abs=0.02)


def candidates(folder: Path) -> list[str]:
    with (folder / "candidates.csv").open(newline="") as file:
        return [row["child"] for row in csv.DictReader(file)]


@pytest.mark.end_to_end
def test_two_processes_find_what_one_finds(alone: Path, tmp_path: Path) -> None:
    run(command(tmp_path, tmp_path / "run", *TORCHRUN))
    assert_same_search(tmp_path / "run", alone)
    assert {path.name for path in (tmp_path / "run").iterdir()} == {path.name for path in alone.iterdir()}
    assert len(list((tmp_path / "run" / "tensorboard").iterdir())) == 1  # one writer
    two, one = (read_spent(folder / "spent.json") for folder in (tmp_path / "run", alone))
    assert two["images_trained"] == one["images_trained"] >= 16 * 2 * STEPS  # shared, and none trained twice
    assert two["images_judged"] <= one["images_judged"] * 1.1 + 64 * 8  # the child before the search twice


@pytest.mark.end_to_end
def test_a_killed_process_leaves_a_search_that_one_process_resumes(alone: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    words = command(tmp_path, folder, *TORCHRUN)
    with subprocess.Popen(words, stderr=subprocess.DEVNULL, start_new_session=True, env=environment()) as launcher:
        checkpoint = folder / "checkpoint.pt"
        while not checkpoint.exists():
            assert launcher.poll() is None, "it ended before"
            time.sleep(0.02)
        listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(launcher.pid)], capture_output=True, text=True)
        os.kill(max(int(word) for word in listed.stdout.split()), signal.SIGKILL)
        assert launcher.wait(120) != 0
    assert 3 <= load_checkpoint(folder / "checkpoint.pt")["step"] < STEPS and not (folder / "genotype.yaml").exists()
    run([*command(tmp_path, folder), "--resume"])
    assert_same_search(folder, alone)


def test_as_many_children_a_step_as_processes_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = command(tmp_path, tmp_path / "run")[3:]
    monkeypatch.setattr("atldas.common.processes.world_size", lambda: 3)
    assert main(words) == 2
    said = capsys.readouterr().err
    assert "search.children_per_step: expected a multiple of the 3 processes, got 2" in said
    assert not (tmp_path / "run").exists()


def test_the_mean_of_two_childrens_gradients_is_one_step(tmp_path: Path) -> None:
    """By hand: two children, a batch for each; a weight that one of them lacks counts as without gradient there."""
    settings = {"steps": 14, "children_per_step": 2, "weights": {"lr": 0.1, "max_grad_norm": 1e9, "weight_decay": 0}}
    running = Search(experiment(data_folder(tmp_path), search=settings), tmp_path, CPU)
    drawn = list(running.space.enumerate())
    children = [drawn[0], drawn[-1]]
    turns = iter(children * 2)
    running.strategy.select_for_training = lambda step: running.supernet.select(next(turns))  # type: ignore[method-assign]
    batches = [next(running.task.training_batches(number)) for number in range(2)]
    expected: dict[str, torch.Tensor] = {}
    for child, batch in zip(children, batches, strict=True):
        running.supernet.zero_grad(set_to_none=True)
        running.supernet.select(child)
        running.supernet.train()
        running.task.loss(running.supernet, batch).backward()
        for name, p in running.supernet.named_parameters():
            if p.grad is not None:
                expected[name] = expected.get(name, torch.zeros_like(p)) + p.grad / 2
    before = {name: p.detach().clone() for name, p in running.supernet.named_parameters()}
    running.weight_step(*batches)
    moved = {name for name, p in running.supernet.named_parameters() if not torch.equal(p, before[name])}
    assert moved <= set(expected) and len(moved) > 3
    lr = running.weights.lr(0)
    for name, p in running.supernet.named_parameters():
        if name in expected:
            assert torch.allclose(p, before[name] - lr * expected[name], atol=1e-6), name
