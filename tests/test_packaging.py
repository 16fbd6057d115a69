"""What is installed: every import is declared, every data file is packaged, both commands have the same version."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable, Sequence
from configparser import ConfigParser
from importlib.metadata import packages_distributions, version
from pathlib import Path

import pytest

import atldas.command
import cheapmatting.command

ROOT = Path(__file__).parents[1]
SERVER = "cheapmatting/server"  # needs the extra `web`, or `ray`
DATA = ("*.yaml", "*.png", "*.jpg", "*.safetensors", "*.txt", "*.md", "py.typed")


def setup_config() -> ConfigParser:
    parser = ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


def normalised(name: str) -> str:
    """A distribution's name as package indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def distributions(requirements: str) -> set[str]:
    """The names in lines such as `torch>=2.4`."""
    lines = [line.strip() for line in requirements.splitlines() if line.strip() and not line.startswith("#")]
    return {normalised(re.split(r"[^\w.-]", line)[0]) for line in lines}


def third_party(folders: Sequence[str], without: str = "") -> dict[str, Path]:
    """Top-level names that files import and that are neither Python's own nor ours, each with one such file."""
    found: dict[str, Path] = {}
    files = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    for path in (path for path in files if not without or not path.is_relative_to(ROOT / without)):
        for node in ast.walk(ast.parse(path.read_text())):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                modules = [node.module]
            found |= {module.partition(".")[0]: path.relative_to(ROOT) for module in modules}
    helpers = {path.stem for path in (ROOT / "tests" / "helpers").glob("*.py")}
    scripts = {path.name for path in (ROOT / "experiments" / "data").iterdir() if path.is_dir()}
    ours = {"atldas", "cheapmatting", *helpers, *scripts}
    return {name: path for name, path in found.items() if name not in sys.stdlib_module_names and name not in ours}


def undeclared(folders: Sequence[str], declared: set[str], without: str = "") -> list[str]:
    """A line for every import whose distribution is not among the `declared`."""
    makers = {"mathutils": ["bpy"], **packages_distributions()}  # Blender brings its own
    return [
        f"{path} imports {name}; expected one of {', '.join(makers.get(name, [name]))} in setup.cfg"
        for name, path in third_party(folders, without).items()
        if not {normalised(maker) for maker in makers.get(name, [name])} & declared
    ]


def test_every_import_of_the_packages_is_a_requirement() -> None:
    config = setup_config()
    required = distributions(config["options"]["install_requires"])
    assert not (lines := undeclared(["atldas", "cheapmatting"], required, without=SERVER)), "\n".join(lines)
    extras = [distributions(config["options.extras_require"][name]) for name in ("web", "ray")]
    assert not (lines := undeclared([SERVER], required.union(*extras))), "\n".join(lines)


def test_every_import_of_tests_and_benchmarks_is_a_requirement_or_an_extra() -> None:
    config = setup_config()
    texts = [config["options"]["install_requires"], *config["options.extras_require"].values()]
    declared = set().union(*map(distributions, texts))
    assert not (lines := undeclared(["tests", "benchmarks", "docs", "experiments"], declared)), "\n".join(lines)


def test_every_requirement_is_imported_somewhere() -> None:
    makers = {"mathutils": ["bpy"], **packages_distributions()}  # Blender brings its own
    used = {normalised(maker) for name in third_party(["atldas", "cheapmatting"]) for maker in makers.get(name, [name])}
    assert distributions(setup_config()["options"]["install_requires"]) <= used


def test_every_folder_with_modules_is_a_package_of_the_distribution() -> None:
    listed = set(setup_config()["options"]["packages"].split())
    folders = {path.parent for name in ("atldas", "cheapmatting") for path in (ROOT / name).rglob("*.py")}
    names = {".".join(folder.relative_to(ROOT).parts) for folder in folders}
    assert listed == {*names, "atldas.search_spaces", "cheapmatting.experiments"}


def test_every_data_file_is_packaged() -> None:
    config = setup_config()
    places = dict(re.split(r"\s*=\s*", line) for line in config["options"]["package_dir"].strip().splitlines())
    packaged = {
        path
        for package, patterns in config["options.package_data"].items()
        for pattern in patterns.split(",")
        for path in (ROOT / places.get(package, package.replace(".", "/"))).glob(pattern.strip())
    }
    shipped = {path for name in ("atldas", "cheapmatting") for kind in DATA for path in (ROOT / name).rglob(kind)}
    shipped |= {path for name in ("search_spaces", "experiments") for path in (ROOT / name).rglob("*.yaml")}
    assert not sorted(str(path.relative_to(ROOT)) for path in shipped - packaged)


def test_the_page_of_versions_lists_every_extra() -> None:
    page = (ROOT / "docs" / "versions.md").read_text().partition("## Extras")[2].partition("## ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", page, flags=re.MULTILINE)) == {*setup_config()["options.extras_require"]}


@pytest.mark.parametrize(
    ("name", "main"), [("atldas", atldas.command.main), ("cheapmatting", cheapmatting.command.main)]
)
def test_the_commands_tell_the_installed_version(
    name: str, main: Callable[[Sequence[str]], int], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["--version"])
    assert capsys.readouterr().out == f"{name} {version('cheapmatting')}\n"
