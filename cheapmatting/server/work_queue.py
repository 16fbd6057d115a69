"""One thread that computes, and a bounded line of requests before it.

One thread, because a matte takes all cores anyway, and so only one image at a time is decoded: the memory is that of
one matte, and of the uploads that wait, however many clients there are.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any

from .limits import ClientGoneError, RefusalError

Answer = tuple[bytes, str]  # a file, and its media type


class _Job:
    """Work that forgets what it holds as soon as it is done or cancelled: a cancelled job stays in the executor."""

    def __init__(self, work: Callable[[], Answer]) -> None:
        self._work: Callable[[], Answer] | None = work

    def __call__(self) -> Answer:
        assert self._work is not None
        return self._work()

    def forget(self, _: Future[Any]) -> None:
        self._work = None


class WorkQueue:
    """Places in the line, taken before a request's body is read.

    Args:
        length: places; a request holds one until it is answered and its work, if begun, has ended.
        timeout: seconds that a request may wait and compute.
    """

    def __init__(self, length: int, timeout: float) -> None:
        self.length, self.timeout = length, timeout
        self.taken = 0
        self._lock = threading.Lock()
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="matting")

    def place(self) -> Place:
        """A place in the line; it is given back at the end of a `with` block, or of the work begun in it.

        Raises:
            RefusalError: 503, all are taken.
        """
        with self._lock:
            if self.taken >= self.length:
                raise RefusalError(503, f"the queue is full ({self.length} requests); try again later")
            self.taken += 1
        return Place(self)

    def leave(self) -> None:
        with self._lock:
            self.taken -= 1

    def submit(self, work: Callable[[], Answer]) -> Future[Answer]:
        job = _Job(work)
        future = self._executor.submit(job)
        future.add_done_callback(job.forget)
        return future

    def close(self) -> None:
        """Wait for what runs and what waits."""
        self._executor.shutdown(wait=True)


class Place:
    """A request's place in the line."""

    def __init__(self, queue: WorkQueue) -> None:
        self._queue = queue
        self._future: Future[Answer] | None = None

    def __enter__(self) -> Place:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        if self._future is None:
            self._queue.leave()
        else:
            self._future.cancel()  # if it has not begun
            self._future.add_done_callback(lambda _: self._queue.leave())

    async def computed(self, work: Callable[[], Answer], gone: Awaitable[None]) -> Answer:
        """What `work` returns, run when its turn comes.

        Args:
            gone: done when the client has closed the connection; work that has not begun is then dropped.

        Raises:
            RefusalError: 503, the time is over.
            ClientGoneError: the client has closed the connection.
            Exception: what `work` raises.
        """
        self._future = self._queue.submit(work)
        answer, left = asyncio.wrap_future(self._future), asyncio.ensure_future(gone)
        either: set[asyncio.Future[Any]] = {answer, left}
        try:
            await asyncio.wait(either, timeout=self._queue.timeout, return_when=asyncio.FIRST_COMPLETED)
            if answer.done():
                return answer.result()
            if left.done():
                raise ClientGoneError
            raise RefusalError(503, f"not ready within {self._queue.timeout:g} s; try again later")
        finally:
            left.cancel()
            answer.cancel()
