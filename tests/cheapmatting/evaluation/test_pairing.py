"""Which files of an evaluation belong together, and how those that are left over are told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from atldas.common.errors import UserError
from cheapmatting.evaluation.pairing import Entry, Pairing, pair_files
from cheapmatting.images import write_image


def made(root: Path, **folders: str) -> dict[str, Path]:
    """Folders with images of one pixel: `truths="a x/b"` makes truths/a.png and truths/x/b.png."""
    for folder, names in folders.items():
        for name in names.split():
            write_image(root / folder / f"{name}.png", np.zeros((1, 1), np.uint8))
    return {folder: root / folder for folder in folders}


def test_predictions_with_their_truths_trimaps_and_photographs(tmp_path: Path) -> None:
    pairing = pair_files(**made(tmp_path, truths="b a", trimaps="a b", predictions="b a", images="a"))
    assert pairing == Pairing([
        Entry("a", tmp_path / "truths/a.png", tmp_path / "trimaps/a.png", tmp_path / "images/a.png",
              tmp_path / "predictions/a.png"),
        Entry("b", tmp_path / "truths/b.png", tmp_path / "trimaps/b.png", None, tmp_path / "predictions/b.png"),
    ])  # fmt: skip
    # A photograph beside a prediction is only shown: a change of it changes no figure.
    assert tmp_path / "images/a.png" not in pairing.entries[0].files and len(pairing.entries[0].files) == 3


def test_images_without_predictions_are_what_the_network_is_to_see(tmp_path: Path) -> None:
    (entry,) = pair_files(**made(tmp_path, truths="cat", trimaps="cat_7", images="cat_7")).entries
    assert (entry.name, entry.truth.name, entry.trimap.name) == ("cat_7", "cat.png", "cat_7.png")
    assert entry.prediction is None and entry.image in entry.files


def test_names_in_folders_below_and_with_dots(tmp_path: Path) -> None:
    folders = made(tmp_path, truths="x/c.1 y/c.1", trimaps="x/c.1 y/c.1", predictions="x/c.1 y/c.1")
    pairing = pair_files(**folders)
    assert [entry.name for entry in pairing.entries] == ["x/c.1", "y/c.1"]
    assert [entry.truth.parent.name for entry in pairing.entries] == ["x", "y"] and pairing.messages() == []


def test_what_is_left_over_is_counted_and_the_first_five_named(tmp_path: Path) -> None:
    folders = made(tmp_path, truths="a z", trimaps="a", images="a b c d e f g")
    assert pair_files(**folders).messages() == [
        "6 images without a truth: b, c, d, e, f and 1 more",
        "1 truths without images: z",
        "6 images without a trimap: b, c, d, e, f and 1 more",
    ]


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    folders = made(tmp_path, truths="a", trimaps="a", predictions="a")
    write_image(tmp_path / "predictions/a.jpg", np.zeros((1, 1), np.uint8))
    with pytest.raises(UserError, match=r"expected one file of each name, got 2 of a \(a\.jpg, a\.png\)"):
        pair_files(**folders)
