"""The exception for faults that the user can correct, and the exit status of commands."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Callable

STANDARD_OUTPUT = 1


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

    A UserError becomes one line on stderr and status 2. Ctrl-C becomes 130, and a reader of the output that has
    left, as `head` does, 141: the shell's status for them. Any other exception is a defect of this program and keeps
    its traceback.
    """
    try:
        status = command() or 0
        sys.stdout.flush()
        return status
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        if _output_is_read():
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), STANDARD_OUTPUT)  # else Python fails once more at its end
        return 141


def _output_is_read() -> bool:
    """Whether anybody still reads standard output; unbuffered, what could not be written is not there to try again."""
    if not hasattr(select, "poll"):  # Windows
        return False
    output = select.poll()
    output.register(STANDARD_OUTPUT, 0)  # an end that has gone is told without being asked for
    return not output.poll(0)
