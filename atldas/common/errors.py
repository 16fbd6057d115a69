"""The one exception meant for people: a clear line that says what is wrong and how to mend it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable


class UserError(Exception):
    """Something the user can mend. Commands print its text as one line and exit with status 2."""


def require_one_process(command: str) -> None:
    """For commands that torchrun would run several times over, each in the others' way.

    Raises:
        UserError: torchrun started this process, and others.
    """
    if "TORCHELASTIC_RUN_ID" in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UserError(f"{command}: is the work of one process; leave out torchrun, which is for `cheapmatting train`")


def exit_status(command: Callable[[], int | None]) -> int:
    """Run a command's body; turn what a person can mend into one line on stderr and status 2.

    Any other exception is our own defect and keeps its traceback. An interrupted command returns 130,
    the shell's status for Ctrl-C.
    """
    try:
        return command() or 0
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
