"""A network rewritten for PyTorch on a CPU: packed convolutions, sums inside of them, residual blocks in bands."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from atldas.cell import Cell
from atldas.common.machine import release_memory
from atldas.genotype import Edge

from ...model.blocks import GroupNorm, ResidualBlock, up
from ...model.network import CheapMatting
from .bands import BandedBlock, BandedStem, PieceNorm
from .packed import PackedConv2d, packed
from .rewriting import SplitDecoder, replaced, rewritten


def for_pytorch(network: CheapMatting, dtype: torch.dtype = torch.float32) -> CheapMatting:
    """`rewritten`, for inputs in channels_last; some layers overwrite their inputs.

    Args:
        dtype: of all but the head, which stays in float32: it is small, and decides the last levels.
    """
    lean = rewritten(network).cpu().float()
    head, lean.head = lean.head, nn.Identity()
    lean.to(dtype).head = head
    assert isinstance(lean.stem_half, nn.Sequential)
    lean.stem_half = BandedStem(lean.stem_half)
    for index, cell in enumerate(lean.cells):
        assert isinstance(cell, Cell)
        rectified = [source >= 0 and source not in lean.taps for source in (index - 2, index - 1)]
        lean.cells[index] = LeanCell(cell, rectified, rectifies=index not in lean.taps)
    for kind, make in REPLACEMENTS.items():
        replaced(lean, kind, make)
    return lean


class LeanCell(nn.Module):
    """A fixed `Cell` whose additions and rectifications happen inside of its convolutions, wherever they can.

    Args:
        rectified: for each input, whether the ReLU that its adapter begins with was applied already.
        rectifies: whether the output is rectified, for readers that begin with a ReLU.
    """

    def __init__(self, cell: Cell, rectified: Sequence[bool], rectifies: bool) -> None:
        super().__init__()
        genotype = cell.genotype
        self.concat, self.rectifies = genotype.concat, rectifies
        self.adapters = nn.ModuleList(_adapter(*pair) for pair in zip(cell.adapters, rectified, strict=True))
        nodes = [Node(cell, *node) for node in enumerate(genotype.nodes, start=genotype.inputs)]
        self.nodes = nn.ModuleList(nodes)
        # States that are read as they are; the others are rectified as soon as they are made.
        self.raw = set[int]().union(*(node.raw for node in nodes), () if rectifies else self.concat)

    def forward(self, *inputs: Tensor) -> Tensor:
        states: list[Tensor] = []
        rectified: list[Tensor] = []
        for adapt, x in zip(self.adapters, inputs, strict=True):
            self._keep(adapt(x), states, rectified)
        for node in self.nodes:
            self._keep(node(states, rectified), states, rectified)
        return torch.cat([(rectified if self.rectifies else states)[node] for node in self.concat], dim=1)

    def _keep(self, state: Tensor, states: list[Tensor], rectified: list[Tensor]) -> None:
        kept = len(states) in self.raw or any(state is other for other in states)  # a node may be a lone identity
        states.append(state)
        rectified.append(F.relu(state) if kept else F.relu_(state))


class Node(nn.Module):
    """A cell's node: the sum of its operations, [N, channels, H / stride, W / stride].

    Attributes:
        raw: the states that it reads before they are rectified.
    """

    def __init__(self, cell: Cell, node: int, edges: Iterable[Edge]) -> None:
        super().__init__()
        pairs = [(edge.input, _lean(cell.operation(node, edge))) for edge in edges]
        pairs.sort(key=lambda pair: not isinstance(pair[1], Chain))  # what a chain makes, others may be added to
        self.reads = [state for state, _ in pairs]
        self.operations = nn.ModuleList(operation for _, operation in pairs)
        self.raw = {state for state, operation in pairs if not isinstance(operation, Chain)}

    def forward(self, states: list[Tensor], rectified: list[Tensor]) -> Tensor:
        total: Tensor | None = None
        for state, operation in zip(self.reads, self.operations, strict=True):
            if isinstance(operation, Chain):
                total = operation(rectified[state], total)
            else:
                made = operation(states[state])
                total = made if total is None else total + made
        assert total is not None
        return total


class Chain(nn.Module):
    """Layers that end with a convolution, of an input that is rectified already; the result may be added to another."""

    def __init__(self, layers: nn.Sequential) -> None:
        super().__init__()
        self.layers, self.last = layers[:-1], layers[-1]

    def forward(self, x: Tensor, onto: Tensor | None = None) -> Tensor:
        y: Tensor = self.last(self.layers(x), onto)
        return y


def _adapter(adapter: nn.Module, rectified: bool) -> nn.Module:
    assert isinstance(adapter, nn.Sequential)  # this network's cells adapt all inputs
    layers = packed(adapter)
    return layers[1:] if rectified and isinstance(layers[0], nn.ReLU) else layers


def _lean(operation: nn.Module) -> nn.Module:
    if not isinstance(operation, nn.Sequential):
        return operation
    layers = packed(operation)
    if isinstance(layers[0], nn.ReLU) and isinstance(layers[-1], PackedConv2d):
        return Chain(nn.Sequential(*list(layers)[1:]))
    return layers


class LeanDecoder(nn.Module):
    """A `SplitDecoder` whose side is added in place, and which takes the memory of both inputs."""

    def __init__(self, decoder: SplitDecoder) -> None:
        super().__init__()
        self.below, self.side, self.layers = PackedConv2d(decoder.below), PackedConv2d(decoder.side), decoder.layers

    def forward(self, below: Tensor, side: Tensor) -> Tensor:
        y = self.below(below)
        _let_go(below)
        y = self.side(side, onto=up(y))
        _let_go(side)
        for layer in self.layers:  # calling the Sequential would hold on to its input until its end
            y = layer(y)
        return y


def _let_go(read: Tensor) -> None:
    """Free what nobody reads again, though the caller still holds it."""
    read.untyped_storage().resize_(0)
    release_memory()


def _packed(layers: nn.Sequential) -> nn.Sequential:
    return packed(layers) if type(layers) is nn.Sequential else layers  # a head is one with a forward of its own


REPLACEMENTS: dict[type[nn.Module], Callable[..., nn.Module]] = {  # in this order
    ResidualBlock: BandedBlock,
    GroupNorm: PieceNorm,
    SplitDecoder: LeanDecoder,
    nn.Sequential: _packed,
    nn.Conv2d: PackedConv2d,
}
