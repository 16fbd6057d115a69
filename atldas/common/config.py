"""Strict configuration: YAML into frozen dataclasses, every fault named by file, key path, found and allowed.

A configuration class is declared as

    @config
    class Search:
        steps: Annotated[int, Ge(1)] = 1000

and read with `read_config(Search, "search.yaml")`. Fields may be other configuration classes. The checking itself is
pydantic's; this module adds the YAML and words the errors for people.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import re
import types
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar, dataclass_transform

import pydantic
import pydantic.dataclasses
import yaml

from .errors import UserError

T = TypeVar("T")
STRICT = pydantic.ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
MISSING = ("missing", "missing_argument")
# Pydantic's names for kinds of JSON, in YAML's.
WORDS = {"an object": "a mapping of keys to values", "a valid array": "a list", "a valid string": "text"}


@dataclass_transform(kw_only_default=True, frozen_default=True)
def config(cls: type[T]) -> type[T]:
    """Class decorator: a frozen, keyword-only dataclass that refuses unknown keys, wrong types, impossible values."""
    made: type[T] = pydantic.dataclasses.dataclass(cls, config=STRICT, frozen=True, kw_only=True)  # type: ignore[assignment]
    return made


def read_config(cls: type[T], path: str | Path, assignments: Sequence[str] = ()) -> T:
    """Fill the configuration class `cls` from a YAML file, after `key.path=value` assignments.

    Raises:
        UserError: the file cannot be read, or does not fit `cls`.
    """
    mapping = read_yaml(path)
    for assignment in assignments:
        assign(mapping, assignment)
    return fill(cls, mapping, str(path))


def read_yaml(path: str | Path) -> dict[str, Any]:
    """The mapping at the top of a YAML file, read with the safe loader.

    Raises:
        UserError: no such file, not text, not YAML, empty, a key given twice, or not a mapping at the top.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not a text file; a YAML file is needed") from error
    return parse_yaml(text, str(path))


def parse_yaml(text: str, source: str) -> dict[str, Any]:
    """As `read_yaml`, from a text; `source` names it in errors."""
    try:
        _refuse_duplicate_keys(yaml.compose(text, Loader=yaml.SafeLoader), source)
        data = plain(yaml.safe_load(text))  # copies what aliases share: an assignment then changes one place
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error).partition("\n")[0]
        raise UserError(f"{source}: is not valid YAML{where}: {problem}") from error
    except (ValueError, KeyError, RecursionError) as error:  # a date 2024-13-45; `!!bool x`; an anchor in itself
        raise UserError(f"{source}: is not valid YAML: {error}") from error
    if data is None:
        raise UserError(f"{source}: is empty; a mapping of keys to values is needed")
    if not isinstance(data, dict):
        raise UserError(f"{source}: top level: found {shown(data)}, allowed is a mapping of keys to values")
    return data


def _refuse_duplicate_keys(node: yaml.Node | None, source: str, path: str = "") -> None:
    """YAML's own reader silently keeps the last of two equal keys, so an edit would be lost without a word."""
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _refuse_duplicate_keys(item, source, f"{path}[{index}]")
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            here = f"{path}.{key.value}" if path else str(key.value)
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise UserError(f"{source}: {here}: found twice (line {key.start_mark.line + 1}), allowed once")
            seen.add(str(key.value))
            _refuse_duplicate_keys(value, source, here)


def assign(mapping: dict[str, Any], assignment: str) -> None:
    """Carry out one `key.path=value` in place; its value is read as YAML: `3`, `true`, `[1, 2]`.

    Raises:
        UserError: no `=`, or the path runs through something that is not a mapping.
    """
    path, equals, value = assignment.partition("=")
    *parents, last = path.strip().split(".")
    if not equals or not last:
        raise UserError(f"--set {assignment}: allowed is key.path=value, for example search.steps=500")
    for depth, key in enumerate(parents):
        mapping = mapping.setdefault(key, {})
        if not isinstance(mapping, dict):
            parent = ".".join(parents[: depth + 1])
            raise UserError(f"--set {assignment}: {parent} is a single value, it has no keys inside")
    try:
        mapping[last] = yaml.safe_load(value)
    except (yaml.YAMLError, ValueError) as error:
        raise UserError(f"--set {assignment}: the value is not valid YAML") from error


