"""Cells as a picture: inputs left, output right, every operation named on its edge."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyBboxPatch, PathPatch
from matplotlib.path import Path as Curve

from .common.atomic import atomic_path
from .common.errors import UserError
from .genotype import CellGenotype, Edge, Genotype

LANE = 0.62  # vertical distance of two labels
COLUMN = 3.1  # horizontal distance of two nodes
SPREAD = 2.6  # vertical distance of two inputs
RADIUS = 0.2
MARGIN = 0.7  # above and below everything
LABEL_WIDTH = 1.2
COLOURS = {"sep": "#2b6cb0", "dil": "#b7791f", "skip": "#718096", "avg": "#2f855a", "max": "#2f855a", "none": "#a0aec0"}
OTHER_COLOUR = "#6b46c1"

Point = tuple[float, float]
Points = npt.NDArray[np.float64]
DrawnCurve = tuple[Points, str, float]  # control points, colour, width


def draw_cells(genotype: Genotype, path: str | Path) -> None:
    """Draw every cell of `genotype` to a PNG or SVG file.

    Raises:
        UserError: another kind of file.
    """
    path = Path(path)
    if path.suffix.lower() not in (".png", ".svg"):
        raise UserError(f"{path}: expected the suffix .png or .svg, got {path.suffix or 'none'}")
    with atomic_path(path) as temporary:
        cells_figure(genotype).savefig(temporary, dpi=110)


def cells_figure(genotype: Genotype) -> Figure:
    """One row per cell.

    Every node has a column of its own, and the labels of the edges into it stand one above the other to its left, so
    no two labels can meet; an edge is a curve from its source through its label to its node.
    """
    cells = list(genotype.cells.items())
    curves = [_curves(cell) for _, cell in cells]
    extents = [_extent(cell, drawn) for (_, cell), drawn in zip(cells, curves, strict=True)]
    heights = [top - bottom for bottom, top in extents]
    width = max(COLUMN * (len(cell.nodes) + 1) + 3.1 for _, cell in cells)
    figure = Figure(figsize=(0.72 * width, 0.72 * sum(heights)), layout="constrained")
    axes = figure.subplots(len(cells), 1, squeeze=False, height_ratios=heights).ravel()
    for axis, (name, cell), drawn, extent in zip(axes, cells, curves, extents, strict=True):
        axis.set_xlim(-1.9, width - 1.9)
        axis.set_ylim(*extent)
        axis.set_aspect("equal")
        axis.axis("off")
        axis.set_title(f"{genotype.name}: {name} cell", loc="left", fontsize=11)
        for control, colour, line_width in drawn:
            _draw_curve(axis, control, colour, line_width)
        _draw_nodes(axis, cell)
    return figure


def _extent(cell: CellGenotype, curves: list[DrawnCurve]) -> tuple[float, float]:
    """(bottom, top) of everything that is drawn."""
    nodes = [y for _, y in _positions(cell).values()]
    heights = np.concatenate([nodes, *(_along(control)[:, 1] for control, _, _ in curves)])
    return float(heights.min()) - MARGIN, float(heights.max()) + MARGIN


def _curves(cell: CellGenotype) -> list[DrawnCurve]:
    positions = _positions(cell)
    labels = _labels(cell, positions)
    obstacles = [(x, y, LABEL_WIDTH / 2, 0.2) for x, y in labels.values()]
    obstacles += [(x, y, RADIUS + 0.15, RADIUS + 0.15) for x, y in positions.values()]
    output = _output(cell)
    curves = [(_clear_path(positions[node], output, obstacles), "#cbd5e0", 1.0) for node in cell.concat]
    for node, edge in cell.edges():
        x, y = labels[node, edge.input]
        into_label, out_of_label = (x - LABEL_WIDTH / 2, y), (x + LABEL_WIDTH / 2, y)
        parts = (
            _clear_path(positions[edge.input], into_label, obstacles),
            _bezier(into_label, out_of_label, 0.0),  # behind the label, which may be narrower
            _bezier(out_of_label, positions[node], 0.0),
        )
        curves += [(control, _colour(edge), 1.6) for control in parts]
    return curves


def _draw_nodes(axis: Axes, cell: CellGenotype) -> None:
    """Nodes, labels and the output, over the curves."""
    positions = _positions(cell)
    labels = _labels(cell, positions)
    output = _output(cell)
    for node, edge in cell.edges():
        colour = _colour(edge)
        axis.text(*labels[node, edge.input], edge.operation, ha="center", va="center", fontsize=8, color=colour,
                  zorder=4, bbox={"boxstyle": "round,pad=0.2", "fc": "white", "ec": colour, "lw": 0.8})  # fmt: skip
    for node, (x, y) in positions.items():
        fill = "#edf2f7" if node < cell.inputs else "#fefcbf"
        axis.add_patch(Circle((x, y), RADIUS + 0.06, fc=fill, ec="#2d3748", lw=1.2, zorder=5))
        axis.text(x, y, str(node), ha="center", va="center", fontsize=9, zorder=6)
        if node < cell.inputs:
            names = {cell.inputs - 1: "last cell", cell.inputs - 2: "cell before"}
            axis.text(x - 0.4, y, names.get(node, "input"), ha="right", va="center", fontsize=7.5, color="#4a5568")
    axis.add_patch(FancyBboxPatch((output[0] - 0.1, -0.25), 1.0, 0.5, boxstyle="round,pad=0.08", fc="#e6fffa",
                                  ec="#2d3748", lw=1.2, zorder=5))  # fmt: skip
    axis.text(output[0] + 0.4, 0, "concat", ha="center", va="center", fontsize=8.5, zorder=6)


def _colour(edge: Edge) -> str:
    return COLOURS.get(edge.operation.split("_")[0], OTHER_COLOUR)


def _output(cell: CellGenotype) -> Point:
    """The left edge of the output's box."""
    return (COLUMN * (len(cell.nodes) + 1), 0.0)


