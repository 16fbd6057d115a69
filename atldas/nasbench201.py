"""NAS-Bench-201's network and cells (Dong and Yang, ICLR 2020), so that the benchmark's tables mean something here.

A cell has one input, node 0, and three nodes; each reads every earlier node through one of five operations, and the
last one is the output. It is written as a *code*: one digit per edge, in the order of `EDGES`, that counts in
`OPERATION_NAMES`: `333333` is the cell of six 3x3 convolutions.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator

from torch import Tensor, nn
from torch.nn import functional as F

from .builder import Builder
from .cell import CellPlace
from .common.errors import UserError
from .genotype import CellGenotype, Edge
from .operations import conv_bn

OPERATION_NAMES = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
EDGES = ((1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2))  # (node, input)
CONVOLUTION_UNITS = {"nor_conv_1x1": 1, "nor_conv_3x3": 9}


class Nasbench201Network(nn.Module):
    """Stem, three stages of equal cells, a residual block of stride 2 between stages, global pooling, a linear layer.

    [N, 3, H, W] -> logits [N, classes]. The stages have `channels`, twice and four times `channels`. The benchmark's
    own networks have the default sizes; smaller ones stand in for them where only an order of cells is wanted.

    Args:
        builder: makes the cells, all of the kind `normal`.
        channels: channels of the first stage.
        depth: cells per stage.
        classes: how many classes.
    """

    def __init__(self, builder: Builder, channels: int = 16, depth: int = 5, classes: int = 10) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels))
        self.stages = nn.ModuleList()
        width = channels
        for stage in range(3):
            blocks: list[nn.Module] = []
            if stage:
                blocks.append(ResidualReduction(width, 2 * width))
                width *= 2
            place = CellPlace("normal", (width,), width, 1, (1,), adapted=False)
            blocks += [builder.cell(place) for _ in range(depth)]
            self.stages.append(nn.Sequential(*blocks))
        self.last = nn.Sequential(nn.BatchNorm2d(width), nn.ReLU())
        self.classifier = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for stage in self.stages:
            x = stage(x)  # [N, channels * 2 ** stage, H / 2 ** stage, W / 2 ** stage]
        pooled = self.last(x).mean(dim=(2, 3))  # [N, 4 * channels]
        logits: Tensor = self.classifier(pooled)
        return logits


class ResidualReduction(nn.Module):
    """Two 3x3 convolutions, the first of stride 2, beside an average pool and a 1x1 convolution.

    [N, Cin, H, W] -> [N, Cout, H / 2, W / 2]; H and W are even.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            conv_bn(in_channels, out_channels, kernel=3, stride=2), conv_bn(out_channels, out_channels, kernel=3)
        )
        self.shortcut = nn.Conv2d(in_channels, out_channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.shortcut(F.avg_pool2d(x, 2)) + self.residual(x)
        return output


def cell_of(code: str) -> CellGenotype:
    """The cell of a code, such as `333133`.

    Raises:
        UserError: not six digits of 0..4.
    """
    if not re.fullmatch("[0-4]{6}", code):
        raise UserError(f"expected the code of a NAS-Bench-201 cell, six digits of 0..4, got {code!r}")
    nodes: dict[int, list[Edge]] = {}
    for (node, source), digit in zip(EDGES, code, strict=True):
        nodes.setdefault(node, []).append(Edge(OPERATION_NAMES[int(digit)], source))
    return CellGenotype(1, tuple(tuple(edges) for edges in nodes.values()), (3,))


def code_of(cell: CellGenotype) -> str:
    """The code of a cell, the inverse of `cell_of`.

    Raises:
        UserError: the cell is none of NAS-Bench-201's.
    """
    operations = {(node, edge.input): edge.operation for node, edge in cell.edges()}
    if (cell.inputs, cell.concat) != (1, (3,)) or set(operations) != set(EDGES):
        raise UserError("expected a NAS-Bench-201 cell: one input, three nodes that read every earlier one, concat [3]")
    for operation in operations.values():
        if operation not in OPERATION_NAMES:
            raise UserError(f"expected operations of NAS-Bench-201, {', '.join(OPERATION_NAMES)}, got {operation}")
    return "".join(str(OPERATION_NAMES.index(operations[edge])) for edge in EDGES)


def code_of_text(text: str) -> str:
    """The code of a cell in the benchmark's own notation, `|op~0|+|op~0|op~1|+|op~0|op~1|op~2|`.

    Raises:
        UserError: the text is no such cell.
    """
    parts = [re.findall(r"\|([^|~]+)~(\d)(?=\|)", node) for node in text.split("+")]
    found = [(k + 1, int(source)) for k, node in enumerate(parts) for _, source in node]
    operations = [operation for node in parts for operation, _ in node]
    if tuple(found) != EDGES or not set(operations) <= set(OPERATION_NAMES):
        raise UserError(f"expected a cell as |op~0|+|op~0|op~1|+|op~0|op~1|op~2|, got {text!r}")
    return "".join(str(OPERATION_NAMES.index(operation)) for operation in operations)


def all_codes() -> Iterator[str]:
    """The codes of all 15,625 cells."""
    return ("".join(digits) for digits in itertools.product("01234", repeat=len(EDGES)))


def convolution_units(cell: CellGenotype) -> int:
    """What the cell's convolutions cost, in weights per channel pair: 9 for a 3x3 one, 1 for a 1x1 one, at most 54."""
    return sum(CONVOLUTION_UNITS.get(edge.operation, 0) for _, edge in cell.edges())


# What a cell computes: the terms of a sum. A term is (operation, the sum it is applied to); an input is ("input", ()).
Terms = tuple[tuple[str, "Terms"], ...]


def canonical(cell: CellGenotype) -> Terms:
    """The function that the cell computes, the same for *twins*: cells that differ in form only.

    `none` adds no term, nor does an operation on nothing but `none`; `skip_connect` adds the terms of what it reads;
    the order of a sum counts for nothing. (A convolution of zeros is not quite nothing: BatchNorm adds a constant.)
    The 15,625 cells compute 4,930 functions; `benchmark_structure` tells more cells apart.

    Raises:
        UserError: the cell concatenates several nodes.
    """
    if len(cell.concat) != 1:
        raise UserError(f"expected a cell whose output is one node, got concat {list(cell.concat)}")
    sums: list[Terms] = [((f"input {i}", ()),) for i in range(cell.inputs)]
    for edges in cell.nodes:
        terms: list[tuple[str, Terms]] = []
        for operation, source in edges:
            if operation == "skip_connect":
                terms += sums[source]
            elif operation != "none" and sums[source]:
                terms.append((operation, sums[source]))
        sums.append(tuple(sorted(terms)))
    return sums[cell.concat[0]]


def without_twins(cells: Iterable[CellGenotype]) -> list[CellGenotype]:
    """The first cell of each function, in the order given."""
    first: dict[Terms, CellGenotype] = {}
    for cell in cells:
        first.setdefault(canonical(cell), cell)
    return list(first.values())


def twins(cell: CellGenotype) -> list[CellGenotype]:
    """Every NAS-Bench-201 cell that computes the same function as `cell`, itself among them."""
    function = canonical(cell)
    return [other for other in map(cell_of, all_codes()) if canonical(other) == function]


def benchmark_structure(cell: CellGenotype) -> str:
    """The paper's own name for a cell's structure: 6,466 different ones.

    It is finer than `canonical`: a sum read through a skip stays a term of its own, and a sum of several zeros is no
    zero.
    """
    states = ["0"] * cell.inputs
    for edges in cell.nodes:
        terms = []
        for operation, source in edges:
            read = states[source]
            if operation == "none" or read == "#":
                terms.append("#")
            else:
                terms.append(read if operation == "skip_connect" else f"({read})@{operation}")
        states.append("+".join(sorted(terms)))
    return states[cell.concat[0]]
