"""Strict configuration: YAML becomes frozen dataclasses.

An error names the file, the key path, what was expected and what is there.

A configuration class is declared as

    @config
    class Search:
        steps: Annotated[int, Ge(1)] = 1000

and read with `read_config(Search, "search.yaml")`. Fields may be other configuration classes. Where a file chooses
between several, each has a field `kind`, and the field that holds one of them is a discriminated union:

    @config
    class Disc:
        kind: Literal["disc"] = "disc"
        radius: float

    Shape = Annotated[Disc | Square, Discriminator("kind")]

Pydantic does the checking. This module adds YAML, readable errors, and a rule for paths: a `FilePath` in a
file is relative to that file, and one given by `--set` is relative to the working directory.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
import re
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar, dataclass_transform

import pydantic
import pydantic.dataclasses
from annotated_types import Ge, Le
from pydantic import AfterValidator

from .config_errors import describe, inner_type
from .errors import UserError
from .yaml_text import parse_value, read_yaml, shown

T = TypeVar("T")
STRICT = pydantic.ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


@dataclass(frozen=True)
class RelativeToFile:
    """Marks a text field that is a path: it becomes an absolute path when the configuration is made.

    Attributes:
        names: gives the names of what ships; such a name stays as it is, unless there is a file of that name.
    """

    names: Callable[[], Sequence[str]] = tuple


FilePath = Annotated[str, RelativeToFile()]
MOST = Le(100_000)  # of what is counted: more is a slip of the hand, and would take all memory or days
Seed = Annotated[int, Ge(0), Le(2**32 - 1)]  # PyTorch's generators take 64 bits, and some seeds are multiples of it


@dataclass_transform(kw_only_default=True, frozen_default=True)
def config(cls: type[T]) -> type[T]:
    """Class decorator: a frozen, keyword-only dataclass that refuses unknown keys, wrong types, impossible values."""
    made: type[T] = pydantic.dataclasses.dataclass(cls, config=STRICT, frozen=True, kw_only=True)  # type: ignore[assignment]
    return made


@dataclass(frozen=True)
class Source:
    """Where plain data comes from.

    Attributes:
        name: what errors call it, as a rule the file's path.
        folder: what its relative paths are relative to.
        assigned: key paths that the command line set.
        at: the key path of the data within the file.
    """

    name: str
    folder: Path = Path()
    assigned: frozenset[str] = frozenset()
    at: str = ""

    def under(self, key: str) -> Source:
        """The source of the part of the data under `key`."""
        return dataclasses.replace(self, at=f"{self.at}.{key}" if self.at and key else self.at or key)

    def __str__(self) -> str:
        return f"{self.name}: {self.at}" if self.at else self.name

    def absolute(self, path: str, key_path: str) -> str:
        """The absolute path that the text `path` at `key_path` means."""
        given = any(re.fullmatch(rf"{re.escape(key)}([.\[].*)?", key_path) for key in self.assigned)
        return os.path.abspath(path if given else self.folder / path)


def key_of(known: Mapping[str, Any]) -> AfterValidator:
    """Marks a text field as a key of a dict that may still grow: checked when the configuration is made."""

    def check(name: str) -> str:
        if name not in known:
            raise ValueError(f"one of {', '.join(known)}")
        return name

    return AfterValidator(check)


def read_config(cls: type[T], path: str | Path, assignments: Sequence[str] = ()) -> T:
    """Fill the configuration class `cls` from a YAML file, after `key.path=value` assignments.

    Raises:
        UserError: the file cannot be read, or does not fit `cls`.
    """
    return from_dict(cls, *read_settings(path, assignments))


def read_settings(path: str | Path, assignments: Sequence[str] = ()) -> tuple[dict[str, Any], Source]:
    """The plain data of a YAML file after `key.path=value` assignments, and its source.

    Raises:
        UserError: the file cannot be read, or a faulty assignment.
    """
    return assigned(read_yaml(path), Source(str(path), Path(path).parent), assignments)


def assigned(mapping: dict[str, Any], source: Source, assignments: Sequence[str]) -> tuple[dict[str, Any], Source]:
    """Carry out assignments on plain data in place; the source then knows what they set.

    Raises:
        UserError: a faulty assignment.
    """
    paths = [assign(mapping, assignment) for assignment in assignments]
    return mapping, dataclasses.replace(source, assigned=source.assigned | frozenset(paths))


def assign(mapping: dict[str, Any], assignment: str) -> str:
    """Carry out one `key.path[index].key=value` in place and return the key path.

    The value is read as YAML: `3`, `true`, `[1, 2]`. Mappings on the way are made, list items must be there.

    Raises:
        UserError: no `=`, or the path runs through something that has no keys or no such item.
    """
    path, equals, value = assignment.partition("=")
    path = path.strip()
    if not equals or not re.fullmatch(r"[^\[\].]+(\[\d+\]|\.[^\[\].]+)*", path):
        raise UserError(
            f"--set {assignment}: expected key.path=value, for example search.steps=500 or sources[0].size=9"
        )
    steps = [int(index) if index else key for index, key in re.findall(r"\[(\d+)\]|([^\[\].]+)", path)]
    try:
        data = parse_value(value)
    except ValueError as error:
        raise UserError(f"--set {assignment}: the value: {error}") from error
    place: Any = mapping
    for depth, step in enumerate(steps):
        _require_step(place, step, f"--set {assignment}: {_joined(steps[:depth])}")
        if depth == len(steps) - 1:
            place[step] = data
        else:
            place = place[step] if isinstance(step, int) else place.setdefault(step, {})
    return path


def _joined(steps: Sequence[int | str]) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps).removeprefix(".")


def _require_step(place: Any, step: int | str, where: str) -> None:
    if isinstance(step, int):
        if not isinstance(place, list):
            raise UserError(f"{where}: expected a list, got {shown(place)}")
        if step >= len(place):
            raise UserError(f"{where}: expected an index under {len(place)}, the number of items, got {step}")
    elif not isinstance(place, dict):
        raise UserError(f"{where}: expected a mapping of keys to values, got {shown(place)}")


def from_dict(cls: type[T], mapping: Any, source: Source | str, at: str = "") -> T:
    """Build the configuration class `cls` from plain data.

    `source` is where the data come from (text: a name for errors; relative paths are then relative to the working
    directory), `at` the key path of `mapping` within it.

    Raises:
        UserError: unknown or missing key, wrong type, impossible value; the first fault is told, the rest counted.
    """
    source = (Source(source) if isinstance(source, str) else source).under(at)
    try:
        # Through JSON, because pydantic's strict mode then takes a list for a tuple but still refuses "3" for 3.
        made = pydantic.TypeAdapter(cls).validate_json(json.dumps(mapping, default=str))
    except pydantic.ValidationError as error:
        raise UserError(f"{source.name}: {describe(cls, error, source.at)}") from None
    resolved: T = _resolved(made, cls, source.at, source)
    return resolved


def _resolved(value: Any, hint: Any, path: str, source: Source) -> Any:
    """`value`, of the type `hint`, with absolute paths in place of every `FilePath`."""
    if isinstance(value, str):
        for mark in _annotations(hint):
            if isinstance(mark, RelativeToFile):
                absolute = source.absolute(value, path)
                return absolute if os.path.isfile(absolute) or value not in mark.names() else value
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        changed: dict[str, Any] = {}
        for field in dataclasses.fields(value):
            old, key = getattr(value, field.name), f"{path}.{field.name}" if path else field.name
            new = _resolved(old, inner_type(type(value), field.name), key, source)
            changed |= {field.name: new} if new is not old else {}
        return dataclasses.replace(value, **changed) if changed else value
    if isinstance(value, list | tuple):
        items = [_resolved(v, inner_type(hint, n), f"{path}[{n}]", source) for n, v in enumerate(value)]
        return type(value)(items) if any(new is not old for new, old in zip(items, value, strict=True)) else value
    if isinstance(value, dict):
        return {k: _resolved(v, inner_type(hint, k), f"{path}.{k}", source) for k, v in value.items()}
    return value


def _annotations(hint: Any) -> list[Any]:
    """What a type is annotated with, also as a member of a union such as `FilePath | None`."""
    inner = [mark for argument in typing.get_args(hint) for mark in _annotations(argument)]
    return [*getattr(hint, "__metadata__", ()), *inner]


def to_dict(value: Any) -> Any:
    """A configuration object as plain mappings and lists, fit for YAML; `from_dict` takes it back unchanged."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_dict(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {key: to_dict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_dict(item) for item in value]
    return value


def load_object(dotted: str, source: Source | str, at: str) -> Callable[..., Any]:
    """The Python object that a `package.module:Name` in a configuration file means.

    Raises:
        UserError: wrong form, no such module or no such name in it.
    """
    where = f"{(Source(source) if isinstance(source, str) else source).under(at)}: expected package.module:Name"
    module_name, colon, name = dotted.partition(":")
    if not (module_name and colon and name) or module_name.startswith("."):
        raise UserError(f"{where}, got {shown(dotted)}")
    try:
        found: Callable[..., Any] = getattr(importlib.import_module(module_name), name)
    except ModuleNotFoundError as error:
        raise UserError(f"{where}, got {shown(dotted)}, but there is no module {error.name}") from error
    except AttributeError as error:
        raise UserError(f"{where}, got {shown(dotted)}, but {module_name} has no {name}") from error
    return found
