"""From search to matte by one command, everything shrunk; interrupted and resumed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from built_wheel import environment, started
from shrunk import command
from small import NETWORK, SIZE, photograph, stop_after

from atldas.common.config import to_dict
from atldas.common.errors import UserError
from atldas.common.yaml_text import read_yaml
from atldas.genotype import Genotype
from atldas.searching import Search
from cheapmatting.command import main
from cheapmatting.images import read_image, read_rgba, write_image
from cheapmatting.inference.matte import Matter
from cheapmatting.model import weights
from cheapmatting.model.network import NetworkConfig
from cheapmatting.model.variants import variant
from cheapmatting.pipeline import example, load_pipeline, side_by_side
from cheapmatting.training.train import Training


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, installed: Path) -> tuple[Path, str]:
    """A whole run of the installed wheel, from an empty folder: the run's folder and what it printed."""
    folder = tmp_path_factory.mktemp("pipeline") / "run"
    call = started(installed, "cheapmatting", *command(folder))
    done = subprocess.run(call, capture_output=True, text=True, cwd=folder.parent, env=environment(installed))
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr and "Warning" not in done.stderr
    return folder, done.stdout


@pytest.mark.end_to_end
def test_a_whole_run_leaves_what_its_summary_names(finished: tuple[Path, str]) -> None:
    folder, printed = finished
    named = {Path(line.split()[-1]) for line in printed.splitlines() if str(folder) in line}
    assert named == {folder / name for name in (
        "variant.yaml", "search/cells.png", "search/curves.png", "model.safetensors", "astronaut_cutout.png",
        "astronaut_result.png",
    )}  # fmt: skip
    assert all(path.is_file() for path in named)
    assert {path.name for path in folder.iterdir()} == {
        *(path.name for path in named if path.parent == folder), "search", "train", "summary.yaml",
    }  # fmt: skip
    summary = read_yaml(folder / "summary.yaml")
    assert summary["pairs"] == 3 and list(summary["SAD"]) == ["all 0.5", "untrained", "trained"]
    for label, value in summary["SAD"].items():
        assert value > 0 and f"  {label:10} {value:.3f}" in printed.splitlines()
    assert f"mean of 3 held-out synthetic pairs of {SIZE}x{SIZE}:" in printed
    assert re.search(
        r"the search: SAD of 2 learned children [\d.]+ \(deviation [\d.]+\), of 2 random ones [\d.]+", printed
    )


@pytest.mark.end_to_end
def test_the_files_of_a_whole_run_load_and_belong_together(finished: tuple[Path, str]) -> None:
    folder, _ = finished
    genotype = Genotype.load(folder / "variant.yaml")
    network = weights.load(folder / "model.safetensors")
    assert network.genotype == genotype == Genotype.load(folder / "search" / "genotype.yaml")
    assert network.config == NetworkConfig.of(genotype) == variant(folder / "variant.yaml").config
    assert to_dict(network.config)["width"] == NETWORK["width"]
    assert genotype.provenance["command"].startswith("cheapmatting run quickstart ")
    photo, trimap = read_image(example("astronaut.jpg")), read_image(example("astronaut_trimap.png"))[..., 0]
    alpha = np.rint(Matter(network, "cpu").matte(photo, trimap) * 255)
    colours, cutout = read_rgba(folder / "astronaut_cutout.png")
    np.testing.assert_array_equal(np.rint(cutout * 255), alpha)
    np.testing.assert_array_equal(colours[alpha == 255], photo[alpha == 255])
    result = read_image(folder / "astronaut_result.png")
    assert result.shape == (photo.shape[0], 3 * photo.shape[1], 3)
    np.testing.assert_array_equal(result[:, : photo.shape[1]], photo)


def results(folder: Path) -> tuple[Any, ...]:
    model = weights.load(folder / "model.safetensors").state_dict()
    texts = [(folder / name).read_text() for name in ("summary.yaml", "search/log.csv", "train/log.csv")]
    return {name: tensor.numpy().tobytes() for name, tensor in model.items()}, texts


