"""Modules of one's own: where they are found, and what is said when they are not."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from atldas.command import main as atldas
from atldas.common.errors import UserError
from atldas.common.modules import add_import_option, import_modules
from cheapmatting.command import main as cheapmatting


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory that is not on the path, with a module in it, as an installed command finds it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry not in ("", ".", str(tmp_path))])
    (tmp_path / "mine_of_test.py").write_text("VALUE = 7\n")
    importlib.invalidate_caches()
    yield tmp_path
    sys.modules.pop("mine_of_test", None)


def test_a_module_in_the_working_directory_is_found_and_hides_no_library(workplace: Path) -> None:
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("mine_of_test")
    import_modules([])  # a task that a file names is found too
    assert importlib.import_module("mine_of_test").VALUE == 7
    sys.modules.pop("mine_of_test")
    import_modules(["mine_of_test"])
    assert "mine_of_test" in sys.modules
    assert sys.path[-1] == "" and sys.path.count("") == 1


@pytest.mark.parametrize(
    ("module", "said"),
    [
        ("absent_of_test", "--import absent_of_test: expected a module, but there is no absent_of_test"),
        ("mine_of_test.deeper", "--import mine_of_test.deeper: expected a module, but there is no mine_of_test.deeper"),
        (".relative", "--import .relative: expected the name of a module"),
        ("", "--import : expected the name of a module"),
        ("a.", "--import a.: expected a module, but there is no a"),
    ],
)
def test_a_module_that_is_not_there_is_one_line(workplace: Path, module: str, said: str) -> None:
    with pytest.raises(UserError) as error:
        import_modules([module])
    assert str(error.value).startswith(said) and "\n" not in str(error.value)


def test_the_option_may_be_given_several_times() -> None:
    parser = argparse.ArgumentParser()
    add_import_option(parser)
    assert parser.parse_args(["--import", "a", "--import", "b.c"]).modules == ["a", "b.c"]
    assert parser.parse_args([]).modules == []


@pytest.mark.parametrize(
    ("main", "arguments"),
    [(atldas, ["show", "cheapmatting"]), (cheapmatting, ["info", "cheapmatting", "--size", "32"])],
    ids=["atldas", "cheapmatting"],
)
def test_both_commands_find_modules_by_the_same_rule(
    workplace: Path, capsys: pytest.CaptureFixture[str], main: Callable[[Sequence[str]], int], arguments: list[str]
) -> None:
    assert main([*arguments, "--import", "mine_of_test"]) == 0
    assert "mine_of_test" in sys.modules
    capsys.readouterr()
    assert main([*arguments, "--import", "absent_of_test"]) == 2
    line = "error: --import absent_of_test: expected a module, but there is no absent_of_test\n"
    assert capsys.readouterr().err == line
