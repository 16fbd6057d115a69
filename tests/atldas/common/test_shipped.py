"""Which file a name means: a file of that name, else what ships under it."""

from __future__ import annotations

from pathlib import Path

import pytest

from atldas.common.errors import UserError
from atldas.common.shipped import names_in, read_named


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two shipped files; the working directory is another one."""
    folder = tmp_path / "shipped"
    folder.mkdir()
    (folder / "b.yaml").write_text("x: shipped b\n")
    (folder / "a.yaml").write_text("x: shipped a\n")
    (folder / "a.txt").write_text("no name")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return folder


def test_names_are_those_of_yaml_files_in_order(shipped: Path) -> None:
    assert names_in(shipped) == ["a", "b"]


def test_a_shipped_name_is_found_and_a_folder_of_that_name_does_not_hide_it(shipped: Path) -> None:
    Path("a").mkdir()
    data, source = read_named("a", shipped, "a shipped thing")
    assert data == {"x": "shipped a"} and source.name == "a" and source.folder == shipped


def test_a_file_comes_first_and_paths_in_it_are_relative_to_it(shipped: Path) -> None:
    Path("a").write_text("x: mine\n")
    assert read_named("a", shipped, "a shipped thing")[0] == {"x": "mine"}
    Path("deep").mkdir()
    Path("deep/mine.yaml").write_text("x: deep\n")
    data, source = read_named("deep/mine.yaml", shipped, "a shipped thing")
    assert data == {"x": "deep"} and source.name == "deep/mine.yaml" and source.folder == Path("deep")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("c", "c: expected a file or a shipped thing, got neither"),
        ("a.txt", "a.txt: expected a file or a shipped thing, got neither"),
        ("c.yaml", "c.yaml: cannot be read (No such file or directory)"),
        ("folder", "folder: cannot be read (Is a directory)"),
    ],
)
def test_what_is_not_there_is_named(shipped: Path, name: str, said: str) -> None:
    Path("folder").mkdir()
    with pytest.raises(UserError) as error:
        read_named(name, shipped, "a shipped thing")
    assert str(error.value) == said
