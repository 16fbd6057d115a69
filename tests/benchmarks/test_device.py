"""benchmarks/device.py: the checks of a device, small and on the CPU, and what becomes of those that fail."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch
from scripts import ROOT, load_script

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    monkeypatch.setenv("CHEAPMATTING_CACHE", str(tmp_path / "cache"))
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return load_script("benchmarks/device.py")


def cells(table: Path) -> list[list[str]]:
    lines = [line for line in table.read_text().splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line[1:-1].split("|")] for line in lines]
    assert rows[0] == ["check", "of", "result", "verdict"] and rows[1] == ["---"] * 4
    return rows[2:]


def test_every_check_runs_on_the_cpu_and_none_fails(device: ModuleType, tmp_path: Path) -> None:
    assert device.run(["--device", "cpu", "--small", "--out", str(tmp_path / "table.md")]) == 0
    rows = cells(tmp_path / "table.md")
    assert all(len(row) == 4 for row in rows)
    good = {row[0] for row in rows if row[3] == "ok"}
    assert {
        "parity with the CPU", "Matter, all unknown, frames a second", "training step", "search step, atldas",
        "BatchNorm over two processes", "torch.compile",
    } <= good  # fmt: skip
    verdicts = {row[0]: row[3] for row in rows}
    assert verdicts["CUDA graph"] == "does not apply: cpu has none"
    assert verdicts["published network, peak memory"] == "does not apply: nothing is claimed for it"
    others = [row for row in rows if row[3] != "ok"]
    assert all(row[3].startswith("does not apply: ") and len(row[3]) > 20 for row in others)
    figures = [float(row[2]) for row in rows if row[0].endswith("a second")]
    assert len(figures) == 4 and min(figures) > 0


def test_a_check_that_fails_or_dies_is_a_row_and_the_others_run(
    device: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def off(at: object) -> Iterator[object]:
        yield sys.modules["device_checks"].judged("first", "x", "0.5 off", False, "0.1 or less")

    def dies(at: object) -> Iterator[object]:
        yield device.Row("second", "", "begun")
        raise RuntimeError("CUDA error: an illegal | memory access\nfurther lines")

    def fine(at: object) -> Iterator[object]:
        yield device.Row("third", "", "1.0")

    monkeypatch.setattr(device, "CHECKS", {"off": off, "dies": dies, "fine": fine})
    assert device.run(["--device", "cpu", "--small", "--out", str(tmp_path / "table.md")]) == 1
    assert cells(tmp_path / "table.md") == [
        ["first", "x", "0.5 off", "FAILS: expected 0.1 or less"],
        ["second", "", "begun", "ok"],
        ["dies", "", "", "FAILS: CUDA error: an illegal / memory access"],
        ["third", "", "1.0", "ok"],
    ]
    assert "RuntimeError" in capsys.readouterr().err  # with its traceback, for whoever mends it


def test_a_process_that_dies_or_hangs_keeps_the_rows_before(device: ModuleType) -> None:
    begun = 'print(\'noise\'); print(\'["a", "b", "c", "ok"]\', flush=True);'
    kept = device.Row("a", "b", "c", "ok")
    dead = device.rows_in_a_process([sys.executable, "-c", f"{begun} import os; os._exit(7)"], "name", 60)
    assert dead == [kept, device.Row("name", "", "", "FAILS: its process ended with status 7")]
    hung = device.rows_in_a_process([sys.executable, "-c", f"{begun} import time; time.sleep(600)"], "name", 2)
    assert hung == [kept, device.Row("name", "", "", "FAILS: not finished after 2 s")]
    late = device.rows_in_a_process([sys.executable, "-c", ""], "name", -1)
    assert late == [device.Row("name", "", "", "FAILS: the time was over before it began")]


def test_a_check_in_a_process_of_its_own(device: ModuleType) -> None:
    command = [sys.executable, str(ROOT / "benchmarks/device.py"), "--device", "cpu", "--check", "cuda_graphs"]
    assert device.rows_in_a_process(command, "cuda_graphs", 600) == [
        device.Row("CUDA graph", "", "", "does not apply: cpu has none")
    ]


@pytest.mark.parametrize(
    ("processors", "good", "claimed", "verdict"),
    [
        (68, True, True, "ok"),
        (68, False, True, "FAILS: expected 26 or more, as published for an RTX 2080 Ti"),
        (20, True, True, "ok"),
        (20, False, True, "does not apply: the claim, 26 or more, is for an RTX 2080 Ti or more"),
        (68, False, False, "does not apply: nothing is claimed for it"),
    ],
)
def test_the_published_claims_hold_where_they_were_made(
    processors: int, good: bool, claimed: bool, verdict: str, device: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    properties = SimpleNamespace(multi_processor_count=processors)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
    at = device.Place(torch.device("cuda"), small=False)
    assert sys.modules["device_checks"]._claim(at, claimed, good, "26 or more") == verdict
