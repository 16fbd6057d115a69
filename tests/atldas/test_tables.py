"""Benchmark tables: both formats, every fault named, every look-up counted and logged."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path

import pytest

from atldas.common.errors import UserError
from atldas.tables import Table

CSV = "code,val,test\n333333,80.5,93.5\n000000,10,10.25\n"
MACRO = {
    "0201": {"test_acc": [89.5, 89.0, 88.5], "mean_acc": 89.0, "std": 0.4, "params": 890666, "flops": 47327744},
    "1111": {"test_acc": [92.0, 92.5, 93.0], "mean_acc": 92.5, "std": 0.4, "params": 2181386, "flops": 65012224},
}


def written(path: Path, text: str) -> Path:
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)
    return path


def logged(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


@pytest.mark.parametrize("name", ["table.csv", "table.csv.gz"])
def test_a_csv_table_gives_the_column_asked_for(tmp_path: Path, name: str) -> None:
    path = written(tmp_path / name, CSV)
    assert Table(path, "test").look_up("000000", "a test") == 10.25
    assert Table(path, "val").look_up("333333", "a test") == 80.5
    assert len(Table(path, "val")) == 2


def test_a_table_may_name_cells_as_the_benchmark_does(tmp_path: Path) -> None:
    arch = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|avg_pool_3x3~1|none~2|"
    path = written(tmp_path / "table.csv", f"arch,test\n{arch},94\n")
    assert Table(path, "test").look_up("333140", "a test") == 94


def test_nas_bench_macros_file_is_read(tmp_path: Path) -> None:
    path = written(tmp_path / "macro.json", json.dumps(MACRO))
    assert Table(path, "mean_acc").look_up("1111", "a test") == 92.5
    assert Table(path, "test_acc_2").look_up("0201", "a test") == 88.5
    assert Table(path, "flops").look_up("0201", "a test") == 47327744


def test_look_ups_are_counted_once_per_architecture_and_logged_every_time(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    table = Table(written(tmp_path / "table.csv", CSV), "test", log)
    assert not log.exists()
    for code in ("333333", "333333", "000000"):
        table.look_up(code, "final, seed 0")
    assert table.distinct == 2
    rows = logged(log)
    assert [(row["code"], row["distinct"]) for row in rows] == [("333333", "1"), ("333333", "1"), ("000000", "2")]
    assert {(row["table"], row["column"], row["purpose"]) for row in rows} == {("table.csv", "test", "final, seed 0")}


def test_a_second_table_goes_on_in_the_same_log(tmp_path: Path) -> None:
    path = written(tmp_path / "table.csv", CSV)
    for _ in range(2):
        Table(path, "test", tmp_path / "log.csv").look_up("333333", "twice")
    assert len(logged(tmp_path / "log.csv")) == 2


def test_all_figures_count_as_every_look_up(tmp_path: Path) -> None:
    table = Table(written(tmp_path / "table.csv", CSV), "test", tmp_path / "log.csv")
    assert table.all_figures("regret curves") == {"333333": 93.5, "000000": 10.25}
    assert table.distinct == len(table)
    assert [row["code"] for row in logged(tmp_path / "log.csv")] == ["all"]


def test_an_unknown_architecture_is_an_error_and_no_look_up(tmp_path: Path) -> None:
    table = Table(written(tmp_path / "table.csv", CSV), "test", tmp_path / "log.csv")
    with pytest.raises(UserError, match="got '444444'"):
        table.look_up("444444", "a test")
    assert table.distinct == 0
    assert not (tmp_path / "log.csv").exists()


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("t.csv", "code,val\n333333,80\n", r"has \(val\), got 'test'"),
        ("t.csv", "code,test\n333333,many\n", "333333: expected a number in the column test, got 'many'"),
        ("t.csv", "cell,test\n333333,80\n", "expected a column `code` or `arch`"),
        ("t.csv", "code,test\n333333\n", "line 2: expected as many fields"),
        ("t.csv", "code,test\n333333,1,2\n", "line 2: expected as many fields"),
        ("t.csv", "code,test\n1,1\n1,2\n", "line 3: found the architecture 1 a second time"),
        ("t.csv", "code,test\n", "without rows"),
        ("t.json", "[1]", "expected NAS-Bench-Macro's mapping"),
        ("t.json", "{", "cannot be read as JSON"),
        ("t.pth", "x", "pickled tables are not read"),
    ],
)
def test_faults_are_named(tmp_path: Path, name: str, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Table(written(tmp_path / name, text), "test")


def test_a_missing_or_broken_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="expected a benchmark's table, got no file"):
        Table(tmp_path / "missing.csv", "test")
    (tmp_path / "broken.csv.gz").write_bytes(b"no gzip")
    with pytest.raises(UserError, match="cannot be read as CSV"):
        Table(tmp_path / "broken.csv.gz", "test")
