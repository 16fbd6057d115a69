"""Independent pieces of work in several processes, one thread each: for what is too small to fill the cores."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

import torch

from .errors import UserError

Item = TypeVar("Item")
Result = TypeVar("Result")
_work: Callable[[Any], Any]


def in_processes(work: Callable[[Item], Result], items: Sequence[Item], jobs: int) -> Iterator[Result]:
    """The results of `work` in the order of `items`, `jobs` of them computed at a time.

    Processes are forked: `work` and all it refers to are there without being copied. So it must not use CUDA. One job
    is no process of its own, and has all threads.

    Raises:
        UserError: a process died, or this system cannot fork.
    """
    if jobs == 1:
        yield from map(work, items)
        return
    if "fork" not in multiprocessing.get_all_start_methods():
        raise UserError(f"jobs: expected 1 on a system that cannot fork processes, got {jobs}")
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(jobs, context, _begin, (work, os.getpid())) as pool:
        try:
            yield from pool.map(_call, items)
        except BrokenProcessPool as error:
            raise UserError("a process died; if memory was short, use fewer jobs. Go on with --resume") from error


def _begin(work: Callable[[Any], Any], parent: int) -> None:
    global _work
    _work = work
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process is told, and stops the others
    torch.set_num_threads(1)


def _end_with(parent: int) -> None:
    """A process whose parent was killed would wait for work for ever."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)


def _call(item: Any) -> Any:
    return _work(item)
