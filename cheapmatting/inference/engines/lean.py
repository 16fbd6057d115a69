"""A network rewritten for PyTorch on a CPU: packed convolutions, sums inside of them, residual blocks in bands."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from atldas.cell import Cell

from ...model.blocks import GroupNorm, ResidualBlock, up
from ...model.network import CheapMatting
from .bands import BandedBlock, PieceNorm
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
    for kind, make in REPLACEMENTS.items():
        replaced(lean, kind, make)
    return lean


class LeanCell(nn.Module):
    """A fixed `Cell` that rectifies each state once, and whose last convolutions add to what their node has already."""

    def __init__(self, cell: Cell) -> None:
        super().__init__()
        self.adapters = nn.ModuleList(packed(a) if isinstance(a, nn.Sequential) else a for a in cell.adapters)
        self.concat = cell.genotype.concat
        self.inputs: list[list[int]] = []  # of each node's operations
        self.nodes = nn.ModuleList()
        for node, edges in enumerate(cell.genotype.nodes, start=cell.genotype.inputs):
            pairs = [(edge.input, _lean(cell.operation(node, edge))) for edge in edges]
            pairs.sort(key=lambda pair: not isinstance(pair[1], Chain))  # what a chain makes, others may add to
            self.inputs.append([state for state, _ in pairs])
            self.nodes.append(nn.ModuleList(operation for _, operation in pairs))

    def forward(self, *inputs: Tensor) -> Tensor:
        states = [adapt(x) for adapt, x in zip(self.adapters, inputs, strict=True)]
        rectified: dict[int, Tensor] = {}
        for read, operations in zip(self.inputs, self.nodes, strict=True):
            total = None
            for state, operation in zip(read, operations, strict=True):  # type: ignore[arg-type]
                if isinstance(operation, Chain):
                    if state not in rectified:
                        rectified[state] = F.relu(states[state])
                    total = operation(rectified[state], total)
                else:
                    made = operation(states[state])
                    total = made if total is None else total + made
            assert total is not None
            states.append(total)  # [N, channels, H / stride, W / stride]
        return torch.cat([states[node] for node in self.concat], dim=1)


class Chain(nn.Module):
    """Layers that end with a convolution, of an input that is rectified already; the result may be added to another."""

    def __init__(self, layers: nn.Sequential) -> None:
        super().__init__()
        self.layers, self.last = layers[:-1], layers[-1]

    def forward(self, x: Tensor, onto: Tensor | None = None) -> Tensor:
        y: Tensor = self.last(self.layers(x), onto)
        return y


def _lean(operation: nn.Module) -> nn.Module:
    if not isinstance(operation, nn.Sequential):
        return operation
    layers = packed(operation)
    if isinstance(layers[0], nn.ReLU) and isinstance(layers[-1], PackedConv2d):
        return Chain(layers[1:])
    return layers


class LeanDecoder(nn.Module):
    """A `SplitDecoder` whose side is added in place."""

    def __init__(self, decoder: SplitDecoder) -> None:
        super().__init__()
        self.below, self.side, self.layers = PackedConv2d(decoder.below), PackedConv2d(decoder.side), decoder.layers

    def forward(self, below: Tensor, side: Tensor) -> Tensor:
        y = self.side(side, onto=up(self.below(below)))
        for layer in self.layers:  # calling the Sequential would hold on to its input until its end
            y = layer(y)
        return y


def _packed(layers: nn.Sequential) -> nn.Sequential:
    return packed(layers) if type(layers) is nn.Sequential else layers  # a head is one with a forward of its own


REPLACEMENTS: dict[type[nn.Module], Callable[..., nn.Module]] = {  # in this order
    ResidualBlock: BandedBlock,
    GroupNorm: PieceNorm,
    Cell: LeanCell,
    SplitDecoder: LeanDecoder,
    nn.Sequential: _packed,
    nn.Conv2d: PackedConv2d,
}
