"""What a child costs, as tables over the variables of a space: exact for every child, and cheap to add up.

Each part of a supernet whose cost depends on choices gives a factor: an operation on an edge (a table over that edge's
variable), an option of a named choice, a module of chosen widths (a table over all the variables it depends on).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from .builder import Choice, option_key
from .cell import Cell
from .cost import operation_cost
from .distribution import Distribution, Factor
from .genotype import Genotype
from .space import Space
from .supernet import Supernet
from .variables import edge_variable
from .widths import Sliced, Width, value_of

Scope = tuple[str, ...]  # the variables that a part of the network depends on


@dataclass(frozen=True)
class CostTables:
    """A cost that adds up: a constant, and factors over the variables of a space."""

    space: Space
    constant: float
    factors: tuple[Factor, ...]

    def of(self, child: Genotype) -> float:
        """The cost of one child."""
        choices = self.space.choices_of(child)
        counted = (factor for factor in self.factors if all(name in choices for name in factor.variables))
        return self.constant + sum(float(f.table[tuple(choices[name] for name in f.variables)]) for f in counted)

    def expected(self, distribution: Distribution) -> Tensor:
        """The expectation under a distribution, a scalar with gradient."""
        if not self.factors:
            return torch.tensor(self.constant)
        return distribution.expected(list(self.factors)) + self.constant


class CellCall(NamedTuple):
    """A cell that ran: the size of its adapted inputs, and the choices inside which it stands."""

    cell: Cell
    height: int
    width: int
    scope: Scope


class _MacMeter(TorchDispatchMode):
    """Counts multiply-adds by PyTorch's own formulas; unlike FlopCounterMode it follows no modules, and is fast."""

    macs = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        count = flop_registry.get(func._overloadpacket)
        if count is not None:
            self.macs += count(*args, **(kwargs or {}), out_val=output) // 2
        return output


class _Tables:
    """Factors while they are filled; parts with the same variables share one table."""

    def __init__(self, space: Space) -> None:
        self.space = space
        self.tables: dict[Scope, Tensor] = {}  # float64: counts pass float32's 2 ** 24

    def add(self, scope: Scope, index: tuple[int, ...], value: float) -> None:
        shape = [len(self.space.variable(name).options) for name in scope]
        self.tables.setdefault(scope, torch.zeros(shape, dtype=torch.float64))[index] += value

    def done(self, constant: float) -> CostTables:
        return CostTables(self.space, constant, tuple(Factor(scope, table) for scope, table in self.tables.items()))


def mac_tables(supernet: Supernet, input_shape: Sequence[int]) -> CostTables:
    """Multiply-adds for one input of `input_shape` ([1, C, H, W]).

    Operations in cells are counted one by one, everything else in forward passes on the meta device.
    """
    supernet.select(supernet.space.genotype({v.name: 0 for v in supernet.space.variables}))
    meta = supernet.on_meta()

    def totals(calls: list[CellCall]) -> dict[Scope, float]:
        with _MacMeter() as meter, torch.no_grad():
            inputs = torch.empty(tuple(input_shape), device="meta")
            return totals_by_scope(meta, inputs, lambda: meter.macs, calls)

    return measured_tables(meta, totals, lambda name, c, stride, h, w: operation_cost(name, c, stride, h, w).macs)


