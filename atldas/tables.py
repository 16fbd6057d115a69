"""Benchmark tables: the only way to a table's figures, and it counts and logs every look-up.

Known formats:
- `.csv` or `.csv.gz`: a header; a column `code` (digits, one per choice) or `arch` (NAS-Bench-201's own notation,
  `|op~0|+|op~0|op~1|+...`); every other column holds figures. The compact NAS-Bench-201 table is such a file, and a
  user's own copy of a public table becomes one by writing its figures out.
- `.json`: NAS-Bench-Macro's own file, a mapping from code to figures (`mean_acc`, `std`, `params`, `flops`; the three
  runs of `test_acc` become `test_acc_0..2`).
Pickled tables (`.pth`, `.pkl`) are not read: to unpickle a file is to run it.
"""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from .common.errors import UserError
from .genotype import Genotype
from .nasbench201 import code_of, code_of_text

LOG_HEADER = "time,table,column,purpose,code,distinct\n"
MACRO_LAYERS = tuple(f"layer_{number}" for number in range(1, 9))
MACRO_OPTIONS = ("identity", "mb3_k3", "mb6_k5")


def table_code(child: Genotype) -> str:
    """The code of a child of the spaces `nasbench201` or `nasbench_macro`.

    Raises:
        UserError: the child is of another space.
    """
    if set(child.cells) == {"normal"} and not child.choices:
        return code_of(child.cells["normal"])
    if not child.cells and set(child.choices) == set(MACRO_LAYERS):
        return "".join(str(MACRO_OPTIONS.index(str(child.choices[layer]))) for layer in MACRO_LAYERS)
    raise UserError(
        f"genotype {child.name}: expected a child of the space nasbench201 or nasbench_macro, "
        "which alone a table can be asked for"
    )


class Table:
    """One column of a benchmark's table.

    Args:
        path: the table's file.
        column: the figure to look up, such as `c10_test200`.
        log: a CSV file, if any: every look-up adds a line (time, table, column, purpose, code, distinct so far).

    Raises:
        UserError: no such file, an unknown format, an unknown column, or a figure that is no number.
    """

    def __init__(self, path: str | Path, column: str, log: str | Path | None = None) -> None:
        self.path, self.column = Path(path), column
        self._log = Path(log) if log is not None else None
        self._looked_up: set[str] = set()
        rows = _read(self.path)
        columns = list(next(iter(rows.values())))
        if column not in columns:
            raise UserError(f"{path}: expected a column that the table has ({', '.join(columns)}), got {column!r}")
        self._figures = {code: _number(row[column], path, code, column) for code, row in rows.items()}

    def __len__(self) -> int:
        """How many architectures the table holds."""
        return len(self._figures)

    @property
    def distinct(self) -> int:
        """How many different architectures have been looked up through this object."""
        return len(self._looked_up)

    def look_up(self, code: str, purpose: str) -> float:
        """The figure of one architecture; counted and logged with what it is for.

        Raises:
            UserError: the table does not hold this architecture.
        """
        if code not in self._figures:
            raise UserError(f"{self.path}: expected the code of an architecture that the table holds, got {code!r}")
        self._note([code], code, purpose)
        return self._figures[code]

    def all_figures(self, purpose: str) -> Mapping[str, float]:
        """Every figure by code, for regret and rank curves; counts as a look-up of every architecture."""
        self._note(list(self._figures), "all", purpose)
        return dict(self._figures)

    def _note(self, codes: list[str], shown: str, purpose: str) -> None:
        self._looked_up.update(codes)
        if self._log is None:
            return
        new = not self._log.exists()
        with self._log.open("a", encoding="utf-8", newline="") as file:
            if new:
                file.write(LOG_HEADER)
            now = datetime.now(timezone.utc).isoformat(timespec="seconds")
            csv.writer(file, lineterminator="\n").writerow(
                [now, self.path.name, self.column, purpose, shown, self.distinct]
            )


def _read(path: Path) -> dict[str, dict[str, Any]]:
    """Code -> the figures of one architecture; every row has the same columns."""
    if not path.is_file():
        raise UserError(f"{path}: expected a benchmark's table, got no file")
    if path.name.endswith((".csv", ".csv.gz")):
        rows = _read_csv(path)
    elif path.suffix == ".json":
        rows = _read_macro(path)
    else:
        raise UserError(f"{path}: expected a table in .csv, .csv.gz or .json (pickled tables are not read)")
    if not rows:
        raise UserError(f"{path}: expected a table, got one without rows")
    return rows


def _read_csv(path: Path) -> dict[str, dict[str, Any]]:
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rt", encoding="utf-8", newline="") as file:
            table = list(csv.DictReader(file, strict=True))
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read as CSV: {error}") from None
    rows: dict[str, dict[str, Any]] = {}
    for line, row in enumerate(table, start=2):
        if None in row or None in row.values():
            raise UserError(f"{path}, line {line}: expected as many fields as the header has")
        if "code" in row:
            code = row.pop("code")
        elif "arch" in row:
            code = code_of_text(row.pop("arch"))
        else:
            raise UserError(f"{path}: expected a column `code` or `arch`, got {', '.join(row)}")
        if code in rows:
            raise UserError(f"{path}, line {line}: found the architecture {code} a second time")
        rows[code] = row
    return rows


def _read_macro(path: Path) -> dict[str, dict[str, Any]]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path}: cannot be read as JSON: {error}") from None
    if not isinstance(data, dict) or not all(isinstance(row, dict) for row in data.values()):
        raise UserError(f"{path}: expected NAS-Bench-Macro's mapping from code to figures")
    return {code: _flat(row) for code, row in data.items()}


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    runs = row.get("test_acc", [])
    figures = {key: value for key, value in row.items() if key != "test_acc"}
    return figures | {f"test_acc_{run}": value for run, value in enumerate(runs)}


def _number(value: Any, path: str | Path, code: str, column: str) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise UserError(f"{path}: {code}: expected a number in the column {column}, got {value!r}") from None
