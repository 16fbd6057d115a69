"""Modules as Python expressions that make them anew, and the classes that these expressions need."""

from __future__ import annotations

import ast
import inspect
import re
import sys
import textwrap
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from ..cell import Cell
from ..common.errors import UserError
from .cell_class import cell_class
from .layout import Call, Expression
from .sources import INSTEAD, Sources, is_plain, names_in, source_of

CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
INNER = set(vars(nn.Module()))  # what every module has


class Expressions:
    """Writes modules; the classes that they need are added to `sources`."""

    def __init__(self, sources: Sources) -> None:
        self.sources = sources
        self._names: dict[Any, str] = {}  # class, or (kind, adapted) of a cell -> its name in the text

    def of(self, module: nn.Module | None, where: str) -> Expression:
        """The expression that makes a module like this one; `where`: its path in the network, for errors."""
        if module is None:
            return "None"
        if isinstance(module, Cell):
            return self._cell(module)
        kind = type(module)
        own = not kind.__module__.startswith("torch.")
        name = self._class(module, where) if own else self._torch_name(kind)
        base = _torch_base(kind)
        if issubclass(base, CONTAINERS):
            return self._container(module, name, base, where)
        if base is not nn.Module:
            return _constructor(module, name, base, where)
        if not own:
            raise UserError(f"{where}: {name} cannot be written as text; {INSTEAD}")
        return Call(f"{name}(", self._parts(module, where), ")")

    def _parts(self, module: nn.Module, where: str) -> list[tuple[str, Expression]]:
        """Parameters, buffers, modules and the plain settings that `forward` reads."""
        parts: list[tuple[str, Expression]] = []
        for name, parameter in module._parameters.items():
            if parameter is not None:
                parts.append((f"{name}=", f"nn.Parameter(torch.empty({_shape(parameter)}))"))
        for name, buffer in module._buffers.items():
            if name in module._non_persistent_buffers_set:
                raise UserError(
                    f"{where}: the buffer {name} is in no state dict, so its values would be lost; {INSTEAD}"
                )
            if buffer is not None:
                parts.append((f"{name}=", f"torch.empty({_shape(buffer)}, dtype={buffer.dtype})"))
        parts += [(f"{name}=", self.of(child, _under(where, name))) for name, child in module._modules.items()]
        for name in sorted(_members(type(module))[1] & (set(vars(module)) - INNER)):
            value = vars(module)[name]
            if not is_plain(value):
                raise UserError(f"{where or 'the network'}: forward reads {name}, a {type(value).__name__}; {INSTEAD}")
            parts.append((f"{name}=", repr(value)))
        return parts

    def _container(self, module: nn.Module, name: str, base: type, where: str) -> Call:
        children = [(key, self.of(child, _under(where, key))) for key, child in module._modules.items()]
        if base is nn.ModuleList:
            return Call(f"{name}([", [("", child) for _, child in children], "])")
        if base is nn.Sequential and [key for key, _ in children] == [str(n) for n in range(len(children))]:
            return Call(f"{name}(", [("", child) for _, child in children], ")")
        keyed = [(f"{key!r}: ", child) for key, child in children]
        if base is nn.ModuleDict:
            return Call(f"{name}({{", keyed, "})")
        self.sources.imports.add("from collections import OrderedDict")
        return Call(f"{name}(OrderedDict({{", keyed, "}))")

    def _torch_name(self, kind: type) -> str:
        if getattr(nn, kind.__name__, None) is kind:
            return f"nn.{kind.__name__}"
        self.sources.imports.add(f"from {kind.__module__} import {kind.__name__}")
        return kind.__name__

    def _class(self, module: nn.Module, where: str) -> str:
        """Define the class of a module, once; returns its name in the text."""
        kind = type(module)
        if kind in self._names:
            return self._names[kind]
        if kind.forward is nn.Module.forward:
            raise UserError(f"{where or 'the network'}: {kind.__name__} has no forward; {INSTEAD}")
        made_by_torch = next(c for c in kind.__mro__ if "__init__" in vars(c)).__module__.startswith("torch.")
        if made_by_torch:  # then it is the same class that an operation may use
            self.sources.add(kind.__name__, kind)
            self._names[kind] = kind.__name__
            return kind.__name__
        name = self._free(kind.__name__)
        self._names[kind] = name
        self.sources.meant[name] = kind
        base = _torch_base(kind)
        above = "Part" if base is nn.Module else self._torch_name(base)
        methods, _ = _members(kind)
        texts = [textwrap.indent(source_of(method), "    ") for method in methods]
        constants = [f"    {key} = {vars(owner)[key]!r}" for owner in _own(kind) for key in vars(owner)
                     if key in _members(kind)[1] and is_plain(vars(owner)[key])]  # fmt: skip
        for method in methods:
            for used in _globals_of(method):
                self.sources.add(*used)
        document = inspect.cleandoc(vars(kind).get("__doc__") or "").partition("\nArgs:")[0].strip()
        quoted = (
            [textwrap.indent(f'"""{document}{chr(10) if chr(10) in document else ""}"""', "    ")] if document else []
        )
        head = "\n".join([f"class {name}({above}):", *quoted])
        self.sources.definitions[name] = "\n\n".join([head, *(["\n".join(constants)] if constants else []), *texts])
        return name

    def _cell(self, cell: Cell) -> Call:
        place = cell.place
        key = (place.kind, place.adapted, cell.genotype)
        if key not in self._names:
            words = "".join(word[0].upper() + word[1:] for word in re.findall("[A-Za-z0-9]+", place.kind))
            self._names[key] = self._free(f"{words}Cell" if words[:1].isalpha() else f"Cell{words}")
            if place.adapted:
                for needed in ("FactorizedReduce", "conv_bn"):
                    self.sources.add(needed, vars(sys.modules["atldas.operations"])[needed])
            self.sources.definitions[self._names[key]] = cell_class(self._names[key], cell)
        parts: list[tuple[str, Expression]] = [("channels=", str(place.channels)), ("stride=", str(place.stride))]
        if place.adapted:
            parts = [("in_channels=", repr(place.in_channels)), *parts, ("input_strides=", repr(place.input_strides))]
        return Call(f"{self._names[key]}(", parts, ")")

    def _free(self, name: str) -> str:
        while name in self.sources.meant or name in self._names.values():
            name += "_"
        return name


