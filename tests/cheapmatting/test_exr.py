"""Alphas in OpenEXR files, with the package and without."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from atldas.common.errors import UserError
from cheapmatting import exr
from cheapmatting.decoding import read_picture
from cheapmatting.images import read_alpha, read_image, write_image
from cheapmatting.trimap import read_trimap

ALPHA = np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4)


def test_without_the_package_the_error_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "OpenEXR", None)
    path = tmp_path / "alpha.exr"
    with pytest.raises(UserError, match=r"need the package OpenEXR; pip install 'cheapmatting\[exr\]'"):
        write_image(path, ALPHA)
    assert not list(tmp_path.iterdir())
    path.write_bytes(exr.MAGIC + bytes(99))
    with pytest.raises(UserError, match=r"alpha\.exr: OpenEXR files need the package OpenEXR"):
        read_alpha(path)


def test_alphas_keep_all_their_bits(tmp_path: Path) -> None:
    pytest.importorskip("OpenEXR")
    path = tmp_path / "alpha.exr"
    write_image(path, ALPHA)
    np.testing.assert_array_equal(read_picture(path).pixels[..., 0], ALPHA)
    np.testing.assert_array_equal(read_alpha(path), np.rint(ALPHA * 255))
    with pytest.raises(UserError, match="expected 8 or 16 bits per channel, got float32"):
        read_image(path)
    with pytest.raises(UserError, match="at most 11 pixels, got 4 x 3"):
        read_alpha(path, 11)
    write_image(path, np.float32([[0, 0.5, 1]]))
    assert read_trimap(path).tolist() == [[0, 128, 255]]


def test_the_alpha_beside_colours(tmp_path: Path) -> None:
    package = pytest.importorskip("OpenEXR")
    channels = {name: np.full_like(ALPHA, i) for i, name in enumerate("RGB")}
    header = {"compression": package.ZIP_COMPRESSION, "type": package.scanlineimage}
    package.File(header, {**channels, "A": ALPHA}).write(str(tmp_path / "rgba.exr"))
    np.testing.assert_array_equal(read_alpha(tmp_path / "rgba.exr"), np.rint(ALPHA * 255))
    package.File(header, channels).write(str(tmp_path / "rgb.exr"))
    with pytest.raises(UserError, match=r"an alpha in the channel A or Y, got the channels [RGB], [RGB], [RGB]$"):
        read_alpha(tmp_path / "rgb.exr")


def test_damaged_files(tmp_path: Path) -> None:
    pytest.importorskip("OpenEXR")
    path = tmp_path / "alpha.exr"
    write_image(path, ALPHA)
    whole = path.read_bytes()
    for keep in (5, 50, len(whole) // 2, len(whole) - 8):
        path.write_bytes(whole[:keep])
        with pytest.raises(UserError, match="damaged"):
            read_alpha(path)
