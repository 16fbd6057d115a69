"""A command of two verbs, one of them a module."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from atldas.common.errors import UserError
from atldas.common.verbs import Parser, Verbs, interrupted, run_command

MODULE = """
EXAMPLES = "examples:\\n  toy count 41"

def add_arguments(parser):
    parser.add_argument("number", type=int)

def run(options):
    print(options.number + 1)
    return 3
"""


@pytest.fixture
def called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[argparse.Namespace]]:
    (tmp_path / "verb_of_test.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield []
    sys.modules.pop("verb_of_test", None)


def run(called: list[argparse.Namespace], *words: str) -> int:
    def say(options: argparse.Namespace) -> int:
        called.append(options)
        if options.fail:
            raise UserError("expected no failure, got one")
        return 0

    def add(verbs: Verbs) -> None:
        for name in ("say", "train"):
            verb = verbs.add_parser(name)
            verb.add_argument("--fail", action="store_true")
            verb.set_defaults(handler=say)

    parser = Parser(prog="toy")
    return run_command(parser, "1.2", add, {"count": ("verb_of_test", "counts")}, words)


def test_a_verb_of_a_module_is_imported_only_when_called_for(
    called: list[argparse.Namespace], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(called, "say") == 0
    assert "verb_of_test" not in sys.modules
    assert run(called, "count", "41") == 3
    assert capsys.readouterr().out == "42\n"


def test_every_verb_imports_modules_and_knows_its_command(called: list[argparse.Namespace]) -> None:
    assert run(called, "say", "--import", "verb_of_test", "--import", "json") == 0
    assert "verb_of_test" in sys.modules
    assert called[0].command == "toy say --import verb_of_test --import json"


def test_a_users_fault_is_one_line_and_status_2(
    called: list[argparse.Namespace], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(called, "say", "--fail") == 2
    assert capsys.readouterr().err == "error: expected no failure, got one\n"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ([], "toy: error: the following arguments are required: VERB; see toy --help"),
        (["sya"], "toy: error: argument VERB: invalid choice: 'sya' (choose from "),
        (["count", "some"], "toy count: error: argument number: invalid int value: 'some'; see toy count --help"),
        (["count"], "toy count: error: the following arguments are required: number; see toy count --help"),
        (["say", "--fial"], "toy say: error: unrecognized arguments: --fial; see toy say --help"),
        (["say", "two\nlines"], "toy say: error: unrecognized arguments: 'two lines'; see toy say --help"),
        (["--fial", "say"], "toy say: error: unrecognized arguments: --fial; see toy say --help"),
    ],
)
def test_wrong_words_are_one_line_and_status_2(
    called: list[argparse.Namespace], capsys: pytest.CaptureFixture[str], words: list[str], line: str
) -> None:
    with pytest.raises(SystemExit, match=r"^2$"):
        run(called, *words)
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.startswith(line) and printed.err.count("\n") == 1
    assert printed.err.endswith("--help\n") and not called


def test_only_training_runs_in_several_processes(
    called: list[argparse.Namespace], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert run(called, "train") == 0 and len(called) == 1
    assert run(called, "say") == 2 and len(called) == 1
    assert "toy say: expected one process, got several" in capsys.readouterr().err


def test_how_an_interrupted_run_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert interrupted("toy train a") == interrupted("toy train a --resume") == 130
    assert capsys.readouterr().err.splitlines() == ["interrupted; go on with: toy train a --resume"] * 2
