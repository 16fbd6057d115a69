"""`atldas report RUN...`: one HTML file that needs nothing else, with everything that searches found, side by side."""

from __future__ import annotations

import argparse
import base64
import csv
import html
import io
import math
from collections.abc import Sequence
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from .cell_picture import cells_figure
from .common.atomic import write_text
from .common.curves import SEARCH_PANELS, curves_figure
from .common.errors import UserError
from .common.runfolder import CONFIG, read_log
from .genotype import Genotype
from .probabilities import LEARNT, PROBABILITIES, History, learnt_in_words, read_probabilities

EXAMPLES = """examples:
  atldas report runs/first
  atldas report runs/first runs/second --out both.html
"""
CANDIDATES = 30  # rows of the table that are shown
STYLE = """
:root { color-scheme: light; --ink: #1a202c; --soft: #4a5568; --line: #e2e8f0; --accent: #2b6cb0; }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); margin: 2rem auto;
  max-width: 96rem; padding: 0 1.5rem; }
h1 { font-size: 1.6rem; margin: 0 0 .2rem; } h2 { font-size: 1.15rem; margin: 2rem 0 .6rem; }
h3 { font-size: 1rem; margin: 1.2rem 0 .4rem; color: var(--soft); }
.runs { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 34rem), 1fr)); gap: 2.5rem; }
.run { border-top: 3px solid var(--accent); padding-top: .6rem; min-width: 0; }
table { border-collapse: collapse; font-size: .85rem; width: 100%; } .wide { overflow-x: auto; }
th, td { text-align: left; padding: .25rem .6rem; border-bottom: 1px solid var(--line); vertical-align: top; }
td.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
img { max-width: 100%; height: auto; } pre { background: #f7fafc; padding: .8rem; overflow-x: auto; font-size: .8rem; }
summary { cursor: pointer; color: var(--accent); margin: .6rem 0; } .said { color: var(--soft); }
"""


def report(folders: Sequence[Path]) -> str:
    """The page as text.

    Raises:
        UserError: a folder holds no finished search.
    """
    runs = [_run(folder) for folder in folders]
    names = ", ".join(html.escape(folder.name) for folder in folders)
    return (
        f"<!doctype html><html lang=en><head><meta charset=utf-8><title>ATLDAS: {names}</title>"
        f"<meta name=viewport content='width=device-width, initial-scale=1'><style>{STYLE}</style></head><body>"
        f"<h1>ATLDAS search report</h1><p class=said>{len(runs)} run{'s' * (len(runs) != 1)}: {names}</p>"
        f"{_overview(folders) if len(folders) > 1 else ''}<div class=runs>{''.join(runs)}</div></body></html>"
    )


def _run(folder: Path) -> str:
    if not (folder / "genotype.yaml").exists():
        raise UserError(f"{folder}: expected the folder of a finished search, got no genotype.yaml in it")
    genotype = Genotype.load(folder / "genotype.yaml")
    parts = [f"<section class=run><h2>{html.escape(genotype.name)}</h2>", _facts(genotype, folder)]
    if genotype.cells:
        parts += ["<h3>Cells</h3>", _picture(cells_figure(genotype), "the cells found")]
    if genotype.choices:
        parts += ["<h3>Choices</h3>", _table(("choice", "option"), list(genotype.choices.items()))]
    rows = read_log(folder)
    if rows:
        parts += ["<h3>How the search went</h3>", _picture(curves_figure(rows, SEARCH_PANELS), "curves of the log")]
    histories = [h for h in read_probabilities(folder / PROBABILITIES) if len(h.options) > 1 and len(h.steps) > 1]
    if histories:
        parts += ["<h3>Probabilities over time</h3>", _picture(heat_maps(histories), "probabilities of every variable")]
    parts += [_candidates(folder), _learnt(folder)]
    for name in (CONFIG, "genotype.yaml"):
        text = html.escape((folder / name).read_text(encoding="utf-8")) if (folder / name).exists() else ""
        parts.append(f"<details><summary>{name}</summary><pre>{text}</pre></details>")
    return "".join(parts) + "</section>"


def _facts(genotype: Genotype, folder: Path) -> str:
    said = genotype.provenance
    rows: list[tuple[str, object]] = [("folder", folder)]
    rows += [(key, said[key]) for key in ("space", "task", "strategy", "seed", "steps", "command") if key in said]
    rows += [(f"score: {name}", value) for name, value in said.get("scores", {}).items()]
    rows += [(f"cost: {name}", value) for name, value in said.get("costs", {}).items()]
    rows += [(f"version: {name}", value) for name, value in said.get("versions", {}).items()]
    return _table(("", ""), rows)


