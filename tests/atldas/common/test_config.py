"""Strict configuration: what fits is read exactly, what does not is named by file, key path, found and allowed."""

from __future__ import annotations

import dataclasses
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any

import pytest
import yaml
from annotated_types import Ge
from hypothesis import given
from hypothesis import strategies as st

from atldas.common.config import assign, config, fill, load_object, parse_yaml, plain, read_config, shown
from atldas.common.errors import UserError


@config
class Inner:
    rate: Annotated[float, Ge(0)] = 0.5
    pair: tuple[float, float] = (1.0, 2.0)


@config
class Outer:
    steps: Annotated[int, Ge(1)]
    inner: Inner = field(default_factory=Inner)
    several: tuple[Inner, ...] = ()
    named: dict[str, Inner] = field(default_factory=dict)
    maybe: Inner | None = None
    flag: bool = False
    name: str = "x"


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "settings.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def fault(folder: Path, text: str | bytes, assignments: tuple[str, ...] = ()) -> str:
    """The one line that reading `text` as an `Outer` ends in."""
    path = written(folder, text)
    with pytest.raises(UserError) as error:
        read_config(Outer, path, assignments)
    message = str(error.value)
    assert "\n" not in message
    return message


def test_reads_nested_values_and_defaults(tmp_path: Path) -> None:
    text = "steps: 3\ninner: {rate: 2, pair: [3, 4.5]}\nseveral: [{rate: 0.25}]\nnamed: {a: {}}\n"
    found = read_config(Outer, written(tmp_path, text))
    assert found == Outer(
        steps=3, inner=Inner(rate=2.0, pair=(3.0, 4.5)), several=(Inner(rate=0.25),), named={"a": Inner()}
    )
    assert found.maybe is None and found.flag is False


def test_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Outer(steps=1).steps = 2  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("stepz: 3", ["stepz: found an unknown key", "did you mean steps?", "allowed are steps, inner, several"]),
        ("steps: 3\ninner: {rat: 1}", ["inner.rat: found an unknown key", "rate?", "allowed are rate, pair"]),
        ("steps: 3\nseveral: [{}, {rat: 1}]", ["several[1].rat", "allowed are rate, pair"]),
        ("steps: 3\nnamed: {b: {rat: 1}}", ["named.b.rat", "allowed are rate, pair"]),
        ("steps: 3\nmaybe: {rat: 1}", ["maybe.rat", "allowed are rate, pair"]),
        ("flag: true", ["steps: found nothing; this key is needed"]),
        ("steps: 0", ["steps: found 0 (an integer)", "allowed is greater than or equal to 1"]),
        ("steps: 2.5", ["steps: found 2.5 (a number)", "allowed is a valid integer"]),
        ("steps: true", ["steps: found true (a truth value)", "integer"]),
        ("steps: '3'", ['steps: found "3" (text)', "integer", "without quotes"]),
        ("steps: 3\ninner: {rate: 1e-3}", ['inner.rate: found "1e-3" (text)', "1.0e-3 rather than 1e-3"]),
        ("steps: 3\ninner: {rate: .nan}", ["inner.rate", "finite"]),
        ("steps: 3\ninner: {rate: .inf}", ["inner.rate", "finite"]),
        ("steps: 3\ninner: {pair: [1]}", ["inner.pair[1]: found nothing; this item is needed"]),
        ("steps: 3\ninner: {pair: [1, 2, 3]}", ["inner.pair: found [1, 2, 3] (a list)", "allowed is at most 2 items"]),
        ("steps: 3\ninner: {pair: 1}", ["inner.pair: found 1 (an integer)", "allowed is a list"]),
        ("steps: 3\ninner: [1]", ["inner: found [1] (a list)", "allowed is a mapping of keys to values"]),
        ("steps: 3\nflag: 1", ["flag: found 1 (an integer)", "boolean"]),
        ("steps: 3\nname: 1", ["name: found 1 (an integer)", "allowed is text"]),
        ("steps:", ["steps: found nothing", "integer"]),
        ("steps: 0\nflag: 1\nname: 1", ["steps: found 0", "(and 2 more)"]),
        ("steps: 3\nsteps: 4", ["steps: found twice (line 2), allowed once"]),
        ("steps: 3\ninner: {rate: 1, rate: 2}", ["inner.rate: found twice"]),
        ("steps: 3\nseveral: [{rate: 1, rate: 2}]", ["several[0].rate: found twice"]),
        ("", ["is empty"]),
        ("# only a comment\n", ["is empty"]),
        ("- 1\n- 2", ["top level: found [1, 2] (a list)", "a mapping of keys to values"]),
        ("just text", ["top level", "(text)", "a mapping"]),
        ("steps: [1, 2", ["is not valid YAML at line 1"]),
        ("steps: 3\n  flag: true", ["is not valid YAML at line 2"]),
        ("steps: !!python/object:os.system 3", ["is not valid YAML", "python/object"]),
        ("steps: 2024-13-45", ["is not valid YAML", "month must be in 1..12"]),
        ("steps: &a [*a]", ["is not valid YAML"]),
        (b"steps: \x00", ["is not valid YAML", "unacceptable character"]),
        (b"\x89PNG\r\n\x1a\n\xff\xfe\x00", ["is not a text file"]),
    ],
)
def test_a_fault_is_one_line_with_file_key_found_allowed(tmp_path: Path, text: str | bytes, parts: list[str]) -> None:
    message = fault(tmp_path, text)
    assert message.startswith(f"{tmp_path / 'settings.yaml'}: ")
    for part in parts:
        assert part in message


