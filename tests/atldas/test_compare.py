"""Comparisons: every strategy and seed is run once, one failure stops nobody, and a cluster may lose a worker."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import pytest

from atldas.command import main
from atldas.common.errors import UserError
from atldas.common.interruption import Interruption
from atldas.common.runfolder import load_checkpoint
from atldas.compare import parse_seeds
from atldas.comparison import RunRow, markdown, summary
from atldas.genotype import Genotype
from atldas.jobs import INTERRUPTED, Job, run_job
from atldas.nasbench201 import all_codes, cell_of, convolution_units
from atldas.spent import read_spent
from atldas.tables import table_code

HELPERS = str(Path(__file__).parents[1] / "helpers")
EXPERIMENT = """
schema: 2
name: stripes
space: nasbench201
task: stripes:StripesTask
task_options: {batch: 8}
strategy: random
strategy_options: {children: 2}
search: {steps: 0}
evaluation: {rungs: [{oracle: short_training, steps: 2}]}
"""
FAULTY = ("--set-for", "evolution", "strategy_options.cycle=1")
LONG = ("--set", "search={steps: 120, checkpoint_every: 5}", "--set", "task_options.batch=16", "--set",
        "evaluation.rungs=[{oracle: inherited, calibration_batches: 1}]")  # fmt: skip
MENDED = ("--set-for", "evolution", "strategy_options={population: 2, cycles: 1}")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An experiment, and a table that gives a cell its convolution units."""
    folder = tmp_path_factory.mktemp("compare")
    (folder / "experiment.yaml").write_text(EXPERIMENT)
    rows = [f"{code},{convolution_units(cell_of(code))}" for code in all_codes()]
    (folder / "units.csv").write_text("code,units\n" + "\n".join(rows) + "\n")
    return folder


