"""Strict configuration: what fits is read exactly, what does not is named by file, key path, expected and found."""

from __future__ import annotations

import dataclasses
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from annotated_types import Ge
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Discriminator

from atldas.common.config import (
    FilePath,
    RelativeToFile,
    Source,
    assign,
    config,
    from_dict,
    load_object,
    read_config,
    read_settings,
    to_dict,
)
from atldas.common.errors import UserError
from atldas.common.yaml_text import parse_yaml, shown, to_yaml


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
        ("stepz: 3", ["stepz: unknown key (did you mean steps?); expected one of steps, inner, several"]),
        ("steps: 3\ninner: {rat: 1}", ["inner.rat: unknown key (did you mean rate?); expected one of rate, pair"]),
        ("steps: 3\nseveral: [{}, {rat: 1}]", ["several[1].rat: unknown key", "expected one of rate, pair"]),
        ("steps: 3\nnamed: {b: {rat: 1}}", ["named.b.rat: unknown key", "expected one of rate, pair"]),
        ("steps: 3\nmaybe: {rat: 1}", ["maybe.rat: unknown key", "expected one of rate, pair"]),
        ("flag: true", ["steps: expected a value, got nothing"]),
        ("steps: 0", ["steps: expected 1 or more, got 0 (an integer)"]),
        ("steps: 2.5", ["steps: expected an integer, got 2.5 (a number)"]),
        ("steps: true", ["steps: expected an integer, got true (a truth value)"]),
        ("steps: '3'", ['steps: expected an integer, got "3" (text); write numbers without quotes']),
        ("steps: 1e3", ["steps: expected an integer, got 1000.0 (a number)"]),
        ("steps: 3\ninner: {rate: .nan}", ["inner.rate: expected a finite number"]),
        ("steps: 3\ninner: {rate: .inf}", ["inner.rate: expected a finite number"]),
        ("steps: 3\ninner: {pair: [1]}", ["inner.pair[1]: expected an item, got nothing"]),
        (
            "steps: 3\ninner: {pair: [1, 2, 3]}",
            ["inner.pair: expected 2 or fewer items, got [1, 2, 3]"],
        ),
        ("steps: 3\ninner: {pair: 1}", ["inner.pair: expected a list, got 1 (an integer)"]),
        ("steps: 3\ninner: [1]", ["inner: expected a mapping of keys to values, got [1] (a list)"]),
        ("steps: 3\nflag: 1", ["flag: expected true or false, got 1 (an integer)"]),
        ("steps: 3\nflag: yes", ['flag: expected true or false, got "yes" (text)']),
        ("steps: 3\nname: 1", ["name: expected text, got 1 (an integer)"]),
        ("steps:", ["steps: expected an integer, got nothing"]),
        ("steps: 0\nflag: 1\nname: 1", ["steps: expected 1 or more", "(and 2 more)"]),
        ("steps: 3\nsteps: 4", ["steps: expected each key once, got it a second time at line 2"]),
        ("steps: 3\ninner: {rate: 1, rate: 2}", ["inner.rate: expected each key once"]),
        ("steps: 3\nseveral: [{rate: 1, rate: 2}]", ["several[0].rate: expected each key once"]),
        ("", ["expected a mapping of keys to values, got an empty file"]),
        ("# only a comment\n", ["got an empty file"]),
        ("- 1\n- 2", ["top level: expected a mapping of keys to values, got [1, 2] (a list)"]),
        ("just text", ["top level: expected a mapping of keys to values", "(text)"]),
        ("steps: [1, 2", ["expected valid YAML, got a fault at line 1"]),
        ("steps: 3\n  flag: true", ["expected valid YAML, got a fault at line 2"]),
        ("steps: !!python/object:os.system 3", ["steps: expected plain data, got the tag", "python/object"]),
        ("steps: !!int x", ['steps: expected int, got "x" (text) at line 1']),
        ("steps: &a [*a]", ["expected valid YAML, got an anchor that contains itself"]),
        ("x: &x {steps: 3}\n<<: *x", ["expected text as a key, got a merge key (<<) at line 2"]),
        ("? [1, 2]\n: 3", ["expected text as a key, got a list or a mapping at line 1"]),
        ("[" * 5000, ["nested too deeply"]),
        (b"steps: \x00", ["expected valid YAML", "unacceptable character"]),
        (b"\x89PNG\r\n\x1a\n\xff\xfe\x00", ["expected a YAML file, got a file that is not UTF-8 text"]),
    ],
)
def test_a_fault_is_one_line_with_file_key_expected_and_found(
    tmp_path: Path, text: str | bytes, parts: list[str]
) -> None:
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


def test_an_assignment_reaches_into_a_list(tmp_path: Path) -> None:
    path = written(tmp_path, "steps: 3\nseveral: [{rate: 0.25}, {rate: 0.5}]")
    found = read_config(Outer, path, ["several[1].rate=2", "several[0].pair=[1, 2]", "several[0].pair[1]=9"])
    assert found.several == (Inner(rate=0.25, pair=(1.0, 9.0)), Inner(rate=2.0))
    assert read_config(Outer, path, ["several[0]={rate: 7}"]).several[0] == Inner(rate=7.0)


