"""A run's folder: settings that must agree, checkpoints that cannot be misread, logs that go on where they stopped."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from atldas.common.errors import UserError
from atldas.common.runfolder import RunLog, load_checkpoint, logged, open_run, read_log, save_checkpoint
from atldas.common.yaml_text import read_yaml

SETTINGS = {"name": "a", "rates": (1e-5, 2.0), "inner": {"steps": 3, "none": None}}


WRITES = ("checkpoint.pt", "log.csv", "result.yaml")


def opened(folder: Path, settings: dict[str, object] = SETTINGS, resume: bool = False) -> dict[str, Any] | None:
    return open_run(folder, settings, resume, WRITES, changeable=("inner.steps",))


def test_a_new_run_writes_its_settings(tmp_path: Path) -> None:
    assert opened(tmp_path / "new" / "run") is None
    found = read_yaml(tmp_path / "new" / "run" / "config.yaml")
    assert found == {"name": "a", "rates": [1e-5, 2.0], "inner": {"steps": 3, "none": None}}
    assert list(found) == list(SETTINGS)


@pytest.mark.parametrize("progress", ["checkpoint", "log", "result"])
def test_a_second_start_needs_resume(tmp_path: Path, progress: str) -> None:
    opened(tmp_path)
    if progress == "checkpoint":
        save_checkpoint(tmp_path / "checkpoint.pt", {"step": 7})
    elif progress == "log":
        write_rows(tmp_path, range(1), 0)
    else:
        (tmp_path / "result.yaml").write_text("x: 1")
    with pytest.raises(UserError) as error:
        opened(tmp_path)
    expected = f"{tmp_path}: holds a run already; continue it with --resume, or name another folder with --out"
    assert str(error.value) == expected
    assert opened(tmp_path, resume=True) == ({"step": 7} if progress == "checkpoint" else None)


def test_fewer_steps_than_are_done_are_refused_and_the_settings_kept(tmp_path: Path) -> None:
    opened(tmp_path)
    save_checkpoint(tmp_path / "checkpoint.pt", {"step": 7})
    fewer = {**SETTINGS, "inner": {"steps": 6, "none": None}}
    with pytest.raises(UserError, match=r"^inner\.steps: expected at least 7, the steps done, got 6$"):
        open_run(tmp_path, fewer, True, WRITES, ("inner.steps",), ("inner.steps", 6))
    assert read_yaml(tmp_path / "config.yaml")["inner"]["steps"] == 3
    assert open_run(tmp_path, fewer, True, WRITES, ("inner.steps",), ("inner.steps", 7)) == {"step": 7}


def test_a_checkpoint_without_a_step_is_left_to_whoever_takes_it(tmp_path: Path) -> None:
    opened(tmp_path)
    save_checkpoint(tmp_path / "checkpoint.pt", {"other": 7})
    assert open_run(tmp_path, SETTINGS, True, WRITES, ("inner.steps",), ("inner.steps", 3)) == {"other": 7}


@pytest.mark.parametrize("resume", [False, True])
def test_a_run_without_a_step_may_be_replaced(tmp_path: Path, resume: bool) -> None:
    opened(tmp_path)
    write_rows(tmp_path, range(0), 0)  # a log with no rows
    assert opened(tmp_path, {**SETTINGS, "name": "b"}, resume) is None
    assert read_yaml(tmp_path / "config.yaml")["name"] == "b"


@pytest.mark.parametrize("name", ["config.yaml", *WRITES])
def test_a_file_of_another_origin_is_not_replaced(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine: 1\n")
    (tmp_path / "other.txt").write_text("left alone")
    with pytest.raises(UserError) as error:
        opened(tmp_path)
    assert str(error.value).startswith(f"{tmp_path}: expected a folder without {name}, which the run would replace")
    with pytest.raises(UserError, match="holds no run to resume"):
        opened(tmp_path, resume=True)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        name: "mine: 1\n",
        "other.txt": "left alone",
    }


def test_a_checkpoint_is_never_loaded_unasked(tmp_path: Path) -> None:
    opened(tmp_path)
    save_checkpoint(tmp_path / "checkpoint.pt", {"step": 7})
    (tmp_path / "config.yaml").unlink()
    with pytest.raises(UserError, match=r"expected a folder without checkpoint\.pt"):
        opened(tmp_path)
    with pytest.raises(UserError, match=r"holds no run to resume \(no config\.yaml of one\)"):
        opened(tmp_path, resume=True)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({**SETTINGS, "name": "b"}, "name was 'a', now 'b'"),
        ({**SETTINGS, "inner": {"steps": 4, "none": 1}}, "inner.none was None, now 1"),
        ({**SETTINGS, "rates": (1e-5, 3.0)}, "rates was [1e-05, 2.0], now [1e-05, 3.0]"),
        ({**SETTINGS, "from": "weights"}, "from was None, now 'weights'"),
        ({"name": "a", "rates": (1e-5, 2.0)}, "inner was {'steps': 3, 'none': None}, now None"),
    ],
)
def test_a_run_is_resumed_with_its_own_settings(tmp_path: Path, settings: dict[str, object], said: str) -> None:
    opened(tmp_path)
    save_checkpoint(tmp_path / "checkpoint.pt", {"step": 7})
    with pytest.raises(UserError) as error:
        opened(tmp_path, settings, resume=True)
    assert str(error.value).startswith(f"{tmp_path / 'config.yaml'}: {said}; a run is resumed with the settings")
    assert read_yaml(tmp_path / "config.yaml")["name"] == "a"


def test_settings_that_may_change_do(tmp_path: Path) -> None:
    opened(tmp_path)
    save_checkpoint(tmp_path / "checkpoint.pt", {"step": 7})
    assert opened(tmp_path, {**SETTINGS, "inner": {"steps": 9, "none": None}}, resume=True) == {"step": 7}
    assert read_yaml(tmp_path / "config.yaml")["inner"] == {"steps": 9, "none": None}


def test_nothing_to_resume_and_nowhere_to_write(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no run to resume"):
        opened(tmp_path / "absent", resume=True)
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "deeper"):
        with pytest.raises(UserError, match=r"file: expected a folder for the run, got a file"):
            opened(folder)


def test_a_checkpoint_comes_back(tmp_path: Path) -> None:
    state = {"weights": {"w": torch.randn(3)}, "step": 3, "baseline": None, "names": ["a", 1.5]}
    save_checkpoint(tmp_path / "c.pt", state)
    found = load_checkpoint(tmp_path / "c.pt")
    assert torch.equal(found["weights"]["w"], state["weights"]["w"])  # type: ignore[index]
    assert {key: found[key] for key in ("step", "baseline", "names")} == {
        "step": 3,
        "baseline": None,
        "names": ["a", 1.5],
    }
    assert [path.name for path in tmp_path.iterdir()] == ["c.pt"]


def test_a_failed_write_leaves_the_checkpoint_before(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "c.pt", {"step": 1})
    with pytest.raises(Exception, match="pickle"):
        save_checkpoint(tmp_path / "c.pt", {"step": lambda: 2})
    assert load_checkpoint(tmp_path / "c.pt") == {"step": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["c.pt"]


class Evil:
    """Unpickling it would make a folder."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("executed",)


