"""Settings of a command's process that must be made before PyTorch and OpenCV start."""

from __future__ import annotations

import ctypes
import gc
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4  # from glibc's malloc.h
SPINS = "20000"
KEPT = 2**31 - 1  # bytes; the largest value that mallopt's int takes


def prepare() -> None:
    """Call first in a command, before anything imports torch or cv2; existing environment variables are kept.

    - OpenMP's threads (GNU's, which PyTorch uses on Linux) spin briefly while they wait, then sleep. By default they
      spin for long. A spinning thread slows down other work on its core, such as a data worker or another program. A
      training step on two cores took 0.56 s by default, 0.53 s with this setting, and 1.0 s when threads slept at once;
      beside a busy program 4.6 s, 2.9 s and 2.6 s.
    - glibc keeps large freed blocks. By default it returns each activation to the system after use, which maps it and
      fills it with zeros again, page by page, in the next step.
    - Warnings are one line on stderr. OpenCV's own messages are off: a damaged image is reported by this program.
    """
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPINS)
    if sys.platform.startswith("linux") and "torch" not in sys.modules:
        try:
            mallopt = ctypes.CDLL(None).mallopt
        except AttributeError:
            return  # not glibc, but a C library with another allocator
        mallopt(M_MMAP_MAX, 0)  # not M_MMAP_THRESHOLD: before glibc 2.35 it refuses more than 32 MiB
        mallopt(M_TRIM_THRESHOLD, KEPT)
        mallopt(M_TOP_PAD, 64 * 2**20)


def release_memory() -> None:
    """Give freed memory back to the system, which `prepare` lets glibc keep.

    Large blocks do not fit into the gaps that smaller ones leave: called before the largest, it lowers the peak.
    """
    if sys.platform.startswith("linux"):
        with suppress(AttributeError):  # another C library
            ctypes.CDLL(None).malloc_trim(0)


@contextmanager
def without_collection() -> Iterator[None]:
    """For imports and the making of a network: what is made stays, and is never searched for garbage, then or later.

    Python would search PyTorch's several hundred thousand objects again and again: a sixth of a first matte's time.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_on:
            gc.enable()
