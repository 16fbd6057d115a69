"""`atldas export`: what it builds the network from, and that every fault is one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import safetensors.torch
import torch
from toy import SPACE_FILE, image_folder

from atldas.command import main
from atldas.common.yaml_text import to_yaml
from atldas.exporting.subject import Request, fixed_network
from atldas.genotype import Genotype


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    image_folder(tmp_path / "stripes")
    (tmp_path / "small.yaml").write_text(SPACE_FILE)
    (tmp_path / "search.yaml").write_text(to_yaml({
        "schema": 2, "name": "stripes", "space": "small.yaml", "task": "atldas.classification:ImageFolderTask",
        "task_options": {"folder": "stripes", "image_size": 12, "channels": 2, "depth": 3, "batch": 4},
        "search": {"steps": 3}, "training": {"steps": 1, "task_options": {"channels": 4}},
    }))  # fmt: skip
    return tmp_path


def fault(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line on stderr that `atldas export` ends in."""
    assert main(["export", *arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.startswith("error: ") and printed.err.count("\n") == 1
    return printed.err


def parameters(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_the_network_is_that_of_the_experiments_training(workplace: Path) -> None:
    made = fixed_network(Genotype.load("darts_v2"), Request("search.yaml", ["training.task_options.depth=4"]))
    assert made.input_shape == (1, 3, 12, 12)
    assert made.genotype.network_dict()["channels"] == 4 and made.genotype.network_dict()["classes"] == 2
    assert made.network.classifier.out_features == 2 and len(made.network.cells) == 4
    assert not made.network.training


def test_without_an_experiment_it_is_that_of_the_network_section(workplace: Path) -> None:
    genotype = Genotype.load("darts_v2")
    made = fixed_network(genotype, Request(assignments=["network.channels=36", "network.depth=20"]))
    assert round(parameters(made.network) / 1e6, 1) == 3.3  # the paper's, without the auxiliary head
    assert made.input_shape == (1, 3, 32, 32)
    matting = fixed_network(Genotype.load("cheapmatting"), Request(assignments=["task=cheapmatting.task:MattingTask"]))
    assert type(matting.network).__name__ == "CheapMatting" and matting.example((1, 6, 4, 4)).amax() <= 1


def test_weights_are_loaded_and_those_of_another_network_refused(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "darts_v2", "search.yaml", "--out", "run", "--device", "cpu"]) == 0
    weights = safetensors.torch.load_file("run/model.safetensors")
    genotype = Genotype.load("darts_v2")
    made = fixed_network(genotype, Request("search.yaml", weights=Path("run/model.safetensors")))
    assert all(torch.equal(weights[name], tensor) for name, tensor in made.network.state_dict().items())
    capsys.readouterr()
    line = fault(capsys, "run", "search.yaml", "--format", "pt2", "--set", "training.task_options.channels=6")
    assert "run/model.safetensors: expected the weights of this network, got those of another" in line
    assert not (workplace / "darts_v2.pt2").exists()
    assert main(["export", "run", "--format", "pt2", "--out", "new/mine.pt2", "--input", "3,12,12"]) == 0
    assert capsys.readouterr().out.startswith("the weights of run/model.safetensors; any batch, any height and width")
    program = torch.export.load("new/mine.pt2").module()
    network = made.network
    inputs = torch.randn(3, 3, 20, 17)
    with torch.no_grad():
        torch.testing.assert_close(program(inputs), network(inputs), rtol=1e-5, atol=1e-6)


def test_graphs_are_named_after_the_genotype(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "gdas", "--format", "json"]) == 0
    assert capsys.readouterr().out == "written to gdas.json\n"
    assert json.loads((workplace / "gdas.json").read_text())["graph"]["name"] == "gdas"


def test_a_file_that_exists_is_replaced_only_by_force(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for kind, name in (("json", "gdas.json"), ("python", "gdas.py")):
        (workplace / name).write_text("the old one")
        line = fault(capsys, "gdas", "--format", kind)
        assert line == f"error: {name}: exists; replace it with --force, or name another file with --out\n"
        assert (workplace / name).read_text() == "the old one"
    assert main(["export", "gdas", "--format", "json", "--force"]) == 0
    assert json.loads((workplace / "gdas.json").read_text())["graph"]["name"] == "gdas"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["absent", "--format", "json"], "absent: expected a file or a shipped genotype"),
        (["gdas", "--format", "json", "--out", "a.txt"], "a.txt: expected the suffix .json, got .txt"),
        (["gdas", "--format", "python", "--input", "3,32"], "--input: expected channels, height and width such as"),
        (["gdas", "--format", "python", "--set", "steps=3"], "--set steps: without an experiment's file, expected"),
        (["gdas", "--format", "python", "--set", "network.chanels=3"], "network.chanels: unknown key (did you mean ch"),
        (["gdas", "--format", "python", "--set", "task=atldas.task:Task"], "builds no network without data"),
        (["gdas", "search.yaml", "--format", "python", "--set", "task_options.folder=x"], "x: expected a folder"),
        (["gdas", "--format", "pt2", "--weights", "search.yaml"], "search.yaml: expected a model of atldas train"),
        (["gdas", "--format", "pt2", "--input", "4,8,8"], "the network does not run on an input of [1, 4, 8, 8]"),
    ],
)  # fmt: skip
def test_faults(workplace: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str) -> None:
    before = set(workplace.iterdir())
    assert said in fault(capsys, *arguments)
    assert set(workplace.iterdir()) == before


def test_help_shows_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["export", "--help"])
    assert "atldas export darts_v2 --format graphml --out darts.graphml" in capsys.readouterr().out
