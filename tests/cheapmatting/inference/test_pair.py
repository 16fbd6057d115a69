"""A photograph and its trimap, read together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from image_files import bomb, encoded, exif
from small import photograph

from atldas.common.errors import UserError
from cheapmatting import colours
from cheapmatting.inference.pair import read_pair

IMAGE, TRIMAP = photograph(40, 60)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    image, trimap = tmp_path / "photo.png", tmp_path / "trimap.png"
    image.write_bytes(encoded(IMAGE, "PNG"))
    trimap.write_bytes(encoded(TRIMAP, "PNG"))
    return image, trimap


def test_both_are_turned_alike(files: tuple[Path, Path]) -> None:
    files[0].write_bytes(encoded(IMAGE, "PNG", exif=exif(6)))
    files[1].write_bytes(encoded(TRIMAP, "PNG", exif=exif(6)))
    image, trimap = read_pair(*files)
    np.testing.assert_array_equal(image, np.rot90(IMAGE, -1))
    np.testing.assert_array_equal(trimap, np.rot90(TRIMAP, -1))


def test_an_unturned_trimap_of_a_turned_photograph_is_told_as_that(files: tuple[Path, Path]) -> None:
    files[0].write_bytes(encoded(IMAGE, "PNG", exif=exif(8)))
    with pytest.raises(UserError) as error:
        read_pair(*files)
    assert str(error.value) == (
        f"{files[1]}: expected 40 x 60 pixels, got 60 x 40: {files[0]} lies on its side, and its EXIF orientation "
        f"turns it upright, but not this trimap; make the trimap from the upright image"
    )


def test_a_trimap_of_another_aspect_is_refused_before_it_is_decoded(
    files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    files[1].write_bytes(bomb("PNG", 14_000, 14_000))
    decode = colours.pixels
    monkeypatch.setattr(
        colours, "pixels", lambda *a, **k: pytest.fail("decoded") if a[1] == str(files[1]) else decode(*a, **k)
    )
    with pytest.raises(
        UserError, match=r"trimap\.png: expected 60 x 40 pixels, as .*photo\.png has, got 14000 x 14000"
    ):
        read_pair(*files)
    with pytest.raises(UserError, match="at most 100000000 pixels, got 14000 x 14000"):
        read_pair(*files, 100_000_000)


def test_a_smaller_trimap_is_resized(files: tuple[Path, Path], caplog: pytest.LogCaptureFixture) -> None:
    halves = np.repeat(np.uint8([[0] * 15 + [255] * 15]), 20, axis=0)
    files[1].write_bytes(encoded(halves, "PNG"))
    trimap = read_pair(*files)[1]
    assert trimap.shape == (40, 60) and (trimap[:, :28] == 0).all() and (trimap[:, 32:] == 255).all()
    assert "resized from 30 x 20 to 60 x 40" in caplog.text


def test_only_one_comes_from_standard_input() -> None:
    with pytest.raises(UserError, match="one file from standard input, got two"):
        read_pair("-", "-")
