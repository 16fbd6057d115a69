"""The line of requests: what is alike is computed together, and nothing is mixed up, lost or held."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cheapmatting.server.limits import RefusalError
from cheapmatting.server.work_queue import ALONE, Answer, Kind, Ready, Work, WorkQueue


class Cloth:
    """What a work holds, such as the bytes of a file; a plain object can have a weak reference."""


class Recorder:
    """Makes works, and keeps the numbers that were computed together. What a work fails at is a step's name."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []

    def work(self, number: int, size: str, most: int = 9, fails: str = "", turned: bool = False) -> Work:
        held = Cloth()
        self.last = weakref.ref(held)

        def at(step: str) -> None:
            assert held is not None
            if fails == step:
                raise ValueError(f"{step} {number}")

        def kind() -> Kind:
            at("kind")
            return Kind(size, most)

        def prepare() -> Ready:
            at("prepare")
            return Ready((size, turned), number, compute, finish)

        def compute(numbers: list[int]) -> list[int]:
            self.calls.append(numbers)
            if any(number in self.bad for number in numbers):
                raise ValueError(f"compute {numbers}")
            return [10 * number for number in numbers]

        def finish(result: int) -> Answer:
            at("finish")
            return str(result).encode(), size

        return Work(kind, prepare)

    bad: frozenset[int] = frozenset()


@contextmanager
def held_queue(batch: int) -> Iterator[tuple[WorkQueue, threading.Event]]:
    """A queue whose thread waits in a first work until the event is set; at the end all is done."""
    queue, release, began = WorkQueue(99, 9, batch), threading.Event(), threading.Event()

    def hold() -> Ready:
        began.set()
        assert release.wait(20)
        return Ready(None, None, lambda _: [(b"", "")], lambda answer: answer)

    first = queue.submit(Work(lambda: ALONE, hold))
    try:
        assert began.wait(20)
        yield queue, release
    finally:
        release.set()
        first.result(20)
        queue.close()


def outcome(future: Future[Answer]) -> str:
    error = future.exception(20)
    return str(error) if error else future.result()[0].decode()


def test_those_alike_are_computed_with_the_first_in_the_line() -> None:
    made = Recorder()
    with held_queue(batch=3) as (queue, release):
        sizes = "aabaabcca"
        futures = [
            queue.submit(made.work(number, size, most=1 if size == "c" else 9)) for number, size in enumerate(sizes)
        ]
        release.set()
        assert [outcome(future) for future in futures] == [str(10 * number) for number in range(9)]
    assert made.calls == [[0, 1, 3], [2, 5], [4, 8], [6], [7]]


def test_those_that_turn_out_unlike_are_computed_apart() -> None:
    made = Recorder()
    with held_queue(batch=9) as (queue, release):
        futures = [queue.submit(made.work(number, "a", turned=number == 1)) for number in range(3)]
        release.set()
        assert [outcome(future) for future in futures] == ["0", "10", "20"]
    assert made.calls == [[0, 2], [1]]


@pytest.mark.parametrize("step", ["kind", "prepare", "finish"])
def test_who_fails_at_a_step_of_its_own_fails_alone(step: str) -> None:
    made = Recorder()
    with held_queue(batch=9) as (queue, release):
        futures = [queue.submit(made.work(number, "a", fails=step if number == 1 else "")) for number in range(3)]
        release.set()
        expected = "10" if step == "kind" else f"{step} 1"  # `prepare` would say what is wrong
        assert [outcome(future) for future in futures] == ["0", expected, "20"]
    assert made.calls == {"kind": [[0, 2], [1]], "prepare": [[0, 2]], "finish": [[0, 1, 2]]}[step]


def test_who_fails_in_a_common_call_fails_alone(caplog: pytest.LogCaptureFixture) -> None:
    made = Recorder()
    made.bad = frozenset([1])
    with held_queue(batch=9) as (queue, release):
        futures = [queue.submit(made.work(number, "a")) for number in range(3)]
        release.set()
        assert [outcome(future) for future in futures] == ["0", "compute [1]", "20"]
    assert made.calls == [[0, 1, 2], [0], [1], [2]]
    assert "3 images at once failed (compute [0, 1, 2]); each is computed alone" in caplog.text


def test_the_cancelled_are_not_computed() -> None:
    made = Recorder()
    with held_queue(batch=9) as (queue, release):
        futures = [queue.submit(made.work(number, "a")) for number in range(4)]
        assert futures[0].cancel() and futures[2].cancel()
        release.set()
        assert [outcome(futures[number]) for number in (1, 3)] == ["10", "30"]
    assert made.calls == [[1, 3]]


@pytest.mark.parametrize("end", ["answer", "prepare", "finish", "compute", "cancel"])
def test_nothing_is_held_of_a_work_that_has_ended(end: str) -> None:
    made = Recorder()
    made.bad = frozenset([7] if end == "compute" else [])
    gc.collect()
    gc.disable()  # files must not wait for it
    try:
        with held_queue(batch=9) as (queue, release):
            future = queue.submit(made.work(7, "a", fails=end))
            held = made.last
            if end == "cancel":
                assert future.cancel()
                assert held() is None  # though its turn is still to come
            release.set()
            queue.submit(made.work(8, "b")).result(20)  # the thread is through with the first
            assert end == "cancel" or outcome(future) == {"answer": "70", "compute": "compute [7]"}.get(end, f"{end} 7")
            del future
            assert held() is None
    finally:
        gc.enable()


def test_closing_finishes_what_runs_and_what_waits() -> None:
    made = Recorder()
    with held_queue(batch=2) as (queue, release):
        futures = [queue.submit(made.work(number, "a")) for number in range(3)]
        closing = threading.Thread(target=queue.close)
        closing.start()
        assert not any(future.done() for future in futures)
        release.set()
        closing.join(20)
        assert not closing.is_alive()
        assert [outcome(future) for future in futures] == ["0", "10", "20"]


def test_places_are_limited() -> None:
    queue = WorkQueue(1, 9)
    with queue.place(), pytest.raises(RefusalError, match="the queue is full"):
        queue.place()
    assert queue.taken == 0


works = st.tuples(
    st.sampled_from("abc"),
    st.integers(1, 4),
    st.sampled_from(["", "", "", "prepare", "compute", "cancel"]),
    st.booleans(),
)


@settings(max_examples=60, deadline=None)
@given(wanted=st.lists(works, max_size=12), batch=st.integers(1, 5))
def test_every_work_gets_its_own_answer_and_each_is_computed_with_its_like(wanted: list[Any], batch: int) -> None:
    made = Recorder()
    made.bad = frozenset(number for number, (_, _, end, _) in enumerate(wanted) if end == "compute")
    with held_queue(batch) as (queue, release):
        futures = [
            queue.submit(made.work(number, f"{size}{most}", most, end, turned))
            for number, (size, most, end, turned) in enumerate(wanted)
        ]
        for future, (_, _, end, _) in zip(futures, wanted, strict=True):
            assert end != "cancel" or future.cancel()
        release.set()
        for number, (future, (_, _, end, _)) in enumerate(zip(futures, wanted, strict=True)):
            faults = {"prepare": f"prepare {number}", "compute": f"compute [{number}]"}
            assert end == "cancel" or outcome(future) == faults.get(end, str(10 * number))
    for numbers in made.calls:
        assert len({(wanted[number][:2], wanted[number][3]) for number in numbers}) == 1
        assert len(numbers) <= min(batch, wanted[numbers[0]][1])
        assert all(wanted[number][2] not in ("prepare", "cancel") for number in numbers)
