"""Two settings of the process that must be made before PyTorch starts, worth a factor of ten on a busy machine."""

from __future__ import annotations

import ctypes
import os
import sys

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4  # from glibc's malloc.h
KEPT = 2**31 - 1  # bytes; the largest value that mallopt's int takes


def prepare() -> None:
    """Call first in a command, before anything imports torch; what the environment already says is left alone.

    - OpenMP's threads sleep while they wait. By default they spin, and a spinning thread on a core that somebody else
      needs (a data worker, another program) holds up both: a step was seen to grow from 0.1 to 1.5 seconds.
    - glibc keeps large freed blocks. By default it gives each activation back to the system after use, to be mapped
      and zeroed page by page again in the next step.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if sys.platform.startswith("linux") and "torch" not in sys.modules:
        try:
            mallopt = ctypes.CDLL(None).mallopt
        except AttributeError:
            return  # another C library than glibc, with an allocator of its own
        mallopt(M_MMAP_MAX, 0)  # not M_MMAP_THRESHOLD: before glibc 2.35 it refuses more than 32 MiB
        mallopt(M_TRIM_THRESHOLD, KEPT)
        mallopt(M_TOP_PAD, 64 * 2**20)
