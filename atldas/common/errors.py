"""The exception for faults that the user can correct, and the exit status of commands."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable


class UserError(Exception):
    """A fault that the user can correct. Its text is one line; commands print it and exit with status 2."""


def require_one_process(command: str) -> None:
    """Check that torchrun did not start this command in several processes, which would write the same files.

    Raises:
        UserError: it did.
    """
    if "TORCHELASTIC_RUN_ID" in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UserError(f"{command}: expected one process, got several; leave out torchrun, which is for training")


def exit_status(command: Callable[[], int | None]) -> int:
    """Run a command's body and return its exit status.

    A UserError becomes one line on stderr and status 2. Ctrl-C becomes 130, the shell's status for it. Any other
    exception is a defect of this program and keeps its traceback.
    """
    try:
        return command() or 0
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
