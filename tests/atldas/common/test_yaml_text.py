"""YAML 1.2 as plain data and back: what scalars are, and documents that are refused."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from atldas.common.errors import UserError
from atldas.common.yaml_text import parse_value, parse_yaml, shown, to_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001), ("1E5", 1e5), (".5", 0.5), ("010", 10), ("0o10", 8), ("0x10", 16),
        ("yes", "yes"), ("on", "on"),
        ("true", True), ("null", None), ("~", None), ("2024-01-02", "2024-01-02"), ("2024-13-45", "2024-13-45"),
        ("12:30:00", "12:30:00"), ("'1'", "1"), ("[1, {a: b}]", [1, {"a": "b"}]), ("{1: 2}", {"1": 2}), ("", None),
    ],
)  # fmt: skip
def test_scalars_are_those_of_yaml_1_2(text: str, value: object) -> None:
    found = parse_value(text)
    assert found == value and type(found) is type(value)


def aliases(levels: int) -> str:
    """Text of `levels` lists, each of ten aliases of the one before: 10 ** levels values when written out."""
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, levels)]
    return "\n".join(lines)


def test_a_document_that_its_aliases_make_huge_is_refused_before_it_is_built() -> None:
    assert len(parse_yaml(aliases(4), "small")["a3"]) == 10
    with pytest.raises(UserError, match=r"^bomb: expected at most 100000 values, got more .* at line 5$"):
        parse_yaml(aliases(40), "bomb")


texts = st.text(max_size=6) | st.text(alphabet="?:-,[]{}#&*!|>'\"%@` \n\tab01.=<~é\u2028", max_size=6)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts


@settings(deadline=None)
@given(st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(texts, inner), max_leaves=10))
@example({":x": "?0", "?": [":"]})
def test_what_is_written_is_read_back(value: object) -> None:
    for short_lists in (False, True):
        assert parse_value(to_yaml(value, short_lists=short_lists)) == value


def test_written_yaml_is_short_and_has_no_anchors() -> None:
    shared = [1, 2]
    assert to_yaml({"b": shared, "a": [shared, shared]}, short_lists=True) == "b: [1, 2]\na:\n- [1, 2]\n- [1, 2]\n"
    assert to_yaml({"x": 1e-5, "t": "1e-5", "d": "2024-01-01"}) == "x: 1e-05\nt: '1e-5'\nd: '2024-01-01'\n"


def test_shown_is_short_and_names_the_kind() -> None:
    assert shown(None) == "nothing"
    assert shown("3") == '"3" (text)'
    assert shown(True) == "true (a truth value)"
    assert len(shown(list(range(100)))) < 80
