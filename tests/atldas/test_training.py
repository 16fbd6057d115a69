"""Training from scratch: it learns, a control does not, it resumes to the same bits, and two processes are one."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
import torch
from stripes import CHOICE_SPACE, SPACE
from torch import nn
from toy import image_folder

from atldas.cell import Cell, CellPlace, dropped
from atldas.classification import ImageFolderOptions, ImageFolderTask
from atldas.command import main
from atldas.common.config import from_dict
from atldas.common.errors import UserError
from atldas.common.runfolder import load_checkpoint, logged, read_log
from atldas.common.yaml_text import parse_yaml
from atldas.genotype import CellGenotype, Genotype
from atldas.peak_memory import peak_memory
from atldas.training import Sgd, Training, TrainingExperiment, train

CPU = torch.device("cpu")
CELL = CellGenotype(1, ((("nor_conv_3x3", 0),), (("skip_connect", 0), ("avg_pool_3x3", 1))), (2,))  # type: ignore[arg-type]
BLIND = CellGenotype(1, ((("avg_pool_3x3", 0),), (("skip_connect", 0), ("avg_pool_3x3", 1))), (2,))  # type: ignore[arg-type]
STEPS = 60


def genotype(cell: CellGenotype = CELL) -> Genotype:
    return Genotype("stripes", {"normal": cell}, choices={"shutter": "open"})


def experiment(shuffled: bool = False, **training: Any) -> TrainingExperiment:
    return from_dict(
        TrainingExperiment,
        {
            "schema": 2, "task": "stripes:StripesTask", "task_options": {"batch": 64, "shuffled": shuffled},
            "training": {
                "steps": STEPS, "weights": {"lr": 0.1}, "task_options": {"batch": 16}, "log_every": 1,
                "checkpoint_every": 7, **training,
            },
        },
        "test",
    )  # fmt: skip


def test_it_learns_and_neither_a_blind_cell_nor_shuffled_labels_do(tmp_path: Path) -> None:
    found = {
        name: train(genotype(cell), experiment(shuffled), tmp_path / name, CPU)
        for name, cell, shuffled in (("true", CELL, False), ("blind", BLIND, False), ("shuffled", CELL, True))
    }
    accuracy = {name: trained.figures["accuracy"] for name, trained in found.items() if trained}
    assert accuracy["true"] > 0.95
    assert accuracy["blind"] < 0.7 and accuracy["shuffled"] < 0.65


def test_the_results_folder(tmp_path: Path) -> None:
    trained = train(genotype(), experiment(measure_every=20), tmp_path / "run", CPU)
    assert trained is not None and not trained.network.training
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {
        "config.yaml", "checkpoint.pt", "log.csv", "tensorboard", "model.safetensors", "metrics.json", "curves.png",
    }  # fmt: skip
    with safetensors.safe_open(tmp_path / "run" / "model.safetensors", "pt") as file:
        header = file.metadata()
        assert set(file.keys()) == set(trained.network.state_dict())
        assert all(torch.equal(file.get_tensor(name), t) for name, t in trained.network.state_dict().items())
    assert Genotype.parse(header["genotype"], "header") == genotype()
    assert json.loads(header["task_options"])["batch"] == 16
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    parameters = sum(p.numel() for p in trained.network.parameters())
    assert metrics["peak_memory"] == peak_memory(trained.network, (1, 1, 8, 8)) > 4 * 8 * 8 * 4
    assert metrics == trained.figures and metrics["parameters"] == parameters and metrics["macs"] > 4 * 9 * 4 * 64
    log = read_log(tmp_path / "run")
    assert logged(log, "accuracy")[0] == [20, 40, 60] and len(log) == STEPS
    assert logged(log, "accuracy")[1][-1] == metrics["accuracy"]
    lr = logged(log, "lr")[1]
    assert lr[0] == 0.1 and lr[-1] == pytest.approx(0.001) and sorted(lr, reverse=True) == lr


def test_two_equal_trainings_write_the_same_bytes(tmp_path: Path) -> None:
    for name in ("first", "second"):
        assert train(genotype(), experiment(steps=2), tmp_path / name, CPU) is not None
    for file in ("model.safetensors", "metrics.json", "log.csv"):
        assert (tmp_path / "first" / file).read_bytes() == (tmp_path / "second" / file).read_bytes(), file


@pytest.mark.parametrize("value", [np.float32(0.25), torch.tensor([0.25]), 0.25], ids=["numpy", "tensor", "float"])
def test_a_metric_may_be_any_scalar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: Any) -> None:
    monkeypatch.setattr("stripes.StripesTask.test", lambda task, network: value, raising=False)
    trained = train(genotype(), experiment(steps=1), tmp_path, CPU)
    assert trained is not None and trained.figures["accuracy"] == 0.25
    assert json.loads((tmp_path / "metrics.json").read_text())["accuracy"] == 0.25


def test_a_metric_that_is_no_number_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stripes.StripesTask.test", lambda task, network: torch.ones(2), raising=False)
    with pytest.raises(UserError, match=r"expected one number from `test`, got Tensor of shape \[2\]"):
        train(genotype(), experiment(steps=1), tmp_path, CPU)


@pytest.mark.parametrize("drop_path", [0.0, 0.3])
def test_an_interrupted_training_ends_in_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, drop_path: float
) -> None:
    settings = experiment(drop_path=drop_path, measure_every=9)
    train(genotype(), settings, tmp_path / "whole", CPU)
    step = Training.train_step

    def stopping(self: Training, batch: Any) -> dict[str, float]:
        if self.step == 25:
            os.kill(os.getpid(), signal.SIGINT)
        return step(self, batch)

    with monkeypatch.context() as patched:
        patched.setattr(Training, "train_step", stopping)
        assert train(genotype(), settings, tmp_path / "stopped", CPU) is None
    assert load_checkpoint(tmp_path / "stopped" / "checkpoint.pt")["step"] == 26
    assert not (tmp_path / "stopped" / "model.safetensors").exists()
    torch.manual_seed(99)  # whatever was drawn between
    assert train(genotype(), settings, tmp_path / "stopped", CPU, resume=True) is not None
    for name in ("log.csv", "metrics.json"):
        assert (tmp_path / "stopped" / name).read_text() == (tmp_path / "whole" / name).read_text(), name
    states = [load_checkpoint(tmp_path / name / "checkpoint.pt")["network"] for name in ("stopped", "whole")]
    assert all(torch.equal(states[0][name], tensor) for name, tensor in states[1].items())


def test_a_run_goes_on_only_with_its_own_genotype_and_settings(tmp_path: Path) -> None:
    short = experiment(steps=2)
    train(genotype(), short, tmp_path / "run", CPU)
    with pytest.raises(UserError, match="genotype was"):
        train(genotype(BLIND), short, tmp_path / "run", CPU, resume=True)
    with pytest.raises(UserError, match=r"training\.drop_path was 0\.0, now 0\.1"):
        train(genotype(), experiment(steps=2, drop_path=0.1), tmp_path / "run", CPU, resume=True)
    with pytest.raises(UserError, match=r"training\.steps: expected at least 2, the steps done, got 1"):
        train(genotype(), experiment(steps=1), tmp_path / "run", CPU, resume=True)
    assert train(genotype(), experiment(steps=3), tmp_path / "run", CPU, resume=True) is not None  # may be longer
    with pytest.raises(UserError, match="holds a run already"):
        train(genotype(), short, tmp_path / "run", CPU)


def test_a_loss_that_is_not_finite_spoils_no_weight() -> None:
    training = Training(genotype(), experiment(), CPU, "test")
    before = {name: tensor.clone() for name, tensor in training.network.state_dict().items() if "running" not in name}
    images, labels = next(training.task.training_batches(0))
    with pytest.raises(UserError, match="expected a finite loss, got nan at step 0"):
        training.train_step((images * float("nan"), labels))
    for name, tensor in before.items():
        assert "num_batches" in name or torch.equal(training.network.state_dict()[name], tensor)


# Drop path


def test_an_image_loses_its_path_as_often_as_said_and_the_mean_stays() -> None:
    torch.manual_seed(0)
    output = dropped(torch.ones(20_000, 2, 3, 3), 0.3)
    assert float((output == 0).float().mean()) == pytest.approx(0.3, abs=0.01)
    assert float(output.mean()) == pytest.approx(1.0, abs=0.02)
    per_image = output.flatten(1)
    assert bool((per_image == per_image[:, :1]).all())
    assert output.unique().tolist() == pytest.approx([0.0, 1 / 0.7])


def test_cells_drop_operations_in_training_but_never_identities() -> None:
    cell = Cell(
        CellGenotype(1, ((("skip_connect", 0),), (("avg_pool_3x3", 0),)), (1, 2)),  # type: ignore[arg-type]
        CellPlace("normal", (2,), 2, 1, (1,), adapted=False),
    )
    x = torch.ones(400, 2, 4, 4)
    cell.drop_path = 0.5
    torch.manual_seed(0)
    skipped, pooled = cell(x).split(2, dim=1)
    assert torch.equal(skipped, x)
    assert float((pooled == 0).float().mean()) == pytest.approx(0.5, abs=0.1)
    assert torch.equal(cell.eval()(x), torch.ones(400, 4, 4, 4))
    cell.train().drop_path = 0.0
    assert torch.equal(cell(x), torch.ones(400, 4, 4, 4))


def test_drop_path_rises_straight_to_its_end() -> None:
    training = Training(genotype(), experiment(steps=5, drop_path=0.4), CPU, "test")
    batch, seen = next(training.task.training_batches(0)), []
    for training.step in range(6):
        assert training.train_step(batch)["drop_path"] == training.cells[0].drop_path
        seen.append(training.cells[0].drop_path)
    assert seen == pytest.approx([0, 0.08, 0.16, 0.24, 0.32, 0.4])


# Classification's options


def folder_task(tmp_path: Path, **options: Any) -> ImageFolderTask:
    if not (tmp_path / "images").exists():
        image_folder(tmp_path / "images")
    given = {"folder": str(tmp_path / "images"), "image_size": 16, "batch": 8, "channels": 4, "depth": 3, **options}
    return ImageFolderTask(from_dict(ImageFolderOptions, given, "test"), 0, CPU)


def test_cutout_blanks_a_square_around_a_random_pixel_of_each_training_image(tmp_path: Path) -> None:
    task = folder_task(tmp_path, cutout=6, held_out_share=0, measured_share=0)
    plain = folder_task(tmp_path, held_out_share=0, measured_share=0)
    sizes, centres = [], []
    for number in range(40):
        cut, whole = next(task.training_batches(number)).images, next(plain.training_batches(number)).images
        assert torch.equal(cut[cut != 0], whole[cut != 0])
        for hole in (cut[:, 0] == 0) & (whole[:, 0] != 0):
            rows, columns = hole.any(dim=1).nonzero().flatten(), hole.any(dim=0).nonzero().flatten()
            assert int(hole.sum()) == len(rows) * len(columns)  # a rectangle
            sizes.append((len(rows), len(columns)))
            centres.append(float(rows.float().mean()))
    assert max(max(size) for size in sizes) == 6 and min(min(size) for size in sizes) == 3  # clipped by the border
    # The mean side: 3, 4, 5 rows at one border, 5, 4 at the other, 6 elsewhere.
    assert np.mean([size[0] for size in sizes]) == pytest.approx((3 + 4 + 5 + 5 + 4 + 11 * 6) / 16, abs=0.25)
    assert np.mean(centres) == pytest.approx(7.5, abs=1.0)


def test_smoothed_labels_raise_the_loss_of_a_sure_network(tmp_path: Path) -> None:
    class Sure(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.tensor([[20.0, 0.0]]).expand(len(images), 2)

    batch = next(folder_task(tmp_path).training_batches(0))
    right = batch._replace(labels=torch.zeros_like(batch.labels))
    assert float(folder_task(tmp_path).loss(Sure(), right)) == pytest.approx(0.0, abs=1e-6)
    assert float(folder_task(tmp_path, label_smoothing=0.1).loss(Sure(), right)) == pytest.approx(0.05 * 20, rel=1e-5)


def test_the_test_folder_is_measured_and_never_trained_on(tmp_path: Path) -> None:
    image_folder(tmp_path / "test", per_class=5)
    task = folder_task(tmp_path, test_folder=str(tmp_path / "test"), held_out_share=0, measured_share=0)

    class Level(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            seen.append(len(images))
            return torch.tensor([[1.0, 0.0]]).expand(len(images), 2)

    seen: list[int] = []
    assert task.test(Level()) == 0.5 and sum(seen) == 10
    assert len(task._training) == 24 and task._training.max() < 24 <= task._test.min()
    with pytest.raises(UserError, match="measured_share: expected more than 0"):
        task.measure(Level())
    with pytest.raises(UserError, match="held_out_share: expected more than 0"):
        next(task.held_out_batches(0))
    (tmp_path / "test" / "level").rename(tmp_path / "test" / "flat")
    with pytest.raises(UserError, match="expected the classes level, upright, got flat, upright"):
        folder_task(tmp_path, test_folder=str(tmp_path / "test"))


# The command


SEARCH_FILE = """
schema: 2
name: found
space: {space}
task: stripes:StripesTask
task_options: {{batch: 8}}
search: {{steps: 4}}
evaluation: {{most_probable: 1, samples: 0}}
training: {{steps: 40, weights: {{lr: 0.1}}, task_options: {{batch: 16}}}}
"""


def test_one_file_searches_and_trains(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "space.yaml").write_text(SPACE)
    (tmp_path / "whole.yaml").write_text(SEARCH_FILE.format(space=tmp_path / "space.yaml"))
    run = tmp_path / "run"
    assert main(["search", str(tmp_path / "whole.yaml"), "--out", str(run), "--device", "cpu"]) == 0
    found = Genotype.load(run / "genotype.yaml")
    given = ["train", str(run / "genotype.yaml"), str(tmp_path / "whole.yaml"), "--device", "cpu"]
    assert main([*given, "--out", str(tmp_path / "trained"), "--set", "training.steps=30"]) == 0
    assert f"the model is {tmp_path / 'trained' / 'model.safetensors'}" in capsys.readouterr().out
    with safetensors.safe_open(tmp_path / "trained" / "model.safetensors", "pt") as file:
        assert Genotype.parse(file.metadata()["genotype"], "header").cells == found.cells
    assert json.loads((tmp_path / "trained" / "metrics.json").read_text())["steps"] == 30
    assert main([*given, "--out", str(tmp_path / "trained")]) == 2
    assert "holds a run already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("schema: 2\ntask: stripes:StripesTask\n", "training: expected a value, got nothing"),
        ("schema: 2\ntask: stripes:StripesTask\ntraining: {steps: 5, drop_path: 1.0}", "training.drop_path"),
        ("schema: 2\ntask: stripes:StripesTask\nspace: darts\ntraining: {steps: 5}", "space: unknown key"),
        (SEARCH_FILE.format(space="darts").replace("training:", "# "), "expected a section training"),
    ],
)
def test_faulty_files_are_told_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, message: str
) -> None:
    (tmp_path / "faulty.yaml").write_text(text)
    assert main(["train", "cheapmatting", str(tmp_path / "faulty.yaml"), "--out", str(tmp_path / "run")]) == 2
    printed = capsys.readouterr().err
    assert message in printed and printed.count("\n") == 1 and not (tmp_path / "run").exists()


# Several processes


@pytest.mark.end_to_end
@pytest.mark.skipif(sys.platform == "win32", reason="torchrun's gloo needs a POSIX system here")
def test_two_processes_train_as_one_with_the_doubled_batch(tmp_path: Path) -> None:
    genotype().save(tmp_path / "genotype.yaml")
    text = "schema: 2\ntask: stripes:StripesTask\ntask_options: {batch: 8}\n"
    (tmp_path / "file.yaml").write_text(text + "training: {steps: 12, weights: {lr: 0.05}, log_every: 1}\n")
    arguments = ["-m", "atldas.command", "train", str(tmp_path / "genotype.yaml"), str(tmp_path / "file.yaml")]
    arguments += ["--device", "cpu", "--out"]
    helpers = str(Path(__file__).parents[1] / "helpers")
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    for before, after in ((launcher, ["two"]), ([], ["one", "--set", "task_options.batch=16"])):
        command = [sys.executable, *before, *arguments, str(tmp_path / after[0]), *after[1:]]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=240, env={**os.environ, "PYTHONPATH": helpers}
        )
        assert done.returncode == 0, done.stderr[-3000:]
    two, one = (read_log(tmp_path / name) for name in ("two", "one"))
    assert logged(two, "loss")[1] == pytest.approx(logged(one, "loss")[1], rel=2e-3)
    weights = [safetensors.safe_open(tmp_path / name / "model.safetensors", "pt") for name in ("two", "one")]
    for name in weights[1].keys():  # noqa: SIM118
        assert torch.allclose(weights[0].get_tensor(name), weights[1].get_tensor(name), rtol=1e-2, atol=1e-4), name
    assert len(list((tmp_path / "two" / "tensorboard").iterdir())) == 1  # one writer
    with (tmp_path / "two" / "log.csv").open() as file:
        assert [int(row["step"]) for row in csv.DictReader(file)] == list(range(1, 13))


def test_a_parameter_that_is_not_run_keeps_no_gradient() -> None:
    """Two optimizer steps with a network of which half runs: the other half gets neither gradient nor state."""
    network = nn.ModuleDict({"run": nn.Linear(2, 2), "idle": nn.Linear(2, 2)})

    class HalfTask:
        def loss(self, network: nn.ModuleDict, batch: torch.Tensor) -> torch.Tensor:
            loss: torch.Tensor = network["run"](batch).square().mean()
            return loss

    sgd = Sgd(network, experiment().training.weights, 2, together=True)
    for step in range(2):
        sgd.step(HalfTask(), torch.ones(1, 2), step)  # type: ignore[arg-type]
    assert network["idle"].weight.grad is None and len(sgd.optimizer.state) == 2


def test_a_named_choice_is_built() -> None:
    choices = parse_yaml(CHOICE_SPACE, "test")["choices"]["shutter"]
    for option in choices:
        built = Training(Genotype("x", {"normal": CELL}, choices={"shutter": option}), experiment(), CPU, "test")
        shut = not bool(built.network(torch.randn(4, 1, 8, 8)).std(dim=0).max() > 1e-3)
        assert shut is (option == "shut")


AVERAGING = """
import torch
from torch import nn
from atldas.common import processes

with processes.joined(torch.device("cpu")):
    both, one, none = (nn.Parameter(torch.zeros(2)) for _ in range(3))
    rank = processes.rank()
    both.grad = torch.tensor([1.0, 2.0]) * (rank + 1)
    if rank == 1:
        one.grad = torch.tensor([4.0, 6.0])
    processes.average_gradients([both, one, none])
    assert both.grad.tolist() == [1.5, 3.0] and one.grad.tolist() == [2.0, 3.0] and none.grad is None
"""


@pytest.mark.end_to_end
@pytest.mark.skipif(sys.platform == "win32", reason="torchrun's gloo needs a POSIX system here")
def test_a_gradient_that_only_one_process_has_counts_as_zeros_in_the_other(tmp_path: Path) -> None:
    (tmp_path / "averaging.py").write_text(AVERAGING)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*launcher, str(tmp_path / "averaging.py")], capture_output=True, text=True, timeout=240, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr[-3000:]