def fill(cls: type[T], mapping: Any, source: str, at: str = "") -> T:
    """Build the configuration class `cls` from plain data.

    `source` names the file and `at` the key path of `mapping` within it, for errors.

    Raises:
        UserError: unknown or missing key, wrong type, impossible value; the first fault is told, the rest counted.
    """
    try:
        # Through JSON, because pydantic's strict mode then takes a list for a tuple but still refuses "3" for 3.
        return pydantic.TypeAdapter(cls).validate_json(json.dumps(mapping, default=str))
    except pydantic.ValidationError as error:
        # Stable: a misspelt key comes before the missing one that it leaves behind.
        faults = sorted(error.errors(include_url=False), key=lambda fault: fault["type"] in MISSING)
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        raise UserError(f"{source}: {_describe(cls, faults[0], at)}{more}") from None


def plain(value: Any) -> Any:
    """A configuration object as plain mappings and lists, fit for YAML; `fill` takes it back unchanged."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def shown(value: Any) -> str:
    """A found value as errors show it: short, with its kind where that is the point."""
    kinds: dict[type, str] = {dict: "a mapping", list: "a list", str: "text", bool: "a truth value", int: "an integer",
                              float: "a number", type(None): "nothing"}  # fmt: skip
    kind = kinds.get(type(value), type(value).__name__)
    if value is None:
        return kind
    text = json.dumps(value, default=str)
    return f"{text if len(text) <= 60 else text[:57] + '...'} ({kind})"


def suggestion(name: str, allowed: Sequence[str]) -> str:
    """` (did you mean x?)`, or nothing where no allowed name is near."""
    near = difflib.get_close_matches(str(name), list(allowed), n=1)
    return f" (did you mean {near[0]}?)" if near else ""


def _describe(cls: Any, fault: Any, at: str) -> str:
    """`key.path: found ..., allowed ...` for one of pydantic's faults."""
    location = fault["loc"]
    path = at
    for step in location:
        path += f"[{step}]" if isinstance(step, int) else f".{step}" if path else str(step)
    path = path or "top level"
    if fault["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        allowed = _keys_at(cls, location[:-1])
        hint = suggestion(str(location[-1]), allowed)
        return f"{path}: found an unknown key{hint}; allowed are {', '.join(allowed)}"
    if fault["type"] in MISSING:
        return f"{path}: found nothing; this {'item' if isinstance(location[-1], int) else 'key'} is needed"
    allowed_text = fault["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    allowed_text = re.sub(r"\w+ should have (.*) after validation.*", r"\1", allowed_text)
    allowed_text = WORDS.get(allowed_text, allowed_text)
    found = fault["input"]
    hint = ""
    if isinstance(found, str) and _is_number(found):
        hint = "; write numbers without quotes, and 1.0e-3 rather than 1e-3, which YAML takes for text"
    return f"{path}: found {shown(found)}, allowed is {allowed_text}{hint}"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _keys_at(cls: Any, location: Sequence[int | str]) -> list[str]:
    """The field names of the configuration class that `location` leads to, starting from `cls`."""
    for step in location:
        cls = _unwrapped(cls)
        if dataclasses.is_dataclass(cls):
            cls = typing.get_type_hints(cls)[str(step)]
        else:  # a list's or a mapping's values
            cls = [argument for argument in typing.get_args(cls) if argument is not ...][-1]
    cls = _unwrapped(cls)
    return [field.name for field in dataclasses.fields(cls)]


def _unwrapped(cls: Any) -> Any:
    """The class inside `X | None`."""
    if typing.get_origin(cls) in (typing.Union, types.UnionType):
        return next(argument for argument in typing.get_args(cls) if argument is not type(None))
    return cls


def load_object(dotted: str, source: str, at: str) -> Callable[..., Any]:
    """The Python object that a `package.module:Name` in a configuration file means.

    Raises:
        UserError: wrong form, no such module or no such name in it.
    """
    import importlib

    module_name, colon, name = dotted.partition(":")
    if not (module_name and colon and name) or module_name.startswith("."):
        raise UserError(f"{source}: {at}: found {shown(dotted)}, allowed is package.module:Name")
    try:
        found: Callable[..., Any] = getattr(importlib.import_module(module_name), name)
    except ModuleNotFoundError as error:
        raise UserError(f"{source}: {at}: found {shown(dotted)}, but there is no module {error.name}") from error
    except AttributeError as error:
        raise UserError(f"{source}: {at}: found {shown(dotted)}, but {module_name} has no {name}") from error
    return found
