"""A finished search's page, its table of probabilities, and the best child for each of several budgets."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from atldas.command import main
from atldas.common.config import from_dict
from atldas.experiment import Experiment
from atldas.genotype import Genotype
from atldas.probabilities import PROBABILITIES, learnt_in_words, read_probabilities
from atldas.searching import load_search, search


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    (folder / "space.yaml").write_text(
        "schema: 1\nname: tiny\ncells:\n  normal:\n    inputs: 2\n    nodes: 1\n    inputs_per_node: 1\n"
        "    operations: [skip_connect, nor_conv_1x1, nor_conv_3x3]\n"
    )
    experiment = from_dict(Experiment, {
        "schema": 2, "name": "tiny", "space": str(folder / "space.yaml"), "task": "toy:BrightnessTask",
        "strategy_options": {"children": 2, "memory": 8},
        "search": {"steps": 12, "log_every": 2, "architecture": {"lr": 0.5}},
        "evaluation": {"most_probable": 3, "samples": 1, "controls": 3},
    }, "test")  # fmt: skip
    assert search(experiment, folder / "run", torch.device("cpu"), command="atldas search tiny") is not None
    return folder / "run"


def test_a_page_needs_nothing_else_and_tells_everything(finished: Path, tmp_path: Path) -> None:
    assert main(["report", str(finished), str(finished), "--out", str(tmp_path / "page.html")]) == 0
    page = (tmp_path / "page.html").read_text()
    assert set(re.findall(r"(?:src|href)\s*=\s*['\"]?(\w+:)", page)) == {"data:"} and "http" not in page
    for part in ("Overview", "Cells", "How the search went", "Probabilities over time", "Candidates"):
        assert part in page
    assert all(part in page for part in ("What was learned", "config.yaml", "genotype.yaml", "atldas search tiny"))
    assert page.count("<section class=run>") == 2 and page.count("data:image/png;base64,") == 2 * 4


def test_a_folder_without_a_finished_search_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(tmp_path), "--out", str(tmp_path / "page.html")]) == 2
    assert "expected the folder of a finished search" in capsys.readouterr().err
    assert not (tmp_path / "page.html").exists()


def test_probabilities_over_time(finished: Path) -> None:
    histories = {history.variable: history for history in read_probabilities(finished / PROBABILITIES)}
    assert set(histories) == {"normal.node_2", "normal.2_from_0", "normal.2_from_1"}
    edge = histories["normal.2_from_0"]
    assert edge.options == ["skip_connect", "nor_conv_1x1", "nor_conv_3x3"] and list(edge.steps) == list(range(12))
    np.testing.assert_allclose(edge.probabilities.sum(axis=1), 1, atol=1e-4)
    np.testing.assert_allclose(edge.probabilities[0], 1 / 3, atol=0.2)


def test_words_about_what_was_learnt() -> None:
    words = learnt_in_words({"learned": [0.5, 0.75], "random": [0.25, 0.25]}, "accuracy")
    assert words == "accuracy of 2 learned children 0.625 (deviation 0.18), of 2 random ones 0.25 (0)"


def test_the_best_child_for_each_budget(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    running = load_search(finished, torch.device("cpu"))
    costs = sorted(running.macs.of(child) / 1e9 for child in running.space.enumerate())
    limits = [costs[0] * 1.001, costs[-1] * 1.001]
    out = tmp_path / "pareto"
    assert main(["pareto", str(finished), "--gmacs", ",".join(map(repr, limits)), "--out", str(out)]) == 0
    with (out / "pareto.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["limit_gmacs"]) for row in rows] == limits
    assert all(float(row["gmacs"]) <= float(row["limit_gmacs"]) for row in rows)
    child = Genotype.load(out / f"genotype_gmacs_{limits[0]:g}.yaml")
    assert running.macs.of(child) / 1e9 == pytest.approx(costs[0])
    assert (out / "pareto.png").stat().st_size > 5000 and "at most" in capsys.readouterr().out


@pytest.mark.parametrize("limits", ["0", "a,b", "-1", "nan"])
def test_faulty_limits_are_one_line(finished: Path, limits: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pareto", str(finished), f"--gmacs={limits}"]) == 2
    assert capsys.readouterr().err.startswith("error: --gmacs: expected ")
