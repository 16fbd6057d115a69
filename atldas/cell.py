"""The cell: one class for the fixed network, for a supernet's child and for dense mixtures, so they cannot differ.

A fixed cell holds exactly the genotype's operations; a supernet's cell holds every candidate and runs those selected.
Both have the same parameter names, so weights are copied from a supernet to a fixed network by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from .common.errors import UserError
from .genotype import CellGenotype, Edge
from .operations import OPERATIONS, FactorizedReduce, conv_bn
from .variables import edge_variable, node_variable
from .widths import Channels, Selection


class CellPlace(NamedTuple):
    """Where a cell stands in its network.

    Attributes:
        kind: the cell's name in the genotype, such as `normal` or `reduce`.
        in_channels: channels of each input.
        channels: channels of every node inside the cell.
        stride: 2 if the operations that read an input halve the size (a reduction cell), else 1.
        input_strides: 2 for an input that is twice as large as the others, which its adapter halves; else 1.
        adapted: whether a 1x1 convolution (or a factorized reduce) adapts each input; if not, inputs stay as they are.
    """

    kind: str
    in_channels: tuple[Channels, ...]
    channels: Channels
    stride: int
    input_strides: tuple[int, ...]
    adapted: bool = True


Sized = Callable[..., nn.Module]  # (factory, *channels) -> module, see `builder`


def _plain(factory: Callable[..., nn.Module], *channels: Channels) -> nn.Module:
    return factory(*channels)


class Cell(nn.Module):
    """Inputs [N, in_channels[i], H * input_strides[i], ...] -> [N, channels * len(concat), H / stride, W / stride].

    Args:
        genotype: the wiring to run; `select` changes it.
        place: where the cell stands.
        candidates: (node, edge) pairs whose operations the cell holds; by default just the genotype's own.
        sized: makes a module of channel counts that may be chosen.
        selection: a supernet's gates and mixtures; a fixed cell has none.

    Attributes:
        drop_path: in training mode, the probability with which an operation's output is dropped for an image (Larsson
            et al., ICLR 2017). The rest is scaled up, and identities are never dropped. It begins at 0; `atldas train`
            raises it.
    """

    def __init__(
        self,
        genotype: CellGenotype,
        place: CellPlace,
        candidates: Iterable[tuple[int, Edge]] | None = None,
        sized: Sized = _plain,
        selection: Selection | None = None,
    ) -> None:
        super().__init__()
        if not genotype.inputs == len(place.in_channels) == len(place.input_strides):
            raise UserError(
                f"the {place.kind} cell: expected {len(place.in_channels)} inputs, as the network gives, "
                f"got {genotype.inputs}"
            )
        self.place = place
        self.drop_path = 0.0
        self.out_channels = place.channels * len(genotype.concat)
        self.adapters = nn.ModuleList(
            _adapter(c, place.channels, s, sized) if place.adapted else nn.Identity()
            for c, s in zip(place.in_channels, place.input_strides, strict=True)
        )
        edges: dict[str, dict[str, nn.Module]] = {}
        for node, edge in genotype.edges() if candidates is None else candidates:
            stride = place.stride if edge.input < genotype.inputs else 1
            operation = sized(_operation(edge.operation, stride), place.channels)
            edges.setdefault(_edge_name(node, edge.input), {})[edge.operation] = operation
        self.edges = nn.ModuleDict({name: nn.ModuleDict(operations) for name, operations in edges.items()})
        self._selection = selection or Selection()
        self.select(genotype)

    def select(self, genotype: CellGenotype) -> None:
        """Run `genotype` from now on."""
        self.genotype = genotype

    def operation(self, node: int, edge: Edge) -> nn.Module:
        """The module of one operation."""
        return self.get_submodule(f"edges.{_edge_name(node, edge.input)}.{edge.operation}")

    def forward(self, *inputs: Tensor) -> Tensor:
        states = [adapt(x) for adapt, x in zip(self.adapters, inputs, strict=True)]
        for node, edges in enumerate(self.genotype.nodes, start=len(inputs)):
            states.append(self._node_output(node, edges, states))  # [N, channels, H / stride, W / stride]
        return concatenated([states[node] for node in self.genotype.concat])

    def _node_output(self, node: int, edges: Iterable[Edge], states: list[Tensor]) -> Tensor:
        mixture, gates = self._selection.mixture, self._selection.gates
        if mixture:
            outputs = [
                self._mixed_edge(node, i, mixture[edge_variable(self.place.kind, node, i)], states[i])
                for i in range(node)
                if edge_variable(self.place.kind, node, i) in mixture
            ]
        else:
            outputs = [self._edge_output(node, edge, states[edge.input]) for edge in edges]
        total = outputs[0]
        for output in outputs[1:]:
            total = total + output
        name = node_variable(self.place.kind, node)
        return total * gates[name] if name in gates else total

    def _edge_output(self, node: int, edge: Edge, state: Tensor) -> Tensor:
        operation = self.operation(node, edge)
        output: Tensor = operation(state)
        if self.training and self.drop_path and not isinstance(operation, nn.Identity):
            output = dropped(output, self.drop_path)
        name, gates = edge_variable(self.place.kind, node, edge.input), self._selection.gates
        return output * gates[name] if name in gates else output

    def _mixed_edge(self, node: int, input: int, weights: Tensor, state: Tensor) -> Tensor:
        """The weighted sum of all operations of an edge, `weights` [operations] in the space's order."""
        operations = self.edges[_edge_name(node, input)]
        assert isinstance(operations, nn.ModuleDict)
        outputs = [w * operation(state) for w, operation in zip(weights, operations.values(), strict=True)]
        total: Tensor = sum(outputs[1:], start=outputs[0])
        return total


def dropped(x: Tensor, p: float) -> Tensor:
    """Zeros in place of each image of [N, C, H, W] with probability `p`; the others divided by 1 - p."""
    kept = torch.rand((len(x), 1, 1, 1), device=x.device) >= p
    return x * kept / (1.0 - p)


def _adapter(in_channels: Channels, channels: Channels, stride: int, sized: Sized) -> nn.Module:
    return sized(FactorizedReduce if stride == 2 else conv_bn, in_channels, channels)


def _operation(name: str, stride: int) -> Callable[[int], nn.Module]:
    return lambda channels: OPERATIONS[name](channels, stride)


class _Concatenation(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, *states: Tensor) -> Tensor:
        context.channels = [state.shape[1] for state in states]
        return torch.cat(states, dim=1)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, ...]:
        channels_last = gradient.is_contiguous(memory_format=torch.channels_last)
        layout = torch.channels_last if channels_last else torch.contiguous_format
        return tuple(part.contiguous(memory_format=layout) for part in gradient.split(context.channels, dim=1))


def concatenated(states: list[Tensor]) -> Tensor:
    """`torch.cat` over channels whose gradients are contiguous.

    torch.cat's own backward gives views into one gradient, on which BatchNorm's backward takes a path 15 times slower
    (12 ms against 0.8 ms for [32, 16, 32, 32] on one core); a copy costs 0.4 ms.
    """
    output: Tensor = _Concatenation.apply(*states) if torch.is_grad_enabled() else torch.cat(states, dim=1)
    return output


def _edge_name(node: int, input: int) -> str:
    return f"{node}_from_{input}"