def measured_tables(
    supernet: Supernet,
    totals: Callable[[list[CellCall]], dict[Scope, float]],
    operation: Callable[[str, int, int, int, int], float],
) -> CostTables:
    """The tables of a cost that is measured in forward passes, over as few children as show every combination.

    Args:
        supernet: in eval mode; children are selected one after the other.
        totals: runs the selected child, notes its cells' calls, gives each scope's cost.
        operation: (name, channels, stride, height, width) -> the cost of an operation in a cell.
    """
    tables = _Tables(supernet.space)
    constant = 0.0
    filled: set[tuple[Scope, tuple[int, ...]]] = set()
    for number, child in enumerate(_covering_children(supernet)):
        supernet.select(child)
        calls: list[CellCall] = []
        choices = supernet.space.choices_of(child)
        costs = totals(calls)
        if number == 0:
            constant = costs.get((), 0.0)
        for scope in dict.fromkeys((*costs, *(call.scope for call in calls))):
            index = tuple(choices[name] for name in scope)
            if (scope, index) in filled:
                continue
            filled.add((scope, index))
            if scope and scope in costs:
                tables.add(scope, index, costs[scope])
            for call in calls:
                if call.scope == scope:
                    _add_operations(tables, call, index, operation)
    return tables.done(constant)


def parameter_tables(supernet: Supernet) -> CostTables:
    """The number of trainable values."""
    tables = _Tables(supernet.space)
    constant = 0.0
    for scope, index, value in _parameters(supernet.network, supernet.space, (), ()):
        if scope:
            tables.add(scope, index, value)
        else:
            constant += value
    return tables.done(constant)


