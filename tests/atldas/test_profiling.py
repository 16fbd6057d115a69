"""`atldas profile`: resumable timings, and a search within a budget of milliseconds."""

from __future__ import annotations

import csv
import itertools
import os
import random
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from small_search import CPU, data_folder, experiment
from spaces import INPUT_SHAPE, SMALL_SPACE, AnyNetwork

from atldas import latency, profiling
from atldas.budget import Budget, BudgetConfig, make_budget
from atldas.command import main
from atldas.common.config import from_dict, read_config
from atldas.common.errors import UserError
from atldas.cost_tables import mac_tables, parameter_tables
from atldas.distribution import Distribution
from atldas.genotype import Genotype
from atldas.peak_memory import PeakMemory
from atldas.profile_file import LatencyProfile
from atldas.profiling import profile
from atldas.searching import search
from atldas.supernet import Supernet


def supernet() -> Supernet:
    torch.manual_seed(0)
    return Supernet(SMALL_SPACE, lambda builder: AnyNetwork(builder, SMALL_SPACE))


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "timings.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def profiled(folder: Path, **options: Any) -> LatencyProfile | None:
    return profile(SMALL_SPACE, supernet(), INPUT_SHAPE, CPU, 2, folder, fitted=6, checked=3, **options)


def test_the_profile_says_what_was_measured_and_where(tmp_path: Path) -> None:
    found = profiled(tmp_path / "p")
    assert found == read_config(LatencyProfile, tmp_path / "p" / "profile.yaml")
    assert found is not None and found.checked.networks == 3 and found.fitted == 6 and found.rounds == 2
    assert found.device["type"] == "cpu" and found.device["threads"] == torch.get_num_threads()
    assert {"name", "torch", "mean_load", "highest_load"} <= set(found.device)
    timings = rows(tmp_path / "p")
    assert all(float(row["ms"]) > 0 for row in timings if row["kind"] == "network")
    items = {(row["kind"], row["name"]) for row in timings}
    for number in "01":  # every item once a round
        assert {(row["kind"], row["name"]) for row in timings if row["round"] == number} == items
    assert sum(kind == "network" for kind, _ in items) == 9


def test_an_interrupted_profile_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original, calls = profiling._load, 0

    def load() -> float:
        nonlocal calls
        calls += 1
        if calls == 30:
            os.kill(os.getpid(), signal.SIGINT)
        return original()

    monkeypatch.setattr(profiling, "_load", load)
    assert profiled(tmp_path / "p") is None
    first = rows(tmp_path / "p")
    assert 30 <= len(first) < 60 and not (tmp_path / "p" / "profile.yaml").exists()
    with pytest.raises(UserError, match="holds a run already"):
        profiled(tmp_path / "p")
    with (tmp_path / "p" / "timings.csv").open("a") as file:
        file.write("0,operation,nor_co")  # as a process that was killed leaves it
    assert profiled(tmp_path / "p", resume=True) is not None
    resumed = rows(tmp_path / "p")
    last = (first[-1]["round"], first[-1]["kind"], first[-1]["name"])
    kept = [row for row in first if (row["round"], row["kind"], row["name"]) != last]
    assert kept and resumed[: len(kept)] == kept
    assert len({tuple(row[key] for key in ("round", "kind", "name", "part")) for row in resumed}) == len(resumed)
    with pytest.raises(UserError, match="rounds was 2, now 3"):
        profile(SMALL_SPACE, supernet(), INPUT_SHAPE, CPU, 3, tmp_path / "p", resume=True, fitted=6, checked=3)


def test_no_child_over_a_budget_of_milliseconds_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(0)
    clock = itertools.accumulate(chance.uniform(2, 9) for _ in itertools.count())
    monkeypatch.setattr(latency, "now", lambda device: next(clock))  # times like no network's, but always the same
    found, network = profiled(tmp_path / "p"), supernet()
    assert found is not None
    macs = mac_tables(network, INPUT_SHAPE)
    tables = found.tables(macs, "profile")
    distribution, generator = Distribution(SMALL_SPACE), torch.Generator().manual_seed(0)
    free = [tables.of(distribution.sample(generator, uniform=True)) for _ in range(200)]
    limit = sorted(free)[60]
    settings = from_dict(BudgetConfig, {"latency_ms": limit, "profile": str(tmp_path / "p" / "profile.yaml")}, "test")
    budget = make_budget(settings, macs, parameter_tables(network))
    drawn = budget.sample(distribution, generator, uniform=True, count=100)
    assert max(tables.of(child) for child in drawn) <= limit < max(free)
    assert all(tables.of(child) <= limit for _, child in budget.most_probable(distribution, 20))
    assert isinstance(budget, Budget) and len(set(drawn)) > 3