def test_a_damaged_or_foreign_checkpoint_is_named_and_not_executed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "c.pt"
    save_checkpoint(path, {"w": torch.zeros(1000)})
    whole = path.read_bytes()
    torch.save({"x": Evil()}, tmp_path / "evil.pt")
    torch.save({}, tmp_path / "nothing.pt")
    torch.save([1], tmp_path / "list.pt")
    others = ((tmp_path / f"{name}.pt").read_bytes() for name in ("evil", "nothing", "list"))
    for content in (whole[: len(whole) // 2], b"", b"text", *others):
        path.write_bytes(content)
        with pytest.raises(UserError) as error:
            load_checkpoint(path)
        message = str(error.value)
        assert message.startswith(f"{path}: expected a checkpoint of a run, got") and "\n" not in message
        assert "()" not in message
    assert not (tmp_path / "executed").exists()


def write_rows(folder: Path, steps: range, start: int) -> None:
    with RunLog(folder, ("loss", "rate"), start) as log:
        for step in steps:
            log.write(step, {"loss": step / 3, "rate": None if step % 2 else 0.1})


def test_a_resumed_log_is_the_uninterrupted_one(tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    (tmp_path / "parts").mkdir()
    write_rows(tmp_path / "whole", range(8), 0)
    write_rows(tmp_path / "parts", range(6), 0)
    write_rows(tmp_path / "parts", range(4, 8), 4)  # the checkpoint was at 4, rows 4 and 5 were already written
    assert (tmp_path / "parts" / "log.csv").read_bytes() == (tmp_path / "whole" / "log.csv").read_bytes()
    assert list((tmp_path / "whole" / "tensorboard").glob("events.out.tfevents.*"))


def test_figures_are_read_back_exactly(tmp_path: Path) -> None:
    write_rows(tmp_path, range(4), 0)
    rows = read_log(tmp_path)
    assert rows[1] == {"step": "1", "loss": repr(1 / 3), "rate": ""}
    assert logged(rows, "loss") == ([0, 1, 2, 3], [0.0, 1 / 3, 2 / 3, 1.0])
    assert logged(rows, "rate") == ([0, 2], [0.1, 0.1])
    assert logged(rows, "absent") == ([], [])
    assert read_log(tmp_path / "absent") == []


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX limits")
@pytest.mark.parametrize("what", ["checkpoint", "log"])
def test_a_full_disk_is_one_line_and_leaves_what_was_there(tmp_path: Path, what: str) -> None:
    """In a process of its own, whose files may not grow over 64 KiB."""
    code = f"""
import resource, sys
from pathlib import Path
import torch
from atldas.common.errors import exit_status
from atldas.common.runfolder import RunLog, save_checkpoint
folder = Path(sys.argv[1])
save_checkpoint(folder / "c.pt", {{"step": 1}})
def work():
    resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))
    if {what == "checkpoint"}:
        save_checkpoint(folder / "c.pt", {{"w": torch.zeros(100_000)}})
    with RunLog(folder, ("loss",), 0) as log:
        for step in range(10_000):
            log.write(step, {{"loss": 1 / 3}})
sys.exit(exit_status(work))
"""
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, timeout=120)
    name = "c.pt" if what == "checkpoint" else "log.csv"
    assert done.returncode == 2
    assert done.stderr == f"error: {tmp_path / name}: cannot be written (File too large)\n"
    assert load_checkpoint(tmp_path / "c.pt") == {"step": 1}
    assert not list(tmp_path.glob(".*"))
