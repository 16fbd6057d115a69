"""One thread that computes, and a bounded line of requests before it.

One thread, because a matte takes all cores anyway, and so only one image at a time is decoded, or a few small ones that
are computed together: the memory is that of one matte, and of the uploads that wait, however many clients there are.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from types import TracebackType
from typing import Any, NamedTuple, TypeVar

from .limits import ClientGoneError, RefusalError

Answer = tuple[bytes, str]  # a file, and its media type
T = TypeVar("T")
log = logging.getLogger(__name__)


class Kind(NamedTuple):
    """What is known of a work before its files are decoded.

    Attributes:
        name: equal for works that may be alike.
        most: how many of these may be prepared and computed together.
    """

    name: Hashable
    most: int


class Ready(NamedTuple):
    """A work whose files are decoded.

    Attributes:
        key: equal for those of a kind that `compute` takes together.
        inputs: what `compute` takes of it.
        compute: from the inputs of one or more to the result of each.
        finish: from its result to the answer.
    """

    key: Hashable
    inputs: Any
    compute: Callable[[list[Any]], list[Any]]
    finish: Callable[[Any], Answer]


class Work(NamedTuple):
    """What a request wants; both functions are called in the thread that computes.

    Attributes:
        kind: reads headers at most. Where it raises, the work is done alone, for `prepare` to say what is wrong.
        prepare: decodes.
    """

    kind: Callable[[], Kind]
    prepare: Callable[[], Ready]


ALONE = Kind(None, 1)


class _Job:
    """Work in the line, and its answer to come.

    It forgets both as soon as there is an answer: an error holds the stack that it came from, with the job in it, and
    would so hold itself, and the files.
    """

    def __init__(self, work: Work) -> None:
        self.work = work
        self.future: Future[Answer] = Future()

    @cached_property
    def kind(self) -> Kind:
        try:
            return self.work.kind()
        except Exception:
            return ALONE

    def did(self, step: Callable[..., T], *arguments: Any) -> list[T]:
        """What a step of this job gives, as a list of one; none if it raised, which is then the answer."""
        try:
            return [step(*arguments)]
        except BaseException as error:  # as executors do: whoever waits must hear of it
            self.future.set_exception(error)
            return []


class WorkQueue:
    """Places in the line, taken before a request's body is read.

    Args:
        length: places; a request holds one until it is answered and its work, if begun, has ended.
        timeout: seconds that a request may wait and compute.
        batch: works of a kind that are computed together at most.
    """

    def __init__(self, length: int, timeout: float, batch: int = 1) -> None:
        self.length, self.timeout, self.batch = length, timeout, batch
        self.taken = 0
        self._lock = threading.Lock()
        self._waiting: list[_Job] = []
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

    def submit(self, work: Work) -> Future[Answer]:
        job = _Job(work)
        future = job.future
        with self._lock:
            self._waiting.append(job)
        future.add_done_callback(lambda _: self._forget(job))
        self._executor.submit(self._turn)
        return future

    def close(self) -> None:
        """Wait for what runs and what waits."""
        self._executor.shutdown(wait=True)

    def _forget(self, job: _Job) -> None:
        with self._lock:
            if job in self._waiting:  # it was cancelled
                self._waiting.remove(job)
            del job.work, job.future

    def _turn(self) -> None:
        """Answer the first in the line and those alike. There is a turn for each, so that some find nobody."""
        alike: dict[Hashable, list[tuple[_Job, Ready]]] = {}
        for job in self._begun():
            for ready in job.did(job.work.prepare):
                alike.setdefault(ready.key, []).append((job, ready))
        for group in alike.values():
            _answer(group)

    def _begun(self) -> list[_Job]:
        """The first in the line and those of its kind, without the cancelled ones."""
        with self._lock:
            waiting = list(self._waiting)
        if not waiting:
            return []
        first, *others = waiting
        most, found = min(first.kind.most, self.batch), [first]
        for job in others:
            if len(found) < most and job.kind.name == first.kind.name:
                found.append(job)
        with self._lock:
            found = [job for job in found if job in self._waiting]
            self._waiting = [job for job in self._waiting if job not in found]
            return [job for job in found if job.future.set_running_or_notify_cancel()]


def _answer(group: list[tuple[_Job, Ready]]) -> None:
    """Compute together and answer each; if that fails, compute each alone: only the faulty one shall fail."""
    first, ready = group[0]
    inputs = [other.inputs for _, other in group]
    if len(group) == 1:
        results = first.did(ready.compute, inputs)
    else:
        try:
            results = [ready.compute(inputs)]
        except BaseException as error:
            log.warning("%d images at once failed (%s); each is computed alone", len(group), error)
            for one in group:
                _answer([one])
            return
    for each in results:
        for (job, other), result in zip(group, each, strict=True):
            for answer in job.did(other.finish, result):
                job.future.set_result(answer)


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

    async def computed(self, work: Work, gone: Awaitable[None]) -> Answer:
        """The answer to `work`, done when its turn comes.

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
