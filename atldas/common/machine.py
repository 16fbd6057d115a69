"""Two settings of the process that must be made before PyTorch starts, worth a factor of two."""

from __future__ import annotations

import ctypes
import os
import sys

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4  # from glibc's malloc.h
SPINS = "20000"
KEPT = 2**31 - 1  # bytes; the largest value that mallopt's int takes


def prepare() -> None:
    """Call first in a command, before anything imports torch; what the environment already says is left alone.

    - OpenMP's threads (GNU's, PyTorch's on Linux) spin briefly while they wait, then sleep. By default they spin for
      long, and a spinning thread on a core that somebody else needs (a data worker, another program) holds up both. A
      training step on two cores took 0.56 s by default, 0.53 s so, and 1.0 s if they slept at once; beside a busy
      program 4.6 s, 2.9 s and 2.6 s.
    - glibc keeps large freed blocks. By default it gives each activation back to the system after use, to be mapped
      and zeroed page by page again in the next step.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPINS)
    if sys.platform.startswith("linux") and "torch" not in sys.modules:
        try:
            mallopt = ctypes.CDLL(None).mallopt
        except AttributeError:
            return  # another C library than glibc, with an allocator of its own
        mallopt(M_MMAP_MAX, 0)  # not M_MMAP_THRESHOLD: before glibc 2.35 it refuses more than 32 MiB
        mallopt(M_TRIM_THRESHOLD, KEPT)
        mallopt(M_TOP_PAD, 64 * 2**20)
