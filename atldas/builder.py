"""How a task writes its network once: builders give it the parts that are searched.

`Task.build(builder)` asks for `builder.cell(place)`, `builder.choice(name, {option: factory})`, `builder.width(name)`.
A `FixedBuilder` gives exactly what a genotype chose, with no trace of the search in its module names. A
`SupernetBuilder` gives modules that hold all options and run the selected one. Both run the same code, so a
supernet's child and the fixed network cannot differ.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from torch import Tensor, nn

from .cell import Cell, CellPlace
from .common.errors import UserError
from .genotype import Genotype
from .space import Space
from .widths import Channels, Selection, Sliced, Width

Named = str | int | bool  # an option of a named choice
Factory = Callable[[], nn.Module]


class Builder(Protocol):
    """What a task's `build` is given."""

    def cell(self, place: CellPlace) -> Cell:
        """The cell at a place of the network."""
        ...

    def choice(self, name: str, options: Mapping[Named, Factory], default: Named | None = None) -> nn.Module:
        """The module of a named choice; all options take and give tensors of the same shapes.

        A space or genotype without such a choice takes `default`. One name may be used in several places, which
        then choose alike.

        Raises:
            UserError: no such choice and no default, or an option that the task does not offer.
        """
        ...

    def width(self, name: str, default: int | None = None) -> Channels:
        """The channel count of a named choice, to be given to `sized`, `cell`, or arithmetic."""
        ...

    def flag(self, name: str, default: bool | None = None) -> Channels:
        """1 or 0 for a named choice between true and false, for channels that are there or not."""
        ...

    def sized(self, factory: Callable[..., nn.Module], *channels: Channels) -> nn.Module:
        """The module `factory(*channels)`, for channel counts that may be chosen."""
        ...


class FixedBuilder:
    """Builds the network of one genotype."""

    def __init__(self, genotype: Genotype) -> None:
        self.genotype = genotype

    def cell(self, place: CellPlace) -> Cell:
        found = self.genotype.cells.get(place.kind)
        if found is None:
            raise UserError(
                f"genotype {self.genotype.name}: expected a cell {place.kind!r}, got {', '.join(self.genotype.cells)}"
            )
        return Cell(found, place)

    def choice(self, name: str, options: Mapping[Named, Factory], default: Named | None = None) -> nn.Module:
        return _offered(options, self._chosen(name, default), name)()

    def width(self, name: str, default: int | None = None) -> int:
        chosen = self._chosen(name, default)
        if type(chosen) is not int or chosen < 1:
            raise UserError(f"genotype {self.genotype.name}: choices.{name}: expected a channel count, got {chosen!r}")
        return chosen

    def flag(self, name: str, default: bool | None = None) -> int:
        chosen = self._chosen(name, default)
        if type(chosen) is not bool:
            raise UserError(f"genotype {self.genotype.name}: choices.{name}: expected true or false, got {chosen!r}")
        return int(chosen)

    def sized(self, factory: Callable[..., nn.Module], *channels: Channels) -> nn.Module:
        return factory(*channels)

    def _chosen(self, name: str, default: Named | None) -> Named:
        chosen: Named | None = self.genotype.choices.get(name, default)
        if chosen is None:
            got = ", ".join(self.genotype.choices) or "none"
            raise UserError(f"genotype {self.genotype.name}: choices: expected {name}, got {got}")
        return chosen


class Choice(nn.Module):
    """A named choice in a supernet: holds every option's module and runs the selected one, or a mixture of all."""

    def __init__(self, name: str, options: Mapping[Named, nn.Module], selection: Selection) -> None:
        super().__init__()
        self.name, self._selection = name, selection
        self.options = nn.ModuleDict({option_key(option): module for option, module in options.items()})

    def forward(self, *inputs: Tensor) -> Tensor:
        if self.name in self._selection.mixture:
            weights = self._selection.mixture[self.name]
            outputs = [w * option(*inputs) for w, option in zip(weights, self.options.values(), strict=True)]
            total: Tensor = sum(outputs[1:], start=outputs[0])
            return total
        output: Tensor = self.chosen()(*inputs)
        return output * self._selection.gates[self.name] if self.name in self._selection.gates else output

    def chosen(self) -> nn.Module:
        """The selected option's module."""
        return self.options[option_key(self._selection.chosen[self.name])]


