"""Python text of classes and functions with everything that they refer to, in an order in which Python can run it."""

from __future__ import annotations

import ast
import builtins
import inspect
import re
import symtable
import sys
import textwrap
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ..common.errors import UserError
from ..operations import OPERATIONS

INSTEAD = "use --format pt2 or onnx"
PLAIN = (bool, int, float, str, type(None))


class Sources:
    """Collects definitions.

    Args:
        own: the top-level packages whose code is copied; what comes from others is imported.

    Attributes:
        imports: import statements.
        definitions: name -> text, in the order in which they must stand.
        meant: name -> the object that it means, so that no name means two.
    """

    def __init__(self, own: frozenset[str]) -> None:
        self.own = own
        self.imports: set[str] = set()
        self.definitions: dict[str, str] = {}
        self.meant: dict[str, Any] = {"Part": None, "network": None}  # name -> the object that it means

    def define(self, name: str, text: str, scope: Mapping[str, Any]) -> None:
        """Add a definition after all that it refers to; `scope`: the names of the module that it is from."""
        for used in names_in(text):
            if used in scope and used != name:
                self.add(used, scope[used])
        self.definitions[name] = text

    def add(self, name: str, value: Any) -> None:
        """Add what a module calls `name`.

        Raises:
            UserError: it cannot be written as text.
        """
        if name in self.meant:
            if self.meant[name] is not value:
                raise UserError(f"two things are called {name} in the network's code; {INSTEAD}")
            return  # also in a circle
        self.meant[name] = value
        if isinstance(value, types.ModuleType):
            if value.__name__.partition(".")[0] in self.own:
                raise UserError(f"the network's code calls its module {value.__name__} as a whole; {INSTEAD}")
            self.imports.add(_import_of(value.__name__, name))
        elif is_plain(value):
            self.definitions[name] = f"{name} = {value!r}"
        elif inspect.isclass(value) or inspect.isfunction(inspect.unwrap(value)):
            if value.__module__.partition(".")[0] in self.own:
                self.define(name, source_of(value), vars(sys.modules[value.__module__]))
            else:
                self._import(name, value)
        elif assigned := self._assignment(name, value):
            self.define(name, *assigned)
        else:
            self._import(name, value)

    def _assignment(self, name: str, value: Any) -> tuple[str, Mapping[str, Any]] | None:
        """The statement `name = ...` in the module that made the value, and that module's names."""
        for module in list(sys.modules.values()):
            if module.__name__.partition(".")[0] in self.own and vars(module).get(name) is value:
                text = inspect.getsource(module)
                for node in ast.parse(text).body:
                    if isinstance(node, ast.Assign) and [ast.unparse(t) for t in node.targets] == [name]:
                        return ast.get_source_segment(text, node) or "", vars(module)
        return None

    def _import(self, name: str, value: Any) -> None:
        module, original = getattr(value, "__module__", ""), getattr(value, "__name__", "")
        if original and getattr(sys.modules.get(module), original, None) is value:
            self.imports.add(f"from {module} import {original}" + (f" as {name}" if original != name else ""))
        else:
            raise UserError(f"the network's code uses {name}, which cannot be written as text; {INSTEAD}")

    def add_operation(self, name: str) -> str:
        """Add what the entry `name` of `OPERATIONS` refers to; returns the entry's expression."""
        for module in [m for m in list(sys.modules.values()) if vars(m).get("OPERATIONS") is OPERATIONS]:
            for expression in _entries(inspect.getsource(module), name):
                for used in names_in(expression):
                    if used in vars(module):
                        self.add(used, vars(module)[used])
                return expression
        raise UserError(f"no module has an entry {name!r} of OPERATIONS in its text; {INSTEAD}")


def is_plain(value: Any) -> bool:
    """Whether `repr` gives Python text of the value."""
    if type(value) in (tuple, list, set):
        return all(is_plain(item) for item in value)
    if type(value) is dict:
        return all(is_plain(key) and is_plain(item) for key, item in value.items())
    return type(value) in PLAIN


def source_of(thing: Callable[..., Any]) -> str:
    """The text of a function or a class, without marks for linters.

    Raises:
        UserError: it is defined inside a function, imports on its own, or there is no text.
    """
    thing = inspect.unwrap(thing)
    if "<locals>" in thing.__qualname__ or thing.__name__ == "<lambda>":
        raise UserError(f"{thing.__qualname__} is defined inside a function; {INSTEAD}")
    try:
        text = textwrap.dedent(inspect.getsource(thing)).rstrip()
    except (OSError, TypeError) as error:
        raise UserError(f"{thing.__qualname__}: there is no Python text of it; {INSTEAD}") from error
    if any(isinstance(node, ast.ImportFrom) and node.level for node in ast.walk(ast.parse(text))):
        raise UserError(f"{thing.__qualname__} imports from its own package when it runs; {INSTEAD}")
    return re.sub(r"  # (type: ignore|fmt: |noqa).*", "", text)


def names_in(text: str) -> list[str]:
    """The global names that a text uses, besides Python's own, in the order of the alphabet."""
    found: set[str] = set()

    def visit(table: symtable.SymbolTable) -> None:
        top = table.get_type() == "module"
        for symbol in table.get_symbols():
            if symbol.is_referenced() and (symbol.is_global() or (top and not symbol.is_assigned())):
                found.add(symbol.get_name())
        for child in table.get_children():
            visit(child)

    visit(symtable.symtable(text, "text", "exec"))
    return sorted(found - set(dir(builtins)))


def _entries(text: str, name: str) -> Iterator[str]:
    """Expressions in a module's text that stand for `OPERATIONS[name]`: in a dict display or an assignment."""
    for node in ast.parse(text).body:
        if not isinstance(node, ast.Assign | ast.AnnAssign) or node.value is None:
            continue
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        pairs: list[tuple[ast.expr | None, ast.expr]] = []
        if isinstance(node.value, ast.Dict) and any(ast.unparse(target) == "OPERATIONS" for target in targets):
            pairs += zip(node.value.keys, node.value.values, strict=True)
        pairs += [
            (target.slice, node.value)
            for target in targets
            if isinstance(target, ast.Subscript) and ast.unparse(target.value).split(".")[-1] == "OPERATIONS"
        ]
        for key, value in pairs:
            if isinstance(key, ast.Constant) and key.value == name:
                yield ast.get_source_segment(text, value) or ast.unparse(value)


def _import_of(module: str, name: str) -> str:
    parent, _, last = module.rpartition(".")
    if module == name:
        return f"import {module}"
    if parent:
        return f"from {parent} import {last}" + (f" as {name}" if last != name else "")
    return f"import {module} as {name}"
