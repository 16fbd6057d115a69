"""Successive halving and its archive: order, ties, what is not a number, nothing measured twice."""

from __future__ import annotations

import csv
import math
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy import space

from atldas.common.errors import UserError
from atldas.genotype import Genotype
from atldas.halving import Archive, Candidate, Rung, badness, halving, one_line, without_twins, write_candidates

CHILDREN = list(space().enumerate())  # 24


@dataclass
class Table:
    """An oracle that looks figures up and counts."""

    name: str
    figures: dict[Genotype, float]
    calls: Counter[Genotype] = field(default_factory=Counter)

    def measure(self, child: Genotype) -> float:
        self.calls[child] += 1
        return self.figures[child]


def table(name: str, figures: list[float]) -> Table:
    return Table(name, dict(zip(CHILDREN, figures, strict=False)))


def candidates(count: int) -> list[Candidate]:
    return [Candidate(child, f"number {k}") for k, child in enumerate(CHILDREN[:count])]


def numbers(found: list[Candidate]) -> list[int]:
    return [CHILDREN.index(candidate.child) for candidate in found]


def test_the_best_go_on_and_the_last_rung_decides() -> None:
    cheap, dear = table("cheap", [1, 5, 4, 3, 2]), table("dear", [9, 1, 2, 3, 8])
    found = halving(candidates(5), [Rung(cheap, 3), Rung(dear, 1)], True, Archive())
    # Of 1, 2, 3 the dear oracle prefers 3; those that were dropped follow in the cheap one's order.
    assert numbers(found) == [3, 2, 1, 4, 0]
    assert set(dear.calls) == {CHILDREN[k] for k in (1, 2, 3)}
    assert found[0].figures == {"cheap": 3, "dear": 3} and found[-1].figures == {"cheap": 1}


def test_smaller_can_be_better_and_ties_keep_their_place() -> None:
    oracle = table("o", [2, 1, 2, 1, 3])
    assert numbers(halving(candidates(5), [Rung(oracle, 1)], False, Archive())) == [1, 3, 0, 2, 4]
    assert numbers(halving(candidates(5), [Rung(oracle, 1)], True, Archive())) == [4, 0, 2, 1, 3]


@pytest.mark.parametrize("larger", [True, False])
def test_what_is_not_a_number_comes_last_and_does_not_go_on(larger: bool) -> None:
    cheap, dear = table("cheap", [math.nan, 1, math.nan, 1]), table("dear", [1, math.nan, 1, 0])
    found = halving(candidates(4), [Rung(cheap, 2), Rung(dear, 1)], larger, Archive())
    assert numbers(found) == [3, 1, 0, 2]


@given(st.lists(st.floats(allow_infinity=True), min_size=1, max_size=24), st.integers(1, 24), st.booleans())
def test_halving_loses_nobody_and_sorts(figures: list[float], keep: int, larger: bool) -> None:
    first, last = table("first", figures), table("last", figures[::-1])
    found = halving(candidates(len(figures)), [Rung(first, keep), Rung(last, 1)], larger, Archive())
    assert sorted(numbers(found)) == list(range(len(figures)))
    kept = min(keep, len(figures))
    assert sum(last.calls.values()) == kept and set(first.calls.values()) == {1}
    keys = [badness(c.figures["last"], larger) for c in found[:kept] if not math.isnan(c.figures["last"])]
    assert keys == sorted(keys)
    worst = max((badness(c.figures["first"], larger)[0] for c in found[:kept]), default=False)
    assert not worst or all(math.isnan(c.figures["first"]) for c in found[kept:])


def test_an_archive_resumes_without_measuring_twice(tmp_path: Path) -> None:
    path = tmp_path / "measured.json"
    oracle = table("o", [0.1, math.nan, 0.3, 1 / 3])
    original = oracle.measure

    def interrupted(child: Genotype) -> float:
        if child == CHILDREN[3]:
            raise KeyboardInterrupt
        return original(child)

    oracle.measure = interrupted  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        halving(candidates(4), [Rung(oracle, 1)], True, Archive(path))
    oracle.measure = original  # type: ignore[method-assign]
    found = halving(candidates(4), [Rung(oracle, 1)], True, Archive(path))
    assert numbers(found) == [3, 2, 0, 1] and set(oracle.calls.values()) == {1}
    assert found[0].figures["o"] == 1 / 3
    halving(candidates(4), [Rung(table("other", [1, 2, 3, 4]), 1)], True, Archive(path))  # another oracle's are others
    again = halving(candidates(4), [Rung(oracle, 1)], True, Archive(path))
    assert numbers(again) == [3, 2, 0, 1] and set(oracle.calls.values()) == {1}


def test_a_damaged_archive_is_named(tmp_path: Path) -> None:
    (tmp_path / "measured.json").write_text("{")
    with pytest.raises(UserError, match=r"measured\.json: expected figures of a search, got a damaged file; remove it"):
        Archive(tmp_path / "measured.json")


def test_twins_are_one_candidate_the_first() -> None:
    proposed = [*candidates(4), Candidate(CHILDREN[0], "again")]
    assert [c.origin for c in without_twins(proposed)] == ["number 0", "number 1", "number 2", "number 3"]
    parity = without_twins(proposed, lambda child: CHILDREN.index(child) % 2)
    assert [c.origin for c in parity] == ["number 0", "number 1"]


def test_one_line_tells_all_children_apart() -> None:
    assert len({one_line(child) for child in CHILDREN}) == 24
    child = Genotype("g", dict(CHILDREN[0].cells), choices={"width": 24, "hints": True})
    assert one_line(child) == "normal 2=skip_connect(0) 3=skip_connect(0); width=24; hints=True"


def test_the_table(tmp_path: Path) -> None:
    found = [
        Candidate(CHILDREN[0], "probable", {"inherited": 0.25, "short_training_9": 0.75}),
        Candidate(CHILDREN[1], "sampled", {"inherited": 0.125}),
    ]
    write_candidates(tmp_path / "candidates.csv", found, "accuracy")
    with (tmp_path / "candidates.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0]["accuracy_short_training_9"] == "0.75"
    assert rows[1] == {
        "rank": "2", "origin": "sampled", "accuracy_inherited": "0.125", "accuracy_short_training_9": "",
        "child": one_line(CHILDREN[1]),
    }  # fmt: skip
