"""The supernet: one network that holds every candidate operation and runs just the child that was selected.

Hard pruning: an operation that is not in the selected child is not called. It gets no gradient (`None`, not zero), so
an optimizer neither moves it nor makes state for it until it is first drawn.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator, Mapping

from torch import Tensor, nn

from .builder import Builder, Choice, FixedBuilder, SupernetBuilder
from .genotype import Genotype
from .space import Space
from .widths import Sliced

Build = Callable[[Builder], nn.Module]


class Supernet(nn.Module):
    """Wraps the network that `build` makes; called like that network.

    Args:
        space: what the parts of the network may be.
        build: makes the task's network from a builder.

    Raises:
        UserError: the network needs a cell that the space lacks, or the space has a choice that the network lacks.
    """

    def __init__(self, space: Space, build: Build) -> None:
        super().__init__()
        self.space = space
        self._build = build
        builder = SupernetBuilder(space)
        self.network = build(builder)
        builder.require_all_asked()
        self.selection, self.cells = builder.selection, builder.cells
        self.select(space.genotype({variable.name: 0 for variable in space.variables}))

    def forward(self, *inputs: Tensor) -> Tensor:
        output: Tensor = self.network(*inputs)
        return output

    @property
    def child(self) -> Genotype:
        """The selected child."""
        return self._child

    def select(self, child: Genotype, gates: Mapping[str, Tensor] | None = None) -> None:
        """Run `child` from now on; `gates`: variable -> a scalar of value one that carries a gradient."""
        self._child = child
        for cell in self.cells:
            cell.select(child.cells[cell.place.kind])
        self.selection.chosen = dict(child.choices)
        self.selection.gates = gates or {}
        self.selection.mixture = {}

    def mix(self, weights: Mapping[str, Tensor]) -> None:
        """Run all options from now on, summed with `weights`: edge or choice variable -> [options].

        Widths cannot be mixed: they stay as the last selected child has them.
        """
        self.selection.gates, self.selection.mixture = {}, weights

    def on_meta(self) -> Supernet:
        """A copy in eval mode without memory. Not of what `build` belongs to: a task holds data."""
        return copy.deepcopy(self, {id(self._build): self._build}).to("meta").eval()

    def fixed(self, child: Genotype) -> nn.Module:
        """The fixed network of `child` with this supernet's weights and statistics copied in: the same function."""
        before = self._child
        self.select(child)
        network = self._build(FixedBuilder(child))
        mine = dict(child_tensors(self.network))
        # Assigned rather than copied in, so that device and memory layout are the supernet's too.
        network.load_state_dict({name: mine[name].detach().clone() for name in network.state_dict()}, assign=True)
        self.select(before)
        return network.to(next(self.network.parameters()).device)


def child_tensors(module: nn.Module, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """The parameters and buffers of what a supernet runs now, under the names of the fixed network.

    A choice stands for its selected option, a sliced module for the slices it runs. Operations of cells that are not
    selected are among them; the fixed network has no such names.
    """
    if isinstance(module, Choice):
        yield from child_tensors(module.chosen(), prefix)
    elif isinstance(module, Sliced):
        yield from ((prefix + name, tensor) for name, tensor in module.tensors())
    else:
        for name, tensor in itertools.chain(module._parameters.items(), module._buffers.items()):
            if tensor is not None and name not in module._non_persistent_buffers_set:
                yield prefix + name, tensor
        for name, part in module.named_children():
            yield from child_tensors(part, f"{prefix}{name}.")