@pytest.mark.end_to_end
@pytest.mark.parametrize("stage", ["search", "train"])
def test_an_interrupted_run_resumes_to_the_same(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, finished: tuple[Path, str], stage: str,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    with monkeypatch.context() as patched:
        if stage == "train":
            stop_after(patched, 3)
        else:
            original = Search.weight_step

            def step(self: Search, batch: Any) -> float:
                if self.step == 2:
                    os.kill(os.getpid(), signal.SIGINT)
                return original(self, batch)

            patched.setattr(Search, "weight_step", step)
        assert main(command(tmp_path / "run")) == 130
    errors = capfd.readouterr().err
    assert "interrupted; go on with: cheapmatting run quickstart" in errors and errors.rstrip().endswith(" --resume")
    assert (tmp_path / "run" / "train").exists() is (stage == "train")
    assert main(command(tmp_path / "run", "--resume")) == 0
    assert results(tmp_path / "run") == results(finished[0])


@pytest.mark.end_to_end
def test_a_run_that_failed_before_its_first_checkpoint_resumes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, finished: tuple[Path, str]
) -> None:
    def failing(self: Any, batch: Any) -> float:
        raise UserError("out of disk")

    for owner, name in ((Search, "weight_step"), (Training, "train_step")):
        with monkeypatch.context() as patched:
            patched.setattr(owner, name, failing)
            assert main(command(tmp_path / "run", *(["--resume"] if owner is Training else []))) == 2
    assert not (tmp_path / "run" / "train" / "checkpoint.pt").exists()
    assert main(command(tmp_path / "run", "--resume")) == 0
    assert results(tmp_path / "run") == results(finished[0])


def one_error(capfd: pytest.CaptureFixture[str]) -> str:
    """The one line on stderr."""
    (line,) = capfd.readouterr().err.strip().splitlines()
    assert line.startswith("error: ")
    return line.removeprefix("error: ")


@pytest.mark.end_to_end
def test_beginning_twice_and_resuming_nothing(
    finished: tuple[Path, str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = results(finished[0])
    assert main(command(finished[0])) == 2
    assert "holds a run already; continue it with --resume, or name another folder with --out" in one_error(capfd)
    assert main(command(finished[0], "--resume", search__search__log_every=9)) == 2
    assert "search.log_every was 1, now 9" in one_error(capfd)
    assert results(finished[0]) == before
    assert main(command(tmp_path / "new", "--resume")) == 2
    assert "holds no run to resume" in one_error(capfd)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"report__photo": "nobody.jpg"}, "nobody.jpg: expected a file or a bundled example, got neither"),
        ({"report__trimap": "chelsea.jpg"}, "chelsea.jpg: expected 512 x 512 pixels"),
        ({"report__trimap": "chelsea_trimap.png"}, "chelsea_trimap.png: expected "),
        ({"train__data__sources": [{"kind": "cutouts", "foregrounds": "/nowhere"}]}, "/nowhere"),
        ({"report__data__sources": [{"kind": "synthetic", "backgrounds": "/nowhere"}]}, "/nowhere"),
        ({"train__losses": {"l2": 1}}, "quickstart: train.losses: expected"),
        ({"search__space": "mating"}, "mating"),
        (
            {"search__task": "atldas.classification:ImageFolderTask"},
            "quickstart: search.task: expected cheapmatting.task:MattingTask or a subclass of it, got atldas.",
        ),
        ({"search__task": "atldas.cost:cost"}, "got atldas.cost:cost; `atldas search` is for other tasks"),
        (
            {"search__task_options__network__width": 7},
            "quickstart: search.task_options.network.width: expected a multiple of 2",
        ),
        ({"train__optimiser": {}}, "quickstart: train.optimiser: unknown key (did you mean optimizer?)"),
    ],
)
def test_faults_of_later_stages_are_found_before_the_first(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], changes: dict[str, Any], message: str
) -> None:
    assert main(command(tmp_path / "run", **changes)) == 2
    assert message in one_error(capfd)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "name",
    ["variant.yaml", "model.safetensors", "summary.yaml", "astronaut_cutout.png", "astronaut_result.png",
     "train/model.safetensors", "train/config.yaml", "search/genotype.yaml"],
)  # fmt: skip
def test_a_users_own_file_is_never_replaced(tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str) -> None:
    folder = tmp_path / "mine"
    own = folder / name
    own.parent.mkdir(parents=True)
    own.write_text("mine")
    assert main(command(folder)) == 2
    error = one_error(capfd)
    assert f"without {own.name if own.parent.name == 'search' else name}, which the run would replace" in error
    assert own.read_text() == "mine" and [path for path in folder.rglob("*") if path.is_file()] == [own]
    assert main(command(folder, "--resume")) == 2
    assert own.read_text() == "mine"


