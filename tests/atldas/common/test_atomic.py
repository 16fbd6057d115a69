"""Files appear whole or not at all, and what was there before stays until then."""

from __future__ import annotations

from pathlib import Path

import pytest

from atldas.common.atomic import atomic_path, require_free, write_text
from atldas.common.errors import UserError


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_file_appears_at_the_end_and_under_its_name(tmp_path: Path) -> None:
    path = tmp_path / "new" / "deep" / "a.png"
    with atomic_path(path) as temporary:
        assert temporary.parent == path.parent and temporary.suffix == ".png" and temporary.name.startswith(".")
        temporary.write_bytes(b"half")
        assert not path.exists()
        temporary.write_bytes(b"whole")
    assert path.read_bytes() == b"whole" and names(path.parent) == {"a.png"}


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, UserError])
def test_a_failure_leaves_what_was_there(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "a.txt"
    path.write_text("before")
    with pytest.raises(error), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise error
    assert path.read_text() == "before" and names(tmp_path) == {"a.txt"}


def test_a_failure_of_the_system_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError) as full, atomic_path(tmp_path / "a.txt"):
        raise OSError(28, "No space left on device")
    assert str(full.value) == f"{tmp_path / 'a.txt'}: cannot be written (No space left on device)"
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"b\.txt: cannot be written \(File exists\)"):
        write_text(tmp_path / "file" / "b.txt", "x")
    assert names(tmp_path) == {"file"}


def test_a_folder_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match="folder: "):
        write_text(tmp_path / "folder", "x")
    assert names(tmp_path) == {"folder"} and not names(tmp_path / "folder")


def test_text_is_written_as_utf_8(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "α β\n")
    assert (tmp_path / "a.txt").read_bytes() == "α β\n".encode()


def test_a_file_that_exists_is_replaced_only_by_force(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    require_free(path, force=False)
    path.touch()
    require_free(path, force=True)
    with pytest.raises(UserError, match=r"a\.txt: exists; replace it with --force, or name another file with -o$"):
        require_free(path, force=False, option="-o")
    with pytest.raises(UserError, match=r"expected the name of a file, got a folder; name one with --out$"):
        require_free(tmp_path, force=True)