def test_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"absent\.yaml: cannot be read \(No such file"):
        read_config(Outer, tmp_path / "absent.yaml")
    with pytest.raises(UserError, match="Is a directory"):
        read_config(Outer, tmp_path)


def test_assignments_change_single_settings(tmp_path: Path) -> None:
    path = written(tmp_path, "steps: 3\ninner: {rate: 0.25}")
    found = read_config(Outer, path, ["inner.rate=2.0", "flag=true", "inner.pair=[5, 6]", "maybe.rate=1", "name=a=b"])
    assert found.inner == Inner(rate=2.0, pair=(5.0, 6.0))
    assert found.flag is True and found.maybe == Inner(rate=1.0) and found.name == "a=b"


@pytest.mark.parametrize(
    ("assignment", "parts"),
    [
        ("steps", ["--set steps", "allowed is key.path=value"]),
        ("=3", ["--set =3", "allowed is key.path=value"]),
        ("steps.deep=3", ["--set steps.deep=3", "steps is a single value"]),
        ("name=[1", ["--set name=[1", "not valid YAML"]),
        ("name=2024-13-45", ["--set name=2024-13-45", "not valid YAML"]),
        ("stepz=3", ["stepz: found an unknown key", "steps?"]),
        ("inner.rate=fast", ["inner.rate", '"fast" (text)']),
    ],
)
def test_a_faulty_assignment_is_named(tmp_path: Path, assignment: str, parts: list[str]) -> None:
    message = fault(tmp_path, "steps: 3", (assignment,))
    for part in parts:
        assert part in message


def test_assign_makes_the_mappings_on_its_way() -> None:
    mapping: dict[str, Any] = {}
    assign(mapping, "a.b.c=3")
    assert mapping == {"a": {"b": {"c": 3}}}


rates = st.floats(0, 1e30)
inners = st.builds(Inner, rate=rates, pair=st.tuples(rates, rates))
outers = st.builds(
    Outer,
    steps=st.integers(1, 10**9),
    inner=inners,
    several=st.lists(inners, max_size=3).map(tuple),
    named=st.dictionaries(st.text("abyn01.: '\"#-", max_size=5), inners, max_size=3),
    maybe=st.none() | inners,
    flag=st.booleans(),
    name=st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
)


@given(outers)
def test_plain_is_undone_by_fill_even_through_yaml(value: Outer) -> None:
    assert fill(Outer, plain(value), "memory") == value
    text = yaml.safe_dump(plain(value), sort_keys=False)
    assert fill(Outer, parse_yaml(text, "text"), "text") == value


def test_shown_is_short_and_names_the_kind() -> None:
    assert shown(None) == "nothing"
    assert shown("3") == '"3" (text)'
    assert shown(True) == "true (a truth value)"
    assert len(shown(list(range(100)))) < 80


@pytest.mark.parametrize("dotted", ["math", "math:", ":sqrt", "", ".math:sqrt", "no_such_module:x", "math:no_such"])
def test_load_object_names_what_is_missing(dotted: str) -> None:
    with pytest.raises(UserError) as error:
        load_object(dotted, "e.yaml", "task")
    assert str(error.value).startswith(f"e.yaml: task: found {shown(dotted)}")


def test_load_object_finds() -> None:
    assert load_object("math:sqrt", "e.yaml", "task")(9.0) == 3.0


@config
class Twins:
    first: Inner
    second: Inner


def test_an_assignment_changes_one_place_of_what_an_alias_shares(tmp_path: Path) -> None:
    path = tmp_path / "shared.yaml"
    path.write_text("first: &shared {rate: 1.0}\nsecond: *shared\n", encoding="utf-8")
    twins = read_config(Twins, path, ["first.rate=2"])
    assert (twins.first.rate, twins.second.rate) == (2.0, 1.0)