def test_a_profile_of_another_network_is_refused(tmp_path: Path) -> None:
    found = profiled(tmp_path / "p")
    assert found is not None
    with pytest.raises(UserError, match=r"profile\.yaml: expected a profile of this space's network"):
        found.tables(mac_tables(supernet(), (1, 3, 12, 8)), "profile.yaml")


def test_a_search_within_milliseconds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = data_folder(tmp_path)
    sizes = ["--set", "network.channels=4", "--set", "network.depth=3", "--set", "network.classes=2"]
    command = ["profile", str(data / "small.yaml"), *sizes, "--input", "1,3,16,16", "--device", "cpu", "--rounds", "1"]
    assert main([*command, "--out", str(tmp_path / "p")]) == 0
    assert capsys.readouterr().out.startswith("on 10 networks that it was not fitted to: Spearman ")
    file = tmp_path / "p" / "profile.yaml"
    found = read_config(LatencyProfile, file)
    running = search(experiment(data, "random"), tmp_path / "free", CPU)
    assert running is not None
    macs = running.search.macs
    tables = found.tables(macs, "profile")
    generator = torch.Generator().manual_seed(0)
    limit = sorted(tables.of(Distribution(macs.space).sample(generator, uniform=True)) for _ in range(99))[50]
    peak = PeakMemory(running.search.supernet, running.search.task.input_shape)
    generator = torch.Generator().manual_seed(0)
    children = [Distribution(macs.space).sample(generator, uniform=True) for _ in range(99)]
    peaks = sorted(peak.of(child) for child in children if tables.of(child) <= limit)
    most = peaks[len(peaks) // 2]
    budget = {"latency_ms": limit, "profile": str(file), "peak_mib": most / 2**20}
    kept = search(experiment(data, "random", budget=budget), tmp_path / "run", CPU)
    assert kept is not None and kept.candidates
    assert max(tables.of(candidate.child) for candidate in kept.candidates) <= limit
    assert max(peak.of(candidate.child) for candidate in kept.candidates) <= most
    assert tables.of(Genotype.load(tmp_path / "run" / "genotype.yaml")) <= limit
    for limits in (f"{limit},{2 * limit}", "1000"):
        assert main(["pareto", str(tmp_path / "free"), "--latency-ms", limits, "--profile", str(file)]) == 0
    points = list(csv.DictReader((tmp_path / "free" / "pareto" / "pareto.csv").read_text().splitlines()))
    assert [float(point["limit_latency_ms"]) for point in points] == [1000]
    assert tables.of(Genotype.load(tmp_path / "free" / "pareto" / f"genotype_latency_ms_{limit:g}.yaml")) <= limit
    assert main(["pareto", str(tmp_path / "free"), "--latency-ms", "3"]) == 2
    assert "expected --latency-ms and --profile together" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("budget", "said"),
    [
        ({"latency_ms": 3.0}, "latency_ms and profile together"),
        ({"gmacs": 1.0, "latency_ms": 3.0, "profile": "p.yaml"}, "one of gmacs, mparameters, latency_ms, units"),
    ],
)
def test_faults_of_the_budget(budget: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        from_dict(BudgetConfig, budget, "test")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["darts", "--rounds", "0"], "--rounds: expected 1 or more, got 0"),
        (["darts", "--input", "3,32,32"], "--input: expected batch, channels, height and width such as 1,3,32,32"),
        (["dart", "--device", "cpu"], "dart: expected a file or a shipped space"),
        (["darts", "--set", "seed=1"], "--set seed: without an experiment's file, expected task= or network.KEY="),
        (["matting_network"], "space matting_network: choices: expected those that the network follows"),
    ],
)
def test_faults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["profile", *arguments]) == 2
    assert said in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_a_space_of_too_few_children_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="expected 40000000 children or more"):
        profile(SMALL_SPACE, supernet(), INPUT_SHAPE, CPU, 1, tmp_path / "p", fitted=10**7, checked=10**7)