def compare(place: Path, *options: str) -> int:
    words = ["compare", str(place / "experiment.yaml"), "--out", str(place / "out"), "--device", "cpu"]
    words += ["--table", str(place / "units.csv"), "--column", "units"]
    return main([*words, *options])


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.end_to_end
def test_all_are_run_a_failure_is_listed_and_a_resumed_comparison_runs_only_the_rest(
    place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PYTHONPATH", HELPERS)
    out = place / "out"
    assert compare(place, "--strategies", "random,evolution", "--seeds", "0..1", "--jobs", "2", *FAULTY) == 1
    printed = capfd.readouterr()
    told = [line for line in printed.err.splitlines() if line.startswith("evolution, seed")]
    assert len(told) == 2 and all("status 2: error:" in line and "cycle: unknown key" in line for line in told)
    assert [(row["strategy"], row["seed"]) for row in rows_of(out / "runs.csv")] == [("random", "0"), ("random", "1")]
    finished = (out / "searches" / "random_seed_0" / "genotype.yaml").stat().st_mtime_ns

    # The options of a strategy that has not finished may be mended; those of another may not.
    begin_again = ("--strategies", "random,evolution", "--seeds", "0..1", "--resume")
    assert compare(place, *begin_again, "--set-for", "random", "strategy_options.children=3") == 2
    assert "set_for.random[0]" in (said := capfd.readouterr().err) or "set_for.random was" in said
    assert compare(place, "--strategies", "random,evolution", "--seeds", "0", *MENDED) == 2
    assert "continue it with --resume" in capfd.readouterr().err
    assert compare(place, *begin_again, "--jobs", "2", *MENDED) == 0
    assert (out / "searches" / "random_seed_0" / "genotype.yaml").stat().st_mtime_ns == finished

    runs = rows_of(out / "runs.csv")
    assert [(row["strategy"], row["seed"]) for row in runs] == [(s, n) for s in ("random", "evolution") for n in "01"]
    for row in runs:
        folder = out / "searches" / f"{row['strategy']}_seed_{row['seed']}"
        genotype = Genotype.load(folder / "genotype.yaml")
        assert genotype.provenance["seed"] == int(row["seed"]) and genotype.provenance["strategy"] == row["strategy"]
        assert float(row["figure"]) == genotype.provenance["scores"]["accuracy_short_training_2"]
        assert float(row["looked_up"]) == convolution_units(genotype.cells["normal"])
        spent = read_spent(folder / "spent.json")
        assert float(row["images_trained"]) == spent["images_trained"] >= 2 * 8 and float(row["peak_mib"]) > 50
    assert float(runs[0]["images_trained"]) == 2 * 2 * 8  # two children, two steps, a batch of eight

    looked_up = rows_of(out / "lookups.csv")
    assert len(looked_up) == 4 and all("after the choice" in row["purpose"] for row in looked_up)
    assert {row["code"] for row in looked_up} == {
        table_code(Genotype.load(path)) for path in (out / "searches").glob("*/genotype.yaml")
    }
    table = {row["strategy"]: row for row in rows_of(out / "comparison.csv")}
    figures = [float(row["figure"]) for row in runs[:2]]
    assert float(table["random"]["mean"]) == pytest.approx(sum(figures) / 2)
    assert float(table["random"]["deviation"]) == pytest.approx(abs(figures[0] - figures[1]) / 2**0.5)
    assert "| random | 2 |" in (out / "comparison.md").read_text()
    assert cv2.imread(str(out / "comparison.png")).std() > 1


def row(strategy: str, figure: float, seed: int = 0, looked_up: float | None = None, memory: float = 5.0) -> RunRow:
    return RunRow(strategy, seed, figure, looked_up, "", 10.0 * (seed + 1), 20.0, 100.0, 50.0, memory, "child")


def test_a_summary_has_means_deviations_and_the_best_in_the_metrics_direction() -> None:
    rows = [row("a", 1.0, 0, 90.0), row("a", 3.0, 1, 94.0, memory=7.0), row("b", 2.0)]
    a, b = summary(rows, larger_is_better=False)
    assert (a.mean, a.best, a.runs, a.peak_mib, a.images, a.seconds) == (2.0, 1.0, 2, 7.0, 150.0, 15.0)
    assert a.deviation == pytest.approx(2**0.5) and (a.looked_up_mean, a.looked_up_best) == (92.0, 94.0)
    assert b.deviation != b.deviation and b.looked_up_mean is None
    assert summary(rows, larger_is_better=True)[0].best == 3.0
    text = markdown([a, b], "loss", ["A note."])
    assert "| a | 2 | 2 ± 1.4 | 1 | 92 ± 2.8 | 94 | 15 | 20 | 150 | 7 |" in text
    assert "| b | 1 | 2 | 2 |  |  | 10 |" in text and text.endswith("\nA note.\n")


def test_seeds_are_numbers_and_ranges() -> None:
    assert parse_seeds("0..4") == [0, 1, 2, 3, 4] and parse_seeds("7,1..2,7") == [7, 1, 2]
    for text in ("", "a", "4..0", "0..99999", "-1", "1,,2"):
        with pytest.raises(UserError, match="--seeds: expected numbers such as"):
            parse_seeds(text)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--strategies", "random,evolutoin"), "did you mean evolution?"),
        (("--strategies", "random,"), "--strategies: expected names"),
        (("--strategies", "random", "--set-for", "gdas", "seed=1"), "--set-for gdas: expected one of --strategies"),
        (("--strategies", "random", "--column", "none"), "expected a column that the table has (units)"),
        (("--strategies", "random", "--set", "space=darts"), "expected a child of the space nasbench201"),
        (("--strategies", "random", "--cluster", "dask"), "--cluster dask: "),
        (("--strategies", "random", "--resume"), "holds no run to resume"),
    ],
)
def test_faults_are_one_line_before_anything_is_run(
    place: Path, tmp_path: Path, options: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare(place, *options, "--seeds", "0", "--out", str(tmp_path / "new")) == 2
    assert said in (line := capsys.readouterr().err.splitlines()[-1]) and line.startswith("error: ")
    assert not (tmp_path / "new" / "searches").exists()


@pytest.mark.end_to_end
def test_an_interruption_stops_a_run_after_its_step_and_begins_no_other(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", HELPERS)
    words = ("search", str(place / "experiment.yaml"), "--device", "cpu", *LONG)
    stop, checkpoint = Interruption(), tmp_path / "run" / "checkpoint.pt"

    def interrupt() -> None:
        while not checkpoint.exists():
            time.sleep(0.02)
        stop.requested = True

    thread = threading.Thread(target=interrupt)
    thread.start()
    stopped = run_job(Job("first", words, tmp_path / "run"), stop)
    thread.join()
    assert stopped.status == INTERRUPTED and stopped.said.startswith("interrupted; go on with: atldas search")
    assert 5 <= load_checkpoint(checkpoint)["step"] < 120
    assert run_job(Job("second", words, tmp_path / "other"), stop).status == INTERRUPTED
    assert not (tmp_path / "other").exists()


# A cluster

DASK = pytest.mark.skipif(
    importlib.util.find_spec("distributed") is None, reason="needs the extra `cluster` (pip install -e '.[cluster]')"
)


@DASK
@pytest.mark.end_to_end
def test_a_cluster_that_loses_a_worker_finishes_all_searches(place: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": HELPERS, "OMP_NUM_THREADS": "1"}

    def start(name: str, *words: str) -> subprocess.Popen[bytes]:
        with (tmp_path / f"{name}.txt").open("w") as log:
            command = [sys.executable, "-m", *words]
            return subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd=tmp_path)

    connection = str(tmp_path / "scheduler.json")
    dask = [start("scheduler", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0",
                  "--scheduler-file", connection, "--no-dashboard", "--no-jupyter")]  # fmt: skip
    worker = ("distributed.cli.dask_worker", "--scheduler-file", connection, "--no-nanny", "--nthreads", "1",
              "--no-dashboard")  # fmt: skip
    try:
        dask += [start(f"worker_{number}", *worker) for number in range(2)]
        await_true(lambda: Path(connection).exists(), dask[0])
        address = json.loads(Path(connection).read_text())["address"]
        comparing = start("compare", "atldas", "compare", str(place / "experiment.yaml"), "--strategies", "random",
                          "--seeds", "0..1", "--device", "cpu", "--out", str(tmp_path / "out"), *LONG,
                          "--cluster", "dask", "--address", address)  # fmt: skip
        dask.append(comparing)
        searches = tmp_path / "out" / "searches"
        await_true(lambda: any(searches.glob("*/checkpoint.pt")), comparing)
        lost = next(process for process in dask[1:3] if children(process.pid))
        search = children(lost.pid)[0]
        lost.send_signal(signal.SIGKILL)
        lost.wait(30)
        await_true(lambda: not alive(search), comparing)  # it does not outlive its worker
        assert comparing.wait(240) == 0, (tmp_path / "compare.txt").read_text()[-2000:]
    finally:
        for process in dask:
            process.kill()
            process.wait(30)
    assert [row["seed"] for row in rows_of(tmp_path / "out" / "runs.csv")] == ["0", "1"]
    assert all((searches / f"random_seed_{seed}" / "genotype.yaml").exists() for seed in (0, 1))


def await_true(holds: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    while not holds():
        assert process.poll() is None, "it ended before"
        time.sleep(0.05)


def children(parent: int) -> list[int]:
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(parent)], capture_output=True, text=True)
    return [int(word) for word in listed.stdout.split()]


def alive(number: int) -> bool:
    found = subprocess.run(["ps", "-o", "stat=", "-p", str(number)], capture_output=True, text=True).stdout.strip()
    return bool(found) and not found.startswith("Z")
