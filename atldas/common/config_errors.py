"""Pydantic's validation errors as one line: key path, what was expected, what is there instead."""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Sequence
from typing import Any

import pydantic

from .yaml_text import shown

# The type of pydantic's error -> what was expected, with the fields of the error's context.
EXPECTED = {
    "int_type": "an integer",
    "int_from_float": "an integer",
    "float_type": "a number",
    "finite_number": "a finite number",
    "string_type": "text",
    "bool_type": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a mapping of keys to values",
    "dataclass_type": "a mapping of keys to values",
    "greater_than": "more than {gt}",
    "greater_than_equal": "{ge} or more",
    "less_than": "less than {lt}",
    "less_than_equal": "{le} or less",
    "multiple_of": "a multiple of {multiple_of}",
    "too_short": "{min_length} or more items",
    "too_long": "{max_length} or fewer items",
    "string_too_short": "{min_length} or more characters",
    "string_too_long": "{max_length} or fewer characters",
    "literal_error": "{expected}",
    "value_error": "{error}",  # a ValueError of our own says what it expects
}
UNKNOWN_KEY = ("unexpected_keyword_argument", "extra_forbidden")
MISSING = ("missing", "missing_argument")


def describe(cls: Any, error: pydantic.ValidationError, at: str) -> str:
    """The first fault in data for the configuration class `cls`; further ones are counted. `at`: its key path."""
    # Stable: a misspelt key comes before the missing one that it leaves behind.
    faults = sorted(error.errors(include_url=False), key=lambda fault: fault["type"] in MISSING)
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return _describe(cls, faults[0], at) + more


def suggestion(name: str, allowed: Sequence[str]) -> str:
    """` (did you mean x?)`, or nothing where no allowed name is near."""
    near = difflib.get_close_matches(str(name), list(allowed), n=1)
    return f" (did you mean {near[0]}?)" if near else ""


def _describe(cls: Any, fault: Any, at: str) -> str:
    kind, location, context, found = fault["type"], fault["loc"], fault.get("ctx", {}), fault["input"]
    path, _ = _follow(cls, location, at)
    where = path or "top level"
    if kind in UNKNOWN_KEY:
        _, owner = _follow(cls, location[:-1], at)
        allowed = [field.name for field in dataclasses.fields(owner)]
        hint = suggestion(str(location[-1]), allowed)
        return f"{where}: unknown key{hint}; expected one of {', '.join(allowed)}"
    if kind in MISSING:
        return f"{where}: expected {'an item' if isinstance(location[-1], int) else 'a value'}, got nothing"
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        key = context["discriminator"].strip("'")
        allowed = list(_by_tag(_follow(cls, location, at)[1]))
        tag = found.get(key) if isinstance(found, dict) else found
        return f"{path}.{key}: expected one of {', '.join(allowed)}, got {shown(tag)}{suggestion(str(tag), allowed)}"
    context = {key: f"{value:g}" if isinstance(value, float) else value for key, value in context.items()}
    if kind == "literal_error":
        context["expected"] = context["expected"].replace("'", "")  # text without Python's quotes
    expected = EXPECTED[kind].format(**context) if kind in EXPECTED else fault["msg"]
    hint = "; write numbers without quotes" if isinstance(found, str) and _is_number(found) else ""
    return f"{where}: expected {expected}, got {shown(found)}{hint}"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _follow(hint: Any, location: Sequence[int | str], at: str) -> tuple[str, Any]:
    """(key path, type) at the end of one of pydantic's locations, which starts in the type `hint` at key path `at`."""
    path = at
    for step in location:
        members = _members(hint)
        if len(members) > 1:  # a step into a union names the member, which is no key of the file
            tags = _by_tag(hint)
            hint = tags.get(str(step)) or next((m for m in members if getattr(m, "__name__", "") == step), members[0])
            continue
        path += f"[{step}]" if isinstance(step, int) else f".{step}" if path else str(step)
        hint = inner_type(members[0], step)
    return path, hint if len(_members(hint)) > 1 else _members(hint)[0]


def inner_type(hint: Any, step: int | str) -> Any:
    """The type of one field of a configuration class, or of one item of a list or a mapping (Any: not known)."""
    (member, *_) = _members(hint)
    if dataclasses.is_dataclass(member):
        return typing.get_type_hints(member, include_extras=True).get(str(step), Any)
    arguments = [argument for argument in typing.get_args(member) if argument is not ...]
    if isinstance(step, int) and typing.get_origin(member) is tuple and step < len(arguments):
        return arguments[step]
    return arguments[-1] if arguments else Any


def _members(hint: Any) -> list[Any]:
    """The types that a value may have: those of a union, but None; of anything else itself, without annotations."""
    if typing.get_origin(hint) is typing.Annotated:
        return _members(hint.__origin__)
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return [m for argument in typing.get_args(hint) if argument is not type(None) for m in _members(argument)]
    return [hint]


def _by_tag(hint: Any) -> dict[str, Any]:
    """The members of a discriminated union by their tags; empty for another type."""
    key = next(
        (a.discriminator for a in getattr(hint, "__metadata__", ()) if isinstance(a, pydantic.Discriminator)), None
    )
    if not isinstance(key, str):
        return {}
    kinds = {member: typing.get_type_hints(member)[key] for member in _members(hint)}
    return {tag: member for member, literal in kinds.items() for tag in typing.get_args(literal)}
