"""The picture of cells: no label covers another, every operation is named, both kinds of file are whole."""

from __future__ import annotations

import itertools
import random
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import cv2
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.transforms import Bbox

from atldas.cell_picture import cells_figure, draw_cells
from atldas.common.errors import UserError
from atldas.genotype import CellGenotype, Edge, Genotype
from atldas.space import CellSpace, Space


def text_boxes(genotype: Genotype) -> list[tuple[str, Bbox]]:
    """Every text with the box that it takes on the canvas, frame included, in pixels."""
    figure = cells_figure(genotype)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    found = []
    for axis in figure.axes:
        for text in [*axis.texts, axis.title, axis._left_title]:  # type: ignore[attr-defined]
            if text.get_text():
                shown = text.get_bbox_patch() or text
                found.append((text.get_text(), shown.get_window_extent(canvas.get_renderer())))
    return found


def drawn_from(space: CellSpace, seed: int) -> CellGenotype:
    choose = random.Random(seed).choice
    nodes = tuple(
        tuple(Edge(choose(space.operations), i) for i in choose(space.subsets(node))) for node in space.node_numbers
    )
    return CellGenotype(space.inputs, nodes, space.concat)


NASBENCH = Space.load("nasbench201").cells["normal"]
DARTS = Space.load("darts").cells["normal"]
ALL = CellSpace(2, 5, None, ("conv_7x1_1x7", "max_pool_3x3", "none"), (2, 3, 4, 5, 6))
CASES = {
    "published": Genotype.load("cheapmatting"),
    "one node": Genotype("g", {"normal": drawn_from(CellSpace(1, 1, None, ("none",), (1,)), 0)}),
    "three inputs": Genotype("g", {"a": drawn_from(CellSpace(3, 4, None, ("conv_7x1_1x7",), (3, 4, 5, 6)), 0)}),
    **{f"nasbench201 {seed}": Genotype("g", {"normal": drawn_from(NASBENCH, seed)}) for seed in range(3)},
    **{f"darts {s}": Genotype("g", {"normal": drawn_from(DARTS, s), "b": drawn_from(DARTS, -s)}) for s in range(1, 4)},
    **{f"all {seed}": Genotype("g", {"normal": drawn_from(ALL, seed)}) for seed in range(3)},
}


@pytest.mark.parametrize("genotype", CASES.values(), ids=CASES)
def test_no_two_texts_overlap_and_all_lie_on_the_canvas(genotype: Genotype) -> None:
    boxes = text_boxes(genotype)
    for (a, box_a), (b, box_b) in itertools.combinations(boxes, 2):
        assert not box_a.overlaps(box_b), f"{a} and {b}"
    width, height = cells_figure(genotype).canvas.get_width_height()
    for text, box in boxes:
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height, text
    named = sorted(text for text, _ in boxes if "_" in text or text == "none")
    assert named == sorted(edge.operation for cell in genotype.cells.values() for _, edge in cell.edges())


@pytest.mark.parametrize("genotype", [CASES["published"], CASES["three inputs"], CASES["all 1"]])
def test_no_curve_is_cut_off(genotype: Genotype) -> None:
    figure = cells_figure(genotype)
    FigureCanvasAgg(figure).draw()
    for axis in figure.axes:
        for patch in axis.patches:
            assert axis.bbox.contains(*patch.get_window_extent().min)
            assert axis.bbox.contains(*patch.get_window_extent().max)


def test_writes_png_and_svg(tmp_path: Path) -> None:
    genotype = Genotype.load("cheapmatting")
    draw_cells(genotype, tmp_path / "new" / "cells.png")
    picture = cv2.imread(str(tmp_path / "new" / "cells.png"))
    assert picture.shape[1] > 1000 and len({tuple(p) for p in picture.reshape(-1, 3)[::97].tolist()}) > 5
    draw_cells(genotype, tmp_path / "cells.SVG")
    assert ElementTree.parse(tmp_path / "cells.SVG").getroot().tag.endswith("svg")
    assert {path.name for path in tmp_path.iterdir()} == {"new", "cells.SVG"}


@pytest.mark.parametrize("name", ["cells.jpg", "cells", "cells.png.txt"])
def test_another_kind_of_file_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=r"expected the suffix \.png or \.svg, got"):
        draw_cells(Genotype.load("cheapmatting"), tmp_path / name)
    assert not list(tmp_path.iterdir())
