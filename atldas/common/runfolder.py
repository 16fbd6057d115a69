"""A run's folder: its resolved configuration, its checkpoint, its log. What makes long work resumable."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import torch

from . import processes
from .atomic import atomic_path, write_text
from .errors import UserError
from .tensorboard import EventFile
from .yaml_text import read_yaml, shown, to_yaml

CONFIG, CHECKPOINT, LOG = "config.yaml", "checkpoint.pt", "log.csv"
HEADER = "# The settings of a run, as it was started or last resumed.\n"  # tells a run's config.yaml from another


def open_run(
    folder: str | Path,
    settings: Mapping[str, Any],
    resume: bool,
    writes: Sequence[str],
    changeable: Sequence[str] = (),
    steps: tuple[str, int] | None = None,
) -> dict[str, Any] | None:
    """Make or reopen a run's folder, write its config.yaml and return its checkpoint (None: begin at the beginning).

    A run that has done no step may be replaced by one with other settings, with or without `resume`.

    Args:
        settings: everything that decides what the run computes, also what was given beside the settings file.
        writes: the files that the run writes besides config.yaml. A new run replaces none of them.
        changeable: key paths of settings that may differ when a run is resumed, such as `search.steps`.
        steps: the setting that says how many steps there will be, and how many. A checkpoint's own number is `step`.

    Raises:
        UserError: the folder holds a run and `resume` was not asked for, the run in it had other settings or has done
            more steps, there is no run to resume, `folder` is a file, or a file of another origin would be replaced.
    """
    folder = Path(folder)
    if file := next((path for path in (folder, *folder.parents) if path.is_file()), None):
        raise UserError(f"{file}: expected a folder for the run, got a file; name another folder with --out")
    settings = json.loads(json.dumps(settings))  # as YAML gives them back: lists, not tuples
    begun = has_begun(folder, writes)
    if begun and not resume:
        raise UserError(f"{folder}: holds a run already; continue it with --resume, or name another folder with --out")
    if begun:
        if differing := _difference(read_yaml(folder / CONFIG), settings, changeable):
            raise UserError(f"{folder / CONFIG}: {differing}; a run is resumed with the settings it was begun with")
    elif not _is_run(folder):
        if resume:
            raise UserError(f"{folder}: holds no run to resume (no {CONFIG} of one); leave out --resume to begin one")
        require_absent(folder, (CONFIG, *writes))
    state = load_checkpoint(folder / CHECKPOINT) if begun and (folder / CHECKPOINT).exists() else None
    if state and steps and state.get("step", 0) > steps[1]:  # another program's file may have none
        raise UserError(f"{steps[0]}: expected at least {state['step']}, the steps done, got {steps[1]}")
    write_text(folder / CONFIG, HEADER + to_yaml(settings))
    return state


def open_run_together(
    folder: Path,
    settings: Mapping[str, Any],
    resume: bool,
    writes: Sequence[str],
    changeable: Sequence[str] = (),
    steps: tuple[str, int] | None = None,
) -> dict[str, Any] | None:
    """`open_run` by process 0; every process gets the checkpoint, if there is one. All must see the same folder.

    torchrun starts the same command again after a process has died: it then goes on.
    """
    state = None
    if processes.rank() == 0:
        resume = resume or (processes.restarted() and (folder / CONFIG).exists())
        state = open_run(folder, settings, resume, writes, changeable, steps)
    processes.barrier()
    if processes.rank() > 0 and (folder / CHECKPOINT).exists():
        state = load_checkpoint(folder / CHECKPOINT)
    return state


def _is_run(folder: Path) -> bool:
    try:
        return (folder / CONFIG).read_bytes().startswith(HEADER.encode())
    except OSError:  # also a folder that is a file: writing there says so
        return False


def require_absent(folder: Path, names: Sequence[str]) -> None:
    """Check that a run which begins in `folder` and writes files of these names replaces none of another origin.

    Raises:
        UserError: some of them exist; all of those are named.
    """
    if found := [name for name in names if (folder / name).exists()]:
        raise UserError(
            f"{folder}: expected a folder without {', '.join(found)}, which the run would replace; "
            "name another folder with --out"
        )


def has_begun(folder: Path, writes: Sequence[str]) -> bool:
    """Whether the folder holds a run that writes `writes`, and more of it than its settings and a log without rows."""
    if not _is_run(folder):
        return False
    return any((folder / name).exists() for name in writes if name != LOG) or bool(read_log(folder))


def _difference(old: Any, new: Any, changeable: Sequence[str], path: str = "") -> str | None:
    """The first key path at which two settings differ, with both values."""
    if path in changeable:
        return None
    if isinstance(old, dict) and isinstance(new, dict):
        for key in {**old, **new}:
            found = _difference(old.get(key), new.get(key), changeable, f"{path}.{key}" if path else str(key))
            if found:
                return found
        return None
    return None if old == new else f"{path} was {old!r}, now {new!r}"


def save_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Write tensors and plain data atomically.

    Raises:
        UserError: the file cannot be written, for example because the disk is full.
    """
    content = io.BytesIO()  # torch.save's own writer turns a full disk into errors without the reason
    torch.save(dict(state), content)
    with atomic_path(path) as temporary:
        temporary.write_bytes(content.getbuffer())


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read what `save_checkpoint` wrote; nothing in the file is executed.

    Raises:
        UserError: the file is damaged, empty or something else.
    """
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle can end in almost any error
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise UserError(f"{path}: expected a checkpoint of a run, got a damaged or other file ({reason})") from error
    if not isinstance(state, dict) or not state:
        raise UserError(f"{path}: expected a checkpoint of a run, got {shown(state)}")
    return state


class RunLog:
    """Rows of figures, one per logged step, to `log.csv` and TensorBoard.

    Rows from `start` on, which an interrupted run wrote after its last checkpoint, are dropped. The resumed run's log
    is then the uninterrupted run's log.
    """

    def __init__(self, folder: Path, columns: Sequence[str], start: int) -> None:
        self._path = folder / LOG
        self.columns = ("step", *columns)
        kept = [row for row in read_log(folder) if int(row["step"]) < start] if start else []
        with atomic_path(self._path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self.columns)
            writer.writeheader()
            writer.writerows(kept)
        with _told(self._path):
            self._file = self._path.open("a", newline="", encoding="utf-8")
            self._writer = csv.DictWriter(self._file, self.columns)
            self._events = EventFile(folder / "tensorboard", start)

    def __enter__(self) -> RunLog:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        with suppress(OSError) if kind else _told(self._path):  # a second error would hide the first
            try:
                self._file.close()
            finally:
                self._events.close()

    def write(self, step: int, figures: Mapping[str, float | None]) -> None:
        """Log one step; a figure that is None is left empty.

        Raises:
            UserError: the log cannot be written, for example because the disk is full.
        """
        values = {name: float(value) for name, value in figures.items() if value is not None}
        with _told(self._path):
            self._writer.writerow(
                {"step": step, **dict.fromkeys(figures, ""), **{k: repr(v) for k, v in values.items()}}
            )
            self._file.flush()
            self._events.write(step, values)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Tell errors of the system as one line about `path`."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror or error})") from error


def read_log(folder: Path) -> list[dict[str, str]]:
    """The rows of a run's `log.csv`; none if there is no log yet."""
    if not (folder / LOG).exists():
        return []
    with (folder / LOG).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def logged(rows: Sequence[Mapping[str, str]], column: str) -> tuple[list[int], list[float]]:
    """(steps, values) of one column, where it has a value."""
    pairs = [(int(row["step"]), float(row[column])) for row in rows if row.get(column)]
    return [step for step, _ in pairs], [value for _, value in pairs]
