"""Lists of file names that choose and leave out."""

import pytest
from pairs import write_cutout, write_folders

from atldas.common.errors import UserError
from cheapmatting.data.cutouts import cutout_folder


@pytest.fixture
def folders(tmp_path):
    return write_folders(tmp_path)


def test_names_choose_and_leave_out(folders, tmp_path, caplog):
    foregrounds, _ = folders
    write_cutout(foregrounds / "dog [1].png", 9)
    names = tmp_path / "names.txt"

    def left(text: str, key: str = "include") -> list[str]:
        names.write_text(text)
        return [path.name for path in cutout_folder(foregrounds, **{key: names}).paths]

    assert left("cut1.png\n\n# cut2.png\n  dog [1]\n") == ["cut1.png", "dog [1].png"]
    assert left("cut1\n", "exclude") == ["cut0.png", "cut2.png", "dog [1].png"]
    assert left("cut?.png", "exclude") == ["dog [1].png"]
    assert left("dog [1]*") == ["dog [1].png"]
    assert not caplog.records
    assert left("cut1\ncat.png") == ["cut1.png"]
    assert "1 of 2 names are not in" in caplog.text and "cat.png" in caplog.text
    include, exclude = (tmp_path / name for name in ("include.txt", "exclude.txt"))
    include.write_text("cut0\ncut1")
    exclude.write_text("cut1\ncut2")
    assert [path.name for path in cutout_folder(foregrounds, include, exclude).paths] == ["cut0.png"]
    include.write_text("cut1")
    with pytest.raises(UserError, match="to leave some of the 4 images, got none"):
        cutout_folder(foregrounds, include, exclude)


def test_lists_that_cannot_serve(folders, tmp_path):
    names = tmp_path / "names.txt"
    for content, message in (
        (None, r"names\.txt: cannot be read \(No such file or directory\); expected a list of file names"),
        (b"# nothing\n", "expected one file name a line, got no names"),
        (b"\xff\xfe\x00", "expected a text file"),
        (b"cut7\ncut8\n", r"expected names of files in .*foregrounds, got 2 others \(the first: cut7\)"),
    ):
        if content is not None:
            names.write_bytes(content)
        with pytest.raises(UserError, match=message):
            cutout_folder(folders[0], exclude=names)