def option_key(option: Named) -> str:
    """An option as the name of a submodule, unlike any of `nn.Module`'s own methods, such as `half`."""
    return f"option_{option}"


class SupernetBuilder:
    """Builds a network that holds every option of a space.

    Attributes:
        selection: what the network runs; all its parts read it.
        cells: the cells, in the order in which the network asked for them.
        places: named choice -> the `Choice` modules that follow it.
    """

    def __init__(self, space: Space) -> None:
        self.space = space
        self.selection = Selection()
        self.cells: list[Cell] = []
        self.places: dict[str, list[nn.Module]] = {}
        self._asked: set[str] = set()

    def cell(self, place: CellPlace) -> Cell:
        found = self.space.cells.get(place.kind)
        if found is None:
            raise UserError(
                f"space {self.space.name}: expected a cell {place.kind!r}, got {', '.join(self.space.cells) or 'none'}"
            )
        cell = Cell(found.first(), place, found.candidates(), self.sized, self.selection)
        self.cells.append(cell)
        return cell

    def choice(self, name: str, options: Mapping[Named, Factory], default: Named | None = None) -> nn.Module:
        if name not in self.space.choices:
            return _offered(options, self._default(name, default), name)()
        self._asked.add(name)
        wanted = {option: _offered(options, option, name) for option in self.space.choices[name]}
        made = Choice(name, {option: make() for option, make in wanted.items()}, self.selection)
        self.places.setdefault(name, []).append(made)
        return made

    def width(self, name: str, default: int | None = None) -> Channels:
        return self._number(name, default, int, "channel counts")

    def flag(self, name: str, default: bool | None = None) -> Channels:
        return self._number(name, default, bool, "true and false")

    def _number(self, name: str, default: int | None, kind: type, words: str) -> Channels:
        if name not in self.space.choices:
            return int(self._default(name, default))
        self._asked.add(name)
        for option in self.space.choices[name]:
            if type(option) is not kind or (kind is int and int(option) < 1):
                raise UserError(f"space {self.space.name}: choices.{name}: expected {words}, got {option!r}")
        return Width(((name, 1),))

    def sized(self, factory: Callable[..., nn.Module], *channels: Channels) -> nn.Module:
        if all(isinstance(c, int) for c in channels):
            return factory(*channels)
        widths: dict[str, tuple[int, ...]] = {
            name: tuple(int(option) for option in options if isinstance(option, int))
            for name, options in self.space.choices.items()
        }
        return Sliced(factory, channels, widths, self.selection)

    def require_all_asked(self) -> None:
        """Check, after the network was built, that it follows every named choice of the space.

        Raises:
            UserError: a choice that the network does not know.
        """
        unknown = [name for name in self.space.choices if name not in self._asked]
        if unknown:
            raise UserError(
                f"space {self.space.name}: choices: expected those that the network follows "
                f"({', '.join(sorted(self._asked)) or 'none of this space'}), got {unknown[0]}"
            )

    def _default(self, name: str, default: Named | None) -> Named:
        if default is None:
            raise UserError(
                f"space {self.space.name}: choices: expected {name}, got {', '.join(self.space.choices) or 'none'}"
            )
        return default


def _offered(options: Mapping[Named, Factory], option: Named, name: str) -> Factory:
    for offered, factory in options.items():
        if type(offered) is type(option) and offered == option:  # True is no 1
            return factory
    raise UserError(f"choices.{name}: expected one of {', '.join(map(str, options))}, got {option!r}")
