"""Modules of the user's own, for operations and tasks that they add."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from .errors import UserError


def add_import_option(parser: argparse.ArgumentParser) -> None:
    """Give a command the option `--import MODULE`, kept as `modules`; it may be given several times."""
    parser.add_argument("--import", dest="modules", action="append", default=[], metavar="MODULE",
                        help="import a module of yours first, for operations that it adds")  # fmt: skip


def import_modules(names: Sequence[str]) -> None:
    """Import modules by their names, from the Python path or the working directory.

    Afterwards the working directory stays on the Python path: a task that a configuration names is found there too.

    Raises:
        UserError: there is no such module, or the name is no module's.
    """
    if "" not in sys.path:
        sys.path.append("")  # the working directory, whichever it is then
    for name in names:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            raise UserError(f"--import {name}: expected a module, but there is no {error.name}") from error
        except (TypeError, ValueError) as error:  # a relative or an empty name
            raise UserError(f"--import {name}: expected the name of a module, such as my_operations") from error