def _constructor(module: nn.Module, name: str, base: type[nn.Module], where: str) -> Call:
    """A module of PyTorch by its constructor's arguments, which such modules keep as attributes."""
    parts: list[tuple[str, Expression]] = []
    for key, parameter in inspect.signature(base).parameters.items():
        required = parameter.default is inspect.Parameter.empty
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):  # Identity takes anything
            continue
        if key in ("device", "dtype") or not (hasattr(module, key) or required):
            continue
        value = getattr(module, key, None)
        if key == "bias" and not isinstance(value, bool):
            value = value is not None
        if isinstance(value, tuple) and len(set(value)) == 1:
            value = value[0]  # (3, 3) is 3
        if not is_plain(value) or (required and not hasattr(module, key)):
            raise UserError(f"{where}: the argument {key} of {name} is not known any more; {INSTEAD}")
        if required:
            parts.append(("", repr(value)))
        elif value != parameter.default:
            parts.append((f"{key}=", repr(value)))
    return Call(f"{name}(", parts, ")")


def _own(kind: type) -> list[type]:
    """A class and those above it, as far as they are not PyTorch's."""
    return [c for c in kind.__mro__ if not c.__module__.startswith("torch.") and c is not object]


def _torch_base(kind: type) -> type[nn.Module]:
    found: type[nn.Module] = next(c for c in kind.__mro__ if c.__module__.startswith("torch."))
    return found


def _members(kind: type) -> tuple[list[Callable[..., Any]], set[str]]:
    """The methods that `forward` needs, itself first, and the names of all attributes that they read."""
    wanted = ["forward"]
    methods: list[Callable[..., Any]] = []
    read: set[str] = set()
    while wanted:
        name = wanted.pop(0)
        found: Any = next((vars(c)[name] for c in _own(kind) if name in vars(c)), None)
        found = found.fget if isinstance(found, property) else getattr(found, "__func__", found)
        if found is None or not inspect.isfunction(inspect.unwrap(found)):
            continue
        methods.append(found)
        me = next(iter(inspect.signature(found).parameters), "")
        used = {
            node.attr
            for node in ast.walk(ast.parse(source_of(found)))
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == me
        }
        wanted += sorted(used - read - {"forward"})
        read |= used
    return methods, read


def _globals_of(method: Callable[..., Any]) -> list[tuple[str, Any]]:
    scope = inspect.unwrap(method).__globals__
    return [(name, scope[name]) for name in names_in(source_of(method)) if name in scope]


def _shape(tensor: torch.Tensor) -> str:
    return ", ".join(map(str, tensor.shape)) or "()"


def _under(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name
