"""Training in several processes: as one process with all their pairs, one writer, and a death survived."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from small import NETWORK, SIZE, edited
from torch import nn

from atldas.common import processes
from atldas.common.runfolder import load_checkpoint, logged, read_log
from cheapmatting.model import weights

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="torchrun's gloo needs a POSIX system here")
RECIPE = f"""
schema: 1
steps: 8
batch: 2
further_stages: [{{steps: 2, batch: 1, size: 96}}]
gradient_accumulation: 2
workers: 0
data: {{size: {SIZE}}}
losses: {{l1_unknown: 1.0, l1_known: 0.5, laplacian: 0.1}}
evenness: 0.5
# With Adam a gradient that is almost 0 moves a weight as far as a large one, and the last bits decide which way.
optimizer: {{name: sgd, lr: 0.01, warm_up: 2}}
ema: 0.5
calibration: {{pairs: 8, last: 16}}
precision: float32
validation: {{every: 5, pairs: 2}}
log_every: 1
checkpoint_every: 2
"""
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
DOUBLED = ["--set", "batch=4", "--set", "further_stages=[{steps: 2, batch: 2, size: 96}]"]


def command(tmp_path: Path, folder: str, *options: str) -> list[str]:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(RECIPE)
    variant = edited(tmp_path, str(NETWORK))
    arguments = ["cheapmatting", "train", str(variant), "--config", str(recipe), "--device", "cpu"]
    return ["-m", *arguments, "--out", str(tmp_path / folder), *options]


def run(arguments: list[str]) -> None:
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]


def assert_same_run(found: Path, expected: Path) -> None:
    """The same curve and the same weights, up to the order in which floats are summed.

    Gradients of absolute values jump where an error changes its sign: there the last bits grow within a few steps.
    """
    for column in ("loss", "l1_unknown", "l1_known", "laplacian", "lr", "gradient_norm", "SAD"):
        (steps, values), (found_steps, found_values) = (logged(read_log(run), column) for run in (expected, found))
        assert found_steps == steps
        assert found_values == pytest.approx(values, rel=0.2 if column == "gradient_norm" else 3e-3), column
        assert column == "SAD" or found_values[:2] == pytest.approx(values[:2], rel=1e-4), column
    states = [weights.load(folder / "model.safetensors").state_dict() for folder in (found, expected)]
    for name, tensor in states[1].items():
        assert torch.allclose(states[0][name], tensor, rtol=0.02, atol=4e-3), name


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run in one process, with the doubled batch."""
    folder = tmp_path_factory.mktemp("alone")
    run([sys.executable, *command(folder, "run", *DOUBLED)])
    return folder / "run"


@pytest.mark.end_to_end
def test_two_processes_train_as_one_with_the_doubled_batch(tmp_path: Path, alone: Path) -> None:
    run([*TORCHRUN, "--nproc-per-node=2", *command(tmp_path, "run")])
    assert_same_run(tmp_path / "run", alone)
    assert {path.name for path in (tmp_path / "run").iterdir()} == {path.name for path in alone.iterdir()}
    assert len(list((tmp_path / "run" / "tensorboard").iterdir())) == 1  # one writer
    assert (tmp_path / "run" / "config.yaml").read_text() == (alone / "config.yaml").read_text()


@pytest.mark.end_to_end
def test_a_killed_process_leaves_a_run_that_any_number_of_processes_can_resume(tmp_path: Path, alone: Path) -> None:
    folder = tmp_path / "run"
    arguments = [*TORCHRUN, "--nproc-per-node=2", *command(tmp_path, "run", "--set", "checkpoint_every=1")]
    with subprocess.Popen(arguments, stderr=subprocess.DEVNULL, start_new_session=True) as launcher:
        await_step(folder, 3, launcher)
        os.kill(max(children(launcher.pid)), signal.SIGKILL)
        assert launcher.wait(120) != 0
    step = load_checkpoint(folder / "checkpoint.pt")["step"]
    assert 3 <= step < 10 and not list(tmp_path.rglob("*.tmp*")) and not (folder / "model.safetensors").exists()
    run([sys.executable, *command(tmp_path, "run", *DOUBLED, "--set", "checkpoint_every=1", "--resume")])
    assert_same_run(folder, alone)


@pytest.mark.end_to_end
def test_torchrun_starts_again_after_a_death(tmp_path: Path, alone: Path) -> None:
    folder = tmp_path / "run"
    options = ["--nproc-per-node=2", "--max-restarts=1"]
    with subprocess.Popen([*TORCHRUN, *options, *command(tmp_path, "run")], stderr=subprocess.DEVNULL) as launcher:
        await_step(folder, 2, launcher)
        os.kill(max(children(launcher.pid)), signal.SIGKILL)
        assert launcher.wait(240) == 0
    assert_same_run(folder, alone)


def await_step(folder: Path, step: int, launcher: subprocess.Popen[bytes]) -> None:
    """Wait until the run has saved this step."""
    checkpoint = folder / "checkpoint.pt"
    while not (checkpoint.exists() and load_checkpoint(checkpoint)["step"] >= step):
        assert launcher.poll() is None, "it ended before"
        time.sleep(0.02)


def children(parent: int) -> list[int]:
    """The numbers of a process's children, in the order in which they were started."""
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(parent)], capture_output=True, text=True, check=True)
    return [int(word) for word in listed.stdout.split()]


def test_one_process_needs_nothing() -> None:
    assert (processes.rank(), processes.world_size(), processes.local_world_size()) == (0, 1, 1)
    values = torch.arange(3.0)
    assert processes.mean(values) is values


def test_shared_batch_norm_is_batch_norm_in_one_process() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    x = torch.randn(2, 3, 5, 5)
    names, expected = list(network.state_dict()), network(x)
    processes.share_batch_norm(network)
    assert list(network.state_dict()) == names and torch.equal(network(x), expected)