def _overview(folders: Sequence[Path]) -> str:
    rows = []
    for folder in folders:
        said = Genotype.load(folder / "genotype.yaml").provenance if (folder / "genotype.yaml").exists() else {}
        scores = ", ".join(f"{name} {_shown(value)}" for name, value in said.get("scores", {}).items())
        rows.append((folder, said.get("strategy", ""), said.get("seed", ""), scores))
    return "<h2>Overview</h2>" + _table(("run", "strategy", "seed", "scores"), rows)


def _candidates(folder: Path) -> str:
    path = folder / "candidates.csv"
    if not path.exists():
        return ""
    with path.open(newline="", encoding="utf-8") as file:
        header, *rows = list(csv.reader(file))
    more = f"<p class=said>the best {CANDIDATES} of {len(rows)}</p>" if len(rows) > CANDIDATES else ""
    title = "<h3>Candidates, by the oracles they reached</h3>"
    return f"{title}{more}<div class=wide>{_table(header, rows[:CANDIDATES])}</div>"


def _learnt(folder: Path) -> str:
    path = folder / LEARNT
    if not path.exists():
        return ""
    with path.open(newline="", encoding="utf-8") as file:
        header, *rows = list(csv.reader(file))
    figures = {kind: [float(value) for found, value in rows if found == kind] for kind in ("learned", "random")}
    words = html.escape(learnt_in_words(figures, header[1]))
    return f"<h3>What was learned</h3><p>{words}</p>{_picture(_strips(figures, header[1]), words)}"


def heat_maps(histories: Sequence[History]) -> Figure:
    """One panel a variable: options from top to bottom, steps from left to right, dark is probable."""
    columns = min(3, len(histories))
    lines = math.ceil(len(histories) / columns)
    most = max(len(history.options) for history in histories)
    with matplotlib.rc_context({"font.size": 7}):
        figure = Figure(figsize=(4.2 * columns, lines * (0.55 + 0.14 * most)), layout="constrained")
        axes = figure.subplots(lines, columns, squeeze=False).ravel()
        for axis in axes[len(histories) :]:
            axis.remove()
        for axis, history in zip(axes, histories, strict=False):
            extent = (float(history.steps[0]), float(history.steps[-1]), len(history.options) - 0.5, -0.5)
            axis.imshow(history.probabilities.T, aspect="auto", vmin=0, vmax=1, cmap="Blues", extent=extent)
            axis.set_yticks(range(len(history.options)), [_short(option) for option in history.options])
            axis.set_title(history.variable, fontsize=8, loc="left")
    return figure


def _strips(figures: dict[str, list[float]], metric: str) -> Figure:
    figure = Figure(figsize=(5.5, 1.5), layout="constrained")
    axis = figure.subplots()
    for row, values in enumerate(figures.values()):
        axis.plot(values, [row] * len(values), "|", markersize=18, color=("#2b6cb0", "#a0aec0")[row])
        axis.plot([sum(values) / len(values)], [row], "o", color="#1a202c", markersize=4)
    axis.set_yticks(range(len(figures)), list(figures))
    axis.set_ylim(-0.6, len(figures) - 0.4)
    axis.set_xlabel(metric)
    return figure


def _picture(figure: Figure, words: str) -> str:
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=110)
    return f"<img alt='{html.escape(words)}' src='data:image/png;base64,{base64.b64encode(data.getvalue()).decode()}'>"


def _table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    head = "".join(f"<th>{html.escape(str(name))}</th>" for name in header) if any(header) else ""
    body = "".join(f"<tr>{''.join(_cell(value) for value in row)}</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def _cell(value: object) -> str:
    shown = _shown(value)
    number = shown.lstrip("-").replace(".", "", 1).replace("e", "", 1).isdigit()
    return f"<td{' class=number' * number}>{html.escape(shown)}</td>"


def _shown(value: object) -> str:
    """Numbers with five digits, everything else as it is."""
    try:
        return f"{float(str(value)):.5g}" if "." in str(value) else str(value)
    except ValueError:
        return str(value)


def _short(option: str) -> str:
    return option if len(option) <= 14 else option[:13] + "…"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `atldas report`."""
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folders of finished searches")
    parser.add_argument(
        "--out", type=Path, default=Path("report.html"), help="the page to write (default: report.html)"
    )


def run(options: argparse.Namespace) -> int:
    """Carry out `atldas report`."""
    write_text(options.out, report(options.runs))
    print(f"the report is {options.out}")
    return 0
