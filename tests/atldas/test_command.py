"""The command `atldas`: what it prints, and that every fault is one line and status 2."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from toy import SPACE_FILE, image_folder

from atldas.command import main
from atldas.common.yaml_text import read_yaml, to_yaml
from atldas.genotype import Genotype
from atldas.operations import OPERATIONS


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An experiment's file in the current directory, with its images and its space."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    image_folder(tmp_path / "stripes")
    (tmp_path / "small.yaml").write_text(SPACE_FILE)
    experiment = {
        "schema": 2, "name": "stripes", "space": "small.yaml", "task": "atldas.classification:ImageFolderTask",
        "task_options": {"folder": "stripes", "image_size": 8, "channels": 2, "depth": 3, "batch": 4},
        "search": {"steps": 3}, "evaluation": {"most_probable": 2, "samples": 0, "controls": 2},
    }  # fmt: skip
    (tmp_path / "experiment.yaml").write_text(to_yaml(experiment))
    return tmp_path


def fault(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line on stderr that the command ends in."""
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.startswith("error: ") and printed.err.count("\n") == 1
    assert "Traceback" not in printed.err
    return printed.err


def test_show_prints_the_cells_side_by_side(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "cheapmatting"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "cheapmatting" and lines[1].split() == ["node", "normal", "cell", "reduce", "cell"]
    cells = ["skip_connect(0) + dil_conv_5x5(1)", "skip_connect(0) + sep_conv_3x3(1)"]
    assert re.split(" {2,}", lines[2]) == ["2", *cells]
    assert [line[0] for line in lines[2:]] == ["2", "3", "4", "5"]


@pytest.mark.parametrize("name", ["cells.svg", "new/cells.png"])
def test_show_draws(workplace: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    Genotype.load("cheapmatting").save("mine.yaml")
    assert main(["show", "mine.yaml", "--out", name]) == 0
    assert capsys.readouterr().out.endswith(f"drawn to {name}\n")
    assert (workplace / name).read_bytes()[:4] in (b"<?xm", b"\x89PNG")


def test_faults_of_show(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "cheapmating: expected a file or a shipped genotype" in fault(capsys, "show", "cheapmating")
    assert "absent.yaml: cannot be read (No such file" in fault(capsys, "show", "absent.yaml")
    (workplace / "odd.yaml").write_text(Genotype.load("cheapmatting").to_yaml().replace("sep_conv_3x3", "sep_conf_3x3"))
    line = fault(capsys, "show", "odd.yaml")
    assert "odd.yaml: cells.normal.nodes[1][1][0]" in line and "did you mean sep_conv_3x3?" in line
    assert main(["show", "cheapmatting", "--out", "x.gif"]) == 2
    assert capsys.readouterr().err == "error: x.gif: expected the suffix .png or .svg, got .gif\n"


def test_faults_of_modules(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = fault(capsys, "show", "cheapmatting", "--import", "no_such_module")
    assert line == "error: --import no_such_module: expected a module, but there is no no_such_module\n"


def test_a_module_of_ones_own_adds_its_operations(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (workplace / "own_operations_of_test.py").write_text(
        "from atldas.operations import OPERATIONS\nOPERATIONS['own_of_test'] = OPERATIONS['none']\n"
    )
    text = Genotype.load("cheapmatting").to_yaml().replace("skip_connect", "own_of_test")
    (workplace / "own.yaml").write_text(text)
    assert "unknown operation" in fault(capsys, "show", "own.yaml")
    try:
        assert main(["show", "own.yaml", "--import", "own_operations_of_test"]) == 0
    finally:
        OPERATIONS.pop("own_of_test", None)
    assert "own_of_test(0)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["absent.yaml"], "absent.yaml: cannot be read"),
        (["--set", "serch.steps=4"], "experiment.yaml: serch: unknown key (did you mean search?)"),
        (["--set", "search.step=4"], "experiment.yaml: search.step: unknown key (did you mean steps?)"),
        (
            ["--set", "search.steps=many"],
            'search.steps: expected an integer, got "many" (text)',
        ),
        (["--set", "search.steps"], "--set search.steps: expected key.path=value"),
        (["--set", "task=atldas.classification:Tusk"], "task: expected package.module:Name, got"),
        (["--set", "task=atlas.tasks:Task"], "there is no module atlas"),
        (["--set", "task=.tasks:Task"], 'expected package.module:Name, got ".tasks:Task"'),
        (
            ["--set", "task_options.folder=absent"],
            "absent: expected a folder with one folder of images per class, got none",
        ),
        (["--set", "task_options.foldr=absent"], "task_options.foldr: unknown key (did you mean folder?)"),
        (["--set", "space=dart"], "dart: expected a file or a shipped space"),
        (["--set", "task_options.batch=13"], "expected a batch of 13 or more images in each"),
        (["--resume"], "holds no run to resume"),
        (["--device", "gpu"], "--device: expected one of auto, cpu, cuda, mps, got gpu"),
        (["--device", "cpu:x"], "cuda, mps, got cpu:x"),
        (["--out", "small.yaml"], "small.yaml: expected a folder for the run, got a file"),
        (["--out", "small.yaml/run"], "small.yaml: expected a folder for the run, got a file"),
    ],
)
def test_faults_of_search(workplace: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str) -> None:
    if arguments[0] != "absent.yaml":
        arguments = ["experiment.yaml", "--device", "cpu", *arguments]
    line = fault(capsys, "search", *arguments)
    assert said in line
    assert not (workplace / "runs").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_a_device_that_is_not_there(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = fault(capsys, "search", "experiment.yaml", "--device", "cuda")
    assert line == "error: --device cuda: this machine, or this build of PyTorch, has none; use --device cpu\n"


def test_a_search_by_command_with_changed_settings(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["search", "experiment.yaml", "--device", "cpu", "--set", "search.steps=2", "--set", "name=two words"]
    assert main(command) == 0
    run = workplace / "runs" / "two words"
    assert f"the genotype is {Path('runs') / 'two words' / 'genotype.yaml'}" in capsys.readouterr().out
    assert read_yaml(run / "config.yaml")["search"]["steps"] == 2
    genotype = Genotype.load(run / "genotype.yaml")
    assert genotype.provenance["steps"] == 2
    expected = "atldas search experiment.yaml --device cpu --set search.steps=2 --set 'name=two words'"
    assert genotype.provenance["command"] == expected
    assert "holds a run already" in fault(capsys, *command)
    assert "search.log_every was 10, now 5" in fault(capsys, *command, "--set", "search.log_every=5", "--resume")
    assert main([*command, "--resume"]) == 0


def test_an_interrupted_command_says_how_to_go_on(
    workplace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("atldas.searching.search", lambda *arguments: None)
    assert main(["search", "experiment.yaml", "--device", "cpu", "--resume"]) == 130
    line = capsys.readouterr().err
    assert line == "interrupted; go on with: atldas search experiment.yaml --device cpu --resume\n"


def test_the_installed_command_works_from_any_directory(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "atldas.command"]
    done = subprocess.run([*command, "show", "cheapmatting"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("cheapmatting\nnode") and done.stderr == ""
    wrong = subprocess.run([*command, "show", "absent.yaml"], cwd=tmp_path, capture_output=True, text=True)
    assert wrong.returncode == 2 and wrong.stderr.count("\n") == 1 and wrong.stderr.startswith("error: absent.yaml")
