"""What the two commands have in common: verbs that are modules, `--import`, and how a command is carried out."""

from __future__ import annotations

import argparse
import importlib
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from .errors import exit_status, require_one_process
from .machine import prepare
from .modules import add_import_option, import_modules

UNDER_TORCHRUN = ("search", "train")
Verbs: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def run_command(
    parser: argparse.ArgumentParser, version: str, add_verbs: Callable[[Verbs], None],
    modules: Mapping[str, tuple[str, str]], arguments: Sequence[str] | None,
) -> int:  # fmt: skip
    """Run a command that has verbs; returns its exit status.

    Args:
        parser: without arguments yet.
        version: what `--version` prints.
        add_verbs: adds verbs; each sets a default `handler`, which takes the options and returns the exit status.
        modules: further verbs, whose arguments and work are `add_arguments` and `run` of a module: the module's full
            name and a line of help. Only the module of the verb that is called for is imported, since most of them
            import PyTorch, which takes a second.
        arguments: default: those of the program.
    """
    prepare()
    words = list(arguments) if arguments is not None else sys.argv[1:]
    parser.add_argument("--version", action="version", version=f"%(prog)s {version}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    add_verbs(verbs)
    for name, (module, what) in modules.items():
        verb = verbs.add_parser(name, help=what)
        if name in words[:1]:
            described = importlib.import_module(module)
            described.add_arguments(verb)
            verb.set_defaults(handler=described.run)
    for verb in verbs.choices.values():
        add_import_option(verb)
    options = parser.parse_args(words)
    options.command = shlex.join([parser.prog, *words])
    handler: Callable[[argparse.Namespace], int] = options.handler

    def work() -> int:
        if options.verb not in UNDER_TORCHRUN:
            require_one_process(f"{parser.prog} {options.verb}")
        import_modules(options.modules)
        return handler(options)

    return exit_status(work)


def interrupted(command: str) -> int:
    """Say how an interrupted run goes on; returns the exit status, the shell's for Ctrl-C."""
    print(f"interrupted; go on with: {command.removesuffix(' --resume')} --resume", file=sys.stderr)
    return 130
