"""A run's folder: settings that must agree, checkpoints that cannot be misread, logs that go on where they stopped."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from atldas.common.errors import UserError
from atldas.common.runfolder import RunLog, load_checkpoint, logged, open_run, read_log, save_checkpoint
from atldas.common.yaml_text import read_yaml

SETTINGS = {"name": "a", "rates": (1e-5, 2.0), "inner": {"steps": 3, "none": None}}


def test_a_new_run_writes_its_settings(tmp_path: Path) -> None:
    assert open_run(tmp_path / "new" / "run", SETTINGS, resume=False) is None
    found = read_yaml(tmp_path / "new" / "run" / "config.yaml")
    assert found == {"name": "a", "rates": [1e-5, 2.0], "inner": {"steps": 3, "none": None}}
    assert list(found) == list(SETTINGS)


def test_a_second_start_needs_resume(tmp_path: Path) -> None:
    open_run(tmp_path, SETTINGS, resume=False)
    with pytest.raises(UserError) as error:
        open_run(tmp_path, SETTINGS, resume=False)
    assert str(error.value) == f"{tmp_path}: holds a run already; go on by --resume, or name another folder by --out"
    assert open_run(tmp_path, SETTINGS, resume=True) is None  # it was stopped before its first checkpoint
    save_checkpoint(tmp_path / "checkpoint.pt", {"step": 7})
    assert open_run(tmp_path, SETTINGS, resume=True) == {"step": 7}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({**SETTINGS, "name": "b"}, "name was 'a', now 'b'"),
        ({**SETTINGS, "inner": {"steps": 4, "none": None}}, "inner.steps was 3, now 4"),
        ({**SETTINGS, "rates": (1e-5, 3.0)}, "rates was [1e-05, 2.0], now [1e-05, 3.0]"),
        ({**SETTINGS, "new": True}, "new was None, now True"),
        ({"name": "a", "rates": (1e-5, 2.0)}, "inner was {'steps': 3, 'none': None}, now None"),
    ],
)
def test_a_run_is_resumed_with_its_own_settings(tmp_path: Path, settings: dict[str, object], said: str) -> None:
    open_run(tmp_path, SETTINGS, resume=False)
    with pytest.raises(UserError) as error:
        open_run(tmp_path, settings, resume=True)
    assert str(error.value).startswith(f"{tmp_path / 'config.yaml'}: {said}; a run is resumed with the settings")
    assert read_yaml(tmp_path / "config.yaml")["name"] == "a"


def test_nothing_to_resume_and_nowhere_to_write(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no run to resume; leave out --resume"):
        open_run(tmp_path / "absent", SETTINGS, resume=True)
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "deeper"):
        with pytest.raises(UserError, match=r"config\.yaml: cannot be written"):
            open_run(folder, SETTINGS, resume=False)


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
    for content in (whole[: len(whole) // 2], b"", b"text", (tmp_path / "evil.pt").read_bytes()):
        path.write_bytes(content)
        with pytest.raises(UserError) as error:
            load_checkpoint(path)
        message = str(error.value)
        assert message.startswith(f"{path}: is not a checkpoint") and "\n" not in message
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
