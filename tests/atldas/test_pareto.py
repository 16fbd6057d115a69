"""The best child for each of several budgets."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch
from small_search import tiny_search

from atldas.command import main
from atldas.genotype import Genotype
from atldas.pareto import load_search


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_search(tmp_path_factory.mktemp("search"))


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


@pytest.mark.parametrize("kinds", [[], ["--gmacs=1", "--mparameters=1"]])
def test_one_kind_of_limit_is_wanted(finished: Path, kinds: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pareto", str(finished), *kinds]) == 2
    assert capsys.readouterr().err == f"error: expected one of --gmacs, --mparameters, --latency-ms, got {len(kinds)}\n"
