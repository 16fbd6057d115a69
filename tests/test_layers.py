"""The folders are layers: every import of every file, also inside functions, goes down or stays in its folder."""

from __future__ import annotations

import ast
import graphlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("atldas", "cheapmatting")
FOLDERS = (*PACKAGES, "benchmarks", "docs", "experiments", "search_spaces", "tests")

# Modules of cheapmatting's root that every folder below it may import; the others are the top.
BASIC = tuple(
    f"cheapmatting.{name}"
    for name in ("arrays", "colours", "decoding", "exr", "images", "picture_grid", "rough_trimap", "trimap")
)
# What every folder of cheapmatting may import.
BELOW = ("atldas/common", "atldas", "cheapmatting basics")
# Layer -> what its modules may import besides their own layer. docs/architecture.md shows the same table.
ALLOWED = {
    "atldas/common": (),
    "atldas": ("atldas/common",),
    "cheapmatting basics": ("atldas/common", "atldas"),
    "cheapmatting/model": BELOW,
    "cheapmatting/drawing": BELOW,
    "cheapmatting/masks": BELOW,
    "cheapmatting/inference/engines": (*BELOW, "cheapmatting/model"),
    "cheapmatting/inference": (*BELOW, "cheapmatting/model", "cheapmatting/inference/engines"),
    "cheapmatting/video": (*BELOW, "cheapmatting/model", "cheapmatting/masks", "cheapmatting/inference"),
    "cheapmatting/server": (
        *BELOW,
        "cheapmatting/model",
        "cheapmatting/masks",
        "cheapmatting/inference",
        "cheapmatting/exporting",
    ),
    "cheapmatting/exporting": (
        *BELOW,
        "cheapmatting/model",
        "cheapmatting/inference/engines",
        "cheapmatting/inference",
    ),
    "cheapmatting/data": (*BELOW, "cheapmatting/drawing"),
    "cheapmatting/evaluation": (*BELOW, "cheapmatting/model", "cheapmatting/inference", "cheapmatting/data"),
    "cheapmatting/training": (*BELOW, "cheapmatting/model", "cheapmatting/data", "cheapmatting/evaluation"),
}
# Folders that belong to the layer above them: the strategies of the search, the formats of `atldas export`.
SAME = {"atldas.strategies": "atldas", "atldas.exporting": "atldas"}
TOP = "cheapmatting"  # the rest of its root: it may import everything


class Import(NamedTuple):
    """One imported module of ours: where, what, and whether it is imported as soon as the file is."""

    line: int
    module: str
    at_once: bool


def python_files(folders: tuple[str, ...]) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


FILES = {module_name(path): path for path in python_files(PACKAGES)}


def imports(name: str, source: str, is_package: bool) -> list[Import]:
    """What the module `name` imports of `FILES`' packages, in the order of its lines."""
    package = name if is_package else name.rpartition(".")[0]
    return sorted(_imports(ast.parse(source), package, at_once=True))


def _imports(node: ast.AST, package: str, at_once: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            for module in _targets(child, package):
                if module.partition(".")[0] in PACKAGES:
                    yield Import(child.lineno, module, at_once)
        later = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) or (
            isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
        )
        yield from _imports(child, package, at_once and not later)


def _targets(node: ast.Import | ast.ImportFrom, package: str) -> list[str]:
    """Absolute names of the modules that a statement imports; `from package import module` means the module."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    parents = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
    base = ".".join([*parents, *([node.module] if node.module else [])])
    below = [f"{base}.{alias.name}" for alias in node.names]
    return [name if name in FILES else base for name in below]


def layer(module: str) -> str:
    """The layer of a module: its folder, but the root of cheapmatting is two layers."""
    if module in BASIC:
        return "cheapmatting basics"
    is_package = module in FILES and FILES[module].name == "__init__.py"
    folder = module if is_package else module.rpartition(".")[0]
    return SAME.get(folder, folder.replace(".", "/"))


def faults(name: str, found: list[Import], path: Path) -> list[str]:
    """A line for every import of the module `name` that its layer is not allowed."""
    own = layer(name)
    if own == TOP:
        return []
    allowed = (own, *ALLOWED[own])
    return [
        f"{path}:{line}: {own} imports {module}; allowed are {', '.join(allowed)}"
        for line, module, _ in found
        if layer(module) not in allowed
    ]


IMPORTS = {name: imports(name, path.read_text(), path.name == "__init__.py") for name, path in FILES.items()}


def test_every_import_goes_down_the_layers() -> None:
    lines = [line for name, found in IMPORTS.items() for line in faults(name, found, FILES[name].relative_to(ROOT))]
    assert not lines, "\n".join(["", *lines])


def test_every_folder_is_a_layer_of_the_table() -> None:
    assert {layer(name) for name in FILES} == {*ALLOWED, TOP}


def test_no_circle_among_modules_at_import_time() -> None:
    graph = {name: {item.module for item in found if item.at_once} - {name} for name, found in IMPORTS.items()}
    try:
        list(graphlib.TopologicalSorter(graph).static_order())
    except graphlib.CycleError as error:
        pytest.fail("imports in a circle: " + " <- ".join(error.args[1]))


def test_faults_are_found_wherever_an_import_stands() -> None:
    source = """
import atldas.cell
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    from ..training.train import train
def later():
    from ..data import loader
class Body:
    from ..drawing import wings
"""
    found = imports("cheapmatting.model.hints", source, is_package=False)
    assert found == [
        Import(2, "atldas.cell", True),
        Import(5, "cheapmatting.training.train", False),
        Import(7, "cheapmatting.data.loader", False),
        Import(9, "cheapmatting.drawing.wings", True),
    ]
    lines = faults("cheapmatting.model.hints", found, Path("hints.py"))
    assert [line.partition(";")[0] for line in lines] == [
        "hints.py:5: cheapmatting/model imports cheapmatting.training.train",
        "hints.py:7: cheapmatting/model imports cheapmatting.data.loader",
        "hints.py:9: cheapmatting/model imports cheapmatting.drawing.wings",
    ]
    assert faults("atldas.cell", [Import(1, "cheapmatting.trimap", True)], Path("cell.py"))


def test_the_architecture_page_shows_this_table() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    rows = re.findall(r"^\| `(.+?)` \|.*\| (.*) \|$", page, flags=re.MULTILINE)
    table = {name: tuple(re.findall(r"`(.+?)`", cell)) for name, cell in rows}
    assert table == {**ALLOWED, TOP: tuple(ALLOWED)}


def test_python_files_are_short_and_say_what_they_are() -> None:
    texts = {path.relative_to(ROOT): path.read_text() for path in python_files(FOLDERS)}
    lengths = {path: len(text.splitlines()) for path, text in texts.items()}
    lines = [f"{path}: expected at most 400 lines, got {length}" for path, length in lengths.items() if length > 400]
    lines += [
        f"{path}: expected a module docstring, got none"
        for path, text in texts.items()
        if ast.get_docstring(ast.parse(text)) is None
    ]
    assert not lines, "\n".join(["", *lines])