@pytest.mark.parametrize(
    ("assignment", "parts"),
    [
        ("steps", ["--set steps: expected key.path=value"]),
        ("=3", ["--set =3: expected key.path=value"]),
        ("a..b=3", ["--set a..b=3: expected key.path=value"]),
        ("several[x]=3", ["--set several[x]=3: expected key.path=value"]),
        ("steps.deep=3", ["--set steps.deep=3: steps: expected a mapping of keys to values, got 3"]),
        ("steps[0]=3", ["--set steps[0]=3: steps: expected a list, got 3"]),
        ("inner[0]=3", ["--set inner[0]=3: inner: expected a list, got {} (a mapping)"]),
        ("name=[1", ["--set name=[1: the value: expected valid YAML"]),
        ("stepz=3", ["stepz: unknown key (did you mean steps?)"]),
        ("inner.rate=fast", ["inner.rate: expected a number", '"fast" (text)']),
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


@settings(deadline=None)
@given(outers)
def test_to_dict_is_undone_by_from_dict_even_through_yaml(value: Outer) -> None:
    assert from_dict(Outer, to_dict(value), "memory") == value
    text = to_yaml(to_dict(value))
    assert from_dict(Outer, parse_yaml(text, "text"), "text") == value


@pytest.mark.parametrize("dotted", ["math", "math:", ":sqrt", "", ".math:sqrt", "no_such_module:x", "math:no_such"])
def test_load_object_names_what_is_missing(dotted: str) -> None:
    with pytest.raises(UserError) as error:
        load_object(dotted, "e.yaml", "task")
    assert str(error.value).startswith(f"e.yaml: task: expected package.module:Name, got {shown(dotted)}")


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


def test_numbers_with_an_exponent_are_numbers_in_a_file(tmp_path: Path) -> None:
    assert read_config(Outer, written(tmp_path, "steps: 3\ninner: {rate: 1e-3}")).inner.rate == 0.001


@config
class Folder:
    """A kind of source that reads files."""

    kind: Literal["folder"] = "folder"
    folder: FilePath
    weight: Annotated[float, Ge(0)] = 1.0


@config
class Drawn:
    """A kind of source that draws."""

    kind: Literal["drawn"] = "drawn"
    shapes: tuple[str, ...] = ()


AnySource = Annotated[Folder | Drawn, Discriminator("kind")]


@config
class Mixed:
    """A configuration whose parts are told apart by `kind`."""

    sources: tuple[AnySource, ...] = ()
    single: AnySource | None = None
    named: dict[str, AnySource] = field(default_factory=dict)
    list: FilePath | None = None
    space: Annotated[str, RelativeToFile(lambda: ["darts"])] = "darts"


def test_kind_chooses_the_class(tmp_path: Path) -> None:
    path = written(tmp_path, "sources: [{kind: drawn, shapes: [disc]}, {kind: folder, folder: /photos, weight: 2}]")
    found = read_config(Mixed, path, ["sources[1].weight=3", "single={kind: drawn}"])
    assert found.sources == (Drawn(shapes=("disc",)), Folder(folder="/photos", weight=3.0))
    assert found.single == Drawn()
    assert from_dict(Mixed, to_dict(found), "again") == found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "sources: [{kind: drawn}, {kind: drawn, folder: x}]",
            "sources[1].folder: unknown key; expected one of kind, shapes",
        ),
        (
            "sources: [{kind: foldr}]",
            'sources[0].kind: expected one of folder, drawn, got "foldr" (text) (did you mean',
        ),
        ("sources: [{weight: 1}]", "sources[0].kind: expected one of folder, drawn, got nothing"),
        ("sources: [{kind: folder}]", "sources[0].folder: expected a value, got nothing"),
        ("sources: [{kind: folder, folder: x, weight: -1}]", "sources[0].weight: expected 0 or more, got -1"),
        ("sources: [3]", "sources[0]: expected a mapping of keys to values, got 3"),
        ("single: {kind: drawn, shapes: [1]}", "single.shapes[0]: expected text, got 1"),
        ("named: {a: {kind: drawn, x: 1}}", "named.a.x: unknown key; expected one of kind, shapes"),
    ],
)
def test_each_kind_refuses_what_it_does_not_have(tmp_path: Path, text: str, said: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(UserError) as error:
        read_config(Mixed, path)
    assert str(error.value).startswith(f"{path}: {said}")


def test_a_path_is_relative_to_its_file_and_by_set_to_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "settings").mkdir()
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    sources = ", ".join(f"{{kind: folder, folder: {folder}}}" for folder in ("a", "a", "/b"))
    text = f"list: ../names.txt\nsources: [{sources}]"
    path = written(tmp_path / "settings", text)
    assignments = ["sources[1].folder=a", "named={x: {kind: folder, folder: c}}", "space=mine.yaml"]
    for spelt in (path, Path("../settings/settings.yaml")):
        found = read_config(Mixed, spelt, assignments)
        assert found.list == str(tmp_path / "names.txt")
        assert [source.folder for source in found.sources if isinstance(source, Folder)] == [
            str(tmp_path / "settings" / "a"), str(tmp_path / "work" / "a"), "/b",
        ]  # fmt: skip
        assert found.named["x"] == Folder(folder=str(tmp_path / "work" / "c"))
        assert found.space == str(tmp_path / "work" / "mine.yaml")
        assert from_dict(Mixed, to_dict(found), "again") == found


def test_a_shipped_name_is_no_path_unless_there_is_such_a_file(tmp_path: Path) -> None:
    path = written(tmp_path, "space: darts")
    assert read_config(Mixed, path).space == "darts"
    (tmp_path / "darts").write_text("")
    assert read_config(Mixed, path).space == str(tmp_path / "darts")


def test_options_that_are_checked_later_keep_the_rule(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "deep").mkdir()
    path = written(tmp_path / "deep", "a: {b: {list: x, space: y}}")
    mapping, source = read_settings(path, ["a.b.list=z"])
    found = from_dict(Mixed, mapping["a"]["b"], source.under("a"), at="b")
    assert (found.list, found.space) == (str(tmp_path / "z"), str(tmp_path / "deep" / "y"))
    assert str(source.under("a").under("b")) == f"{path}: a.b"
    assert from_dict(Mixed, {"list": "x"}, Source("memory")).list == str(tmp_path / "x")