def test_the_shipped_quickstart() -> None:
    pipeline, _ = load_pipeline("quickstart", [])
    assert pipeline.search.task_options["network"] == {
        "width": 16, "cells": 6, "reductions": [2, 4], "stem": 12, "stem_mid": 8, "pooling_width": 16, "pyramid": 32,
        "decoder": [32, 32, 24, 16], "decoder_mid": [16, 16, 16, 8], "head": [12, 8],
    }  # fmt: skip
    assert pipeline.train.data.size == pipeline.report.data.size == 128
    assert example(pipeline.report.photo).is_file() and example(pipeline.report.trimap).is_file()
    seeds = {2 * pipeline.search.seed, 2 * pipeline.search.seed + 1, pipeline.report.seed}
    assert len(seeds) == 3 and pipeline.report.seed != pipeline.train.seed  # nothing is judged by what it learned


def test_a_setting_changes_one_place_though_yaml_shares_it() -> None:
    pipeline, _ = load_pipeline("quickstart", ["train.data.size=64"])
    assert pipeline.train.data.size == 64
    assert pipeline.report.data.size == pipeline.search.task_options["data"]["size"] == 128


def test_a_file_comes_before_a_shipped_name_and_unknown_names_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        UserError, match="quikstart: expected a file or a shipped experiment such as quickstart, got neither"
    ):
        load_pipeline("quikstart", [])
    with pytest.raises(UserError, match=r"mine\.yaml: cannot be read \(No such file or directory\)"):
        load_pipeline("mine.yaml", [])
    Path("folder").mkdir()
    with pytest.raises(UserError, match=r"folder: cannot be read \(Is a directory\)"):
        load_pipeline("folder", [])
    Path("quickstart").write_text("schema: 1\nsearhc: {}\n")
    with pytest.raises(UserError, match=r"quickstart: searhc: unknown key \(did you mean search\?\)"):
        load_pipeline("quickstart", [])


def test_examples_and_own_files(tmp_path: Path) -> None:
    assert example("chelsea.jpg").is_file()
    image, _ = photograph(4, 5)
    write_image(tmp_path / "own.png", image)
    assert example(str(tmp_path / "own.png")) == tmp_path / "own.png"


def test_side_by_side_shows_the_cut_out_on_green() -> None:
    photo, trimap = photograph(3, 4)
    alpha = np.array([[0, 128, 255, 255]] * 3, np.uint8)
    shown = side_by_side(photo, trimap, np.dstack([photo, alpha]))
    assert shown.shape == (3, 12, 3)
    np.testing.assert_array_equal(shown[:, :4], photo)
    np.testing.assert_array_equal(shown[:, 4:8], np.dstack([trimap] * 3))
    np.testing.assert_array_equal(shown[:, 10:], photo[:, 2:])
    assert (shown[:, 8] == [40, 160, 60]).all()
