"""A network that a task's class builds without data, as a command line describes it: for `export` and `profile`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from .common.config import Source, assigned, load_object
from .common.errors import UserError

CLASSIFICATION = "atldas.classification:ImageFolderTask"


def add_settings_option(parser: argparse.ArgumentParser) -> None:
    """`--set`: of an experiment's file, or without one, what `task_class` reads."""
    parser.add_argument("--set", action="append", default=[], metavar="KEY.PATH=VALUE", help="change one setting of "
                        "EXPERIMENT; without one, network.KEY=VALUE or task=PACKAGE.MODULE:CLASS")  # fmt: skip


def task_class(
    assignments: Sequence[str], task: str = CLASSIFICATION, section: Mapping[str, Any] | None = None
) -> tuple[Any, dict[str, Any]]:
    """The class whose `network_of` builds networks, and the `network:` section that it reads.

    Args:
        assignments: `task=PACKAGE.MODULE:CLASS` or `network.KEY=VALUE`.
        task, section: what they change.

    Raises:
        UserError: another assignment, or a class that needs data.
    """
    given: dict[str, Any] = {"task": task, "network": dict(section or {})}
    settings, source = assigned(given, Source("the command line"), assignments)
    if unknown := [key for key in settings if key not in ("task", "network")]:
        raise UserError(f"--set {unknown[0]}: without an experiment's file, expected task= or network.KEY=")
    found: Any = load_object(settings["task"], source, "task")
    if not hasattr(found, "network_of"):
        raise UserError(f"{settings['task']}: builds no network without data; name an experiment's file as well")
    return found, settings["network"]


def parse_shape(text: str, what: str, example: str) -> tuple[int, ...]:
    """The sizes of `--input`: as many numbers as `example` has.

    Raises:
        UserError: anything else; it says `what` is expected.
    """
    parts = text.split(",")
    if len(parts) != len(example.split(",")) or not all(part.strip().isdecimal() and int(part) > 0 for part in parts):
        raise UserError(f"--input: expected {what} such as {example}, got {text!r}")
    return tuple(int(part) for part in parts)
