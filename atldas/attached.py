"""The command `atldas` as a part of another process's work: it ends as soon as that process does.

    python -m atldas.attached search EXPERIMENT ...

Whoever starts it keeps its standard input open. When that is closed, because the other process was killed too, this
one ends at once: nobody waits for its result, and another attempt may be about to begin in the same folder.
"""

from __future__ import annotations

import os
import sys
import threading

from .command import main


def end_with_standard_input() -> None:
    """Wait for the end of standard input, then end this process at once; files are written whole or not at all."""
    while os.read(0, 1024):  # not by sys.stdin, whose lock a forked process would wait for
        pass
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=end_with_standard_input, daemon=True).start()
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # an ordinary end would wait for the thread
