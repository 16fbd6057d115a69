"""What the two commands have in common: verbs, `--import`, shell completion, and how a command is carried out."""

from __future__ import annotations

import argparse
import importlib
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn, TypeAlias

from .errors import exit_status, require_one_process
from .machine import prepare
from .modules import add_import_option, import_modules

UNDER_TORCHRUN = ("search", "train")
COMPLETION = "completion"
SHELLS = {
    "bash": "~/.local/share/bash-completion/completions/{prog}",
    "zsh": "~/.zfunc/_{prog}",  # a folder of $fpath
    "fish": "~/.config/fish/completions/{prog}.fish",
}
Verbs: TypeAlias = "argparse._SubParsersAction[Parser]"


class Parser(argparse.ArgumentParser):
    """A parser, and those of its verbs, whose errors are one line: without the usage, which hides them."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and where to read on; ends the program with status 2."""
        self.exit(2, f"{self.prog}: error: {' '.join(message.split())}; see {self.prog} --help\n")


def run_command(
    parser: Parser, version: str, add_verbs: Callable[[Verbs], None],
    modules: Mapping[str, tuple[str, str]], arguments: Sequence[str] | None,
) -> int:  # fmt: skip
    """Run a command that has verbs; returns its exit status.

    Args:
        parser: without arguments yet.
        version: what `--version` prints.
        add_verbs: adds verbs; each sets a default `handler`, which takes the options and returns the exit status.
        modules: further verbs, whose arguments, examples and work are `add_arguments`, `EXAMPLES` and `run` of a
            module: the module's full name and a line of help. Only the module of the verb that is called for is
            imported, since most of them import PyTorch, which takes a second.
        arguments: default: those of the program.
    """
    prepare()
    words = list(arguments) if arguments is not None else sys.argv[1:]
    parser.add_argument("--version", action="version", version=f"%(prog)s {version}")
    parser.epilog = f"{parser.prog} VERB --help: its options, and examples"
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    add_verbs(verbs)
    for name, (module, what) in modules.items():
        verb = add_verb(verbs, name, what)
        if words[:1] in ([name], [COMPLETION]):
            described = importlib.import_module(module)
            described.add_arguments(verb)
            verb.epilog = described.EXAMPLES
            verb.set_defaults(handler=described.run)
    _add_completion(verbs, parser)
    for verb in verbs.choices.values():
        add_import_option(verb)
    options, unknown = parser.parse_known_args(words)
    if unknown:  # by the verb's parser: its --help has the right ones
        verbs.choices[options.verb].error(f"unrecognized arguments: {shlex.join(unknown)}")
    options.command = shlex.join([parser.prog, *words])
    handler: Callable[[argparse.Namespace], int] = options.handler

    def work() -> int:
        if options.verb not in UNDER_TORCHRUN:
            require_one_process(f"{parser.prog} {options.verb}")
        import_modules(options.modules)
        return handler(options)

    return exit_status(work)


def add_verb(verbs: Verbs, name: str, what: str, examples: str = "") -> Parser:
    """A verb; its `--help` begins with `what`, a line without a full stop, and ends in the examples as they stand."""
    return verbs.add_parser(
        name, help=what, description=f"{what[0].upper()}{what[1:]}.", epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip


def _add_completion(verbs: Verbs, parser: Parser) -> None:
    """The verb that prints a shell's script; all verbs of `parser` must have their arguments when it is called."""
    lines = [
        f"  {parser.prog} {COMPLETION} {shell} > {place.format(prog=parser.prog)}" for shell, place in SHELLS.items()
    ]
    verb = add_verb(verbs, COMPLETION, "a script that completes words in a shell", "\n".join(["examples:", *lines]))
    verb.add_argument("shell", choices=tuple(SHELLS), help="whose script to print")
    verb.set_defaults(handler=lambda options: _print_completion(parser, verbs, options.shell))


def _print_completion(parser: Parser, verbs: Verbs, shell: str) -> int:
    import shtab

    for verb in verbs.choices.values():
        for action in verb._actions:
            if action.nargs != 0 and not action.choices:
                action.complete = shtab.FILE  # type: ignore[attr-defined]
    print(shtab.complete(parser, shell))
    return 0


def interrupted(command: str) -> int:
    """Say how an interrupted run goes on; returns the exit status, the shell's for Ctrl-C."""
    print(f"interrupted; go on with: {command.removesuffix(' --resume')} --resume", file=sys.stderr)
    return 130