def _add_operations(
    tables: _Tables, call: CellCall, inside: tuple[int, ...], operation: Callable[[str, int, int, int, int], float]
) -> None:
    """Every operation of a cell at every width of its channels; `inside`: the choices that the cell stands in."""
    place, cell_space = call.cell.place, tables.space.cells[call.cell.place.kind]
    names = tuple(name for name, _ in place.channels.terms) if isinstance(place.channels, Width) else ()
    options = [tables.space.choices[name] for name in names]
    for (node, i), (column, name) in itertools.product(cell_space.edges, enumerate(cell_space.operations)):
        from_input = i < cell_space.inputs  # behind the inputs everything has the reduced size and stride 1
        stride = place.stride if from_input else 1
        h, w = (-(-size // (1 if from_input else place.stride)) for size in (call.height, call.width))
        for index in itertools.product(*(range(len(o)) for o in options)):
            widths = {width_name: int(o[k]) for width_name, o, k in zip(names, options, index, strict=True)}
            cost = operation(name, value_of(place.channels, widths), stride, h, w)
            tables.add((edge_variable(place.kind, node, i), *call.scope, *names), (column, *inside, *index), cost)


def _scoped_parts(module: nn.Module, scope: Scope = ()) -> Iterator[tuple[nn.Module, Scope]]:
    """Every part whose cost depends on choices, operations in cells left out, with the variables it depends on."""
    if isinstance(module, Choice):
        inside = _joined(scope, (module.name,))
        for option in module.options.values():
            yield option, inside
            yield from _scoped_parts(option, inside)
        return
    if isinstance(module, Sliced):
        yield module, _joined(scope, module.names)
        return
    for name, part in module.named_children():
        if not (isinstance(module, Cell) and name == "edges"):
            yield from _scoped_parts(part, scope)


def _joined(scope: Scope, names: Sequence[str]) -> Scope:
    return (*scope, *(name for name in names if name not in scope))


def _covering_children(supernet: Supernet) -> Iterator[Genotype]:
    """Children in which every part meets every combination of the options that it depends on."""
    space = supernet.space
    first = {variable.name: 0 for variable in space.variables}
    yield space.genotype(first)
    scopes = {scope for _, scope in _scoped_parts(supernet.network)}
    pending = {
        scope: set(itertools.product(*(range(len(space.variable(name).options)) for name in scope)))
        for scope in sorted(scopes, key=len, reverse=True)
    }
    while any(pending.values()):
        choices: dict[str, int] = {}
        for scope, left in pending.items():
            fitting = (c for c in sorted(left) if all(choices.get(n, k) == k for n, k in zip(scope, c, strict=True)))
            for combination in itertools.islice(fitting, 1):
                choices |= dict(zip(scope, combination, strict=True))
        complete = {**first, **choices}
        for scope, left in pending.items():
            left.discard(tuple(complete[name] for name in scope))
        yield space.genotype(complete)


def totals_by_scope(
    supernet: Supernet, inputs: Tensor, read: Callable[[], float], calls: list[CellCall]
) -> dict[Scope, float]:
    """What one forward pass adds to a meter, by the scope of the innermost part; cells' operations are left out."""
    found: dict[Scope, float] = {}
    stack: list[Scope | None] = [()]
    seen = read()

    def settle() -> None:
        nonlocal seen
        total = read()
        scope = stack[-1]
        if scope is not None:
            found[scope] = found.get(scope, 0.0) + total - seen
        seen = total

    with _scoped(supernet, stack, settle, calls):
        supernet(inputs)
    settle()
    return found


@contextmanager
def _scoped(meta: Supernet, stack: list[Scope | None], settle: Any, calls: list[CellCall]) -> Iterator[None]:
    """Hooks that keep the scope of what is running on top of `stack`, and note the sizes that cells run at."""
    handles = []

    def enter(scope: Scope | None) -> Any:
        def hook(module: nn.Module, inputs: Any) -> None:
            settle()
            stack.append(scope)

        return hook

    def leave(module: nn.Module, inputs: Any, output: Any) -> None:
        settle()
        stack.pop()

    def note(cell: nn.Module, inputs: Any) -> None:
        assert isinstance(cell, Cell)
        stride = cell.place.input_strides[-1]
        height, width = inputs[-1].shape[2:]
        calls.append(CellCall(cell, -(-height // stride), -(-width // stride), stack[-1] or ()))

    parts: list[tuple[nn.Module, Scope | None]] = list(_scoped_parts(meta.network))
    for cell in meta.cells:
        parts += [(op, None) for edge in cell.edges.values() for op in edge.values()]  # type: ignore[operator]
    for part, scope in parts:
        handles += [part.register_forward_pre_hook(enter(scope)), part.register_forward_hook(leave)]
    handles += [cell.register_forward_pre_hook(note) for cell in meta.cells]  # after a cell's own scope was entered
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _parameters(
    module: nn.Module, space: Space, scope: Scope, index: tuple[int, ...]
) -> Iterator[tuple[Scope, tuple[int, ...], float]]:
    """(scope, index, count) of every part's own parameters."""
    if isinstance(module, Choice):
        for number, option in enumerate(space.choices[module.name]):
            if module.name not in scope:
                inside = module.options[option_key(option)]
                yield from _parameters(inside, space, (*scope, module.name), (*index, number))
            elif index[scope.index(module.name)] == number:
                yield from _parameters(module.options[option_key(option)], space, scope, index)
        return
    if isinstance(module, Sliced):
        free = tuple(name for name in module.names if name not in scope)
        for values, count in module.sizes().items():
            position = {name: space.choices[name].index(v) for name, v in zip(module.names, values, strict=True)}
            if all(index[scope.index(name)] == position[name] for name in module.names if name in scope):
                yield (*scope, *free), (*index, *(position[name] for name in free)), count
        return
    own = sum(parameter.numel() for parameter in module.parameters(recurse=False))
    if own:
        yield scope, index, own
    for name, part in module.named_children():
        if isinstance(module, Cell) and name == "edges":
            yield from _cell_parameters(module, space, scope, index)
        else:
            yield from _parameters(part, space, scope, index)


def _cell_parameters(
    cell: Cell, space: Space, scope: Scope, index: tuple[int, ...]
) -> Iterator[tuple[Scope, tuple[int, ...], float]]:
    cell_space = space.cells[cell.place.kind]
    for node, edge in cell_space.candidates():
        name = edge_variable(cell.place.kind, node, edge.input)
        inside = (*scope, name), (*index, cell_space.operations.index(edge.operation))
        for found, at, count in _parameters(cell.operation(node, edge), space, *inside):
            order = [found.index(name), *(k for k in range(len(found)) if found[k] != name)]  # the edge counts first
            yield tuple(found[k] for k in order), tuple(at[k] for k in order), count