def _labels(cell: CellGenotype, positions: dict[int, Point]) -> dict[tuple[int, int], Point]:
    """Where each edge's label stands: left of its node, the edge from the highest source on top."""
    labels = {}
    for node, edges in enumerate(cell.nodes, start=cell.inputs):
        x, y = positions[node]
        ordered = sorted(edges, key=lambda edge: -positions[edge.input][1])
        for lane, edge in enumerate(ordered):
            labels[node, edge.input] = (x - 0.42 * COLUMN, y + LANE * ((len(edges) - 1) / 2 - lane))
    return labels


def _positions(cell: CellGenotype) -> dict[int, Point]:
    """Inputs stacked at the left; intermediate nodes in columns, alternately above and below the middle."""
    inputs = {i: (0.0, SPREAD * ((cell.inputs - 1) / 2 - i)) for i in range(cell.inputs)}
    offset = 0.85 if len(cell.nodes) > 1 else 0.0
    nodes = {cell.inputs + k: (COLUMN * (k + 1), offset if k % 2 else -offset) for k in range(len(cell.nodes))}
    return inputs | nodes


def _clear_path(start: Point, end: Point, obstacles: list[tuple[float, float, float, float]]) -> Points:
    """The least bent curve from start to end that passes behind no label and no other node, or behind the fewest."""

    def cost(bow: float) -> float:
        path = _along(_bezier(start, end, bow))[3:-3]  # its own ends touch what it joins
        hits = sum(
            bool(((abs(path[:, 0] - x) < dx) & (abs(path[:, 1] - y) < dy)).any())
            for x, y, dx, dy in obstacles
            if (x, y) != start and abs(x - dx - end[0]) > 1e-6
        )
        return 10.0 * hits + abs(bow)

    return _bezier(start, end, min(np.arange(-3.0, 3.01, 0.25).tolist(), key=cost))


def _bezier(start: Point, end: Point, bow: float) -> Points:
    """The four control points, [4, 2], of a curve that leaves and arrives level and swings out by about `bow`."""
    reach = 0.45 * (end[0] - start[0])
    return np.array([start, (start[0] + reach, start[1] + bow * 4 / 3), (end[0] - reach, end[1] + bow * 4 / 3), end])


def _along(control: Points, steps: int = 60) -> Points:
    """Points on a cubic Bezier curve, [steps, 2]."""
    t = np.linspace(0, 1, steps)[:, None]
    return (
        (1 - t) ** 3 * control[0]
        + 3 * t * (1 - t) ** 2 * control[1]
        + 3 * t**2 * (1 - t) * control[2]
        + t**3 * control[3]
    )


def _draw_curve(axis: Axes, control: Points, colour: str, width: float) -> None:
    axis.add_patch(PathPatch(Curve(control, [Curve.MOVETO] + [Curve.CURVE4] * 3), fc="none", ec=colour, lw=width,
                             zorder=2, capstyle="round"))  # fmt: skip
