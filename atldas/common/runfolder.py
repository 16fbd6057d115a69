"""A run's folder: its resolved configuration, its checkpoint, its log. What makes long work resumable."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import tensorboardX
import torch

from .atomic import atomic_path, write_text
from .errors import UserError
from .yaml_text import read_yaml, to_yaml

CONFIG, CHECKPOINT, LOG = "config.yaml", "checkpoint.pt", "log.csv"


def open_run(folder: str | Path, settings: Mapping[str, Any], resume: bool) -> dict[str, Any] | None:
    """Make or reopen a run's folder and return its checkpoint (None: begin at the beginning).

    Raises:
        UserError: the folder holds a run and `resume` was not asked for, or the run in it had other settings.
    """
    folder = Path(folder)
    settings = json.loads(json.dumps(settings))  # as YAML gives them back: lists, not tuples
    if (folder / CONFIG).exists():
        if not resume:
            raise UserError(f"{folder}: holds a run already; go on by --resume, or name another folder by --out")
        if differing := _difference(read_yaml(folder / CONFIG), settings):
            raise UserError(f"{folder / CONFIG}: {differing}; a run is resumed with the settings it was begun with")
    elif resume:
        raise UserError(f"{folder}: holds no run to resume; leave out --resume to begin one")
    write_text(folder / CONFIG, to_yaml(settings))
    return load_checkpoint(folder / CHECKPOINT) if (folder / CHECKPOINT).exists() else None


def _difference(old: Any, new: Any, path: str = "") -> str | None:
    """The first key path at which two settings differ, with both values."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in {**old, **new}:
            found = _difference(old.get(key), new.get(key), f"{path}.{key}" if path else str(key))
            if found:
                return found
        return None
    return None if old == new else f"{path} was {old!r}, now {new!r}"


def save_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Write tensors and plain data atomically."""
    with atomic_path(path) as temporary:
        torch.save(dict(state), temporary)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read what `save_checkpoint` wrote; nothing in the file is executed.

    Raises:
        UserError: the file is damaged or something else.
    """
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle can end in almost any error
        reason = str(error).partition("\n")[0]
        raise UserError(f"{path}: is not a checkpoint of this program, or it is damaged ({reason})") from error
    return state


class RunLog:
    """Rows of figures, one per logged step, to `log.csv` and TensorBoard.

    Rows from `start` on that an interrupted run had already written are dropped, so that the resumed run's log is the
    uninterrupted run's log.
    """

    def __init__(self, folder: Path, columns: Sequence[str], start: int) -> None:
        self.columns = ("step", *columns)
        kept = [row for row in read_log(folder) if int(row["step"]) < start] if start else []
        with atomic_path(folder / LOG) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self.columns)
            writer.writeheader()
            writer.writerows(kept)
        self._file = (folder / LOG).open("a", newline="", encoding="utf-8")
        self._writer = csv.DictWriter(self._file, self.columns)
        self._board = tensorboardX.SummaryWriter(str(folder / "tensorboard"), purge_step=start)

    def __enter__(self) -> RunLog:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()
        self._board.close()

    def write(self, step: int, figures: Mapping[str, float | None]) -> None:
        """Log one step; a figure that is None is left empty."""
        self._writer.writerow({"step": step, **{k: "" if v is None else repr(float(v)) for k, v in figures.items()}})
        self._file.flush()
        for name, value in figures.items():
            if value is not None:
                self._board.add_scalar(name, value, step)


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
