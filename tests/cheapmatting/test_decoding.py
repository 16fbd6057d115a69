"""Files of every format decoded: upright, whole, bounded, and with one clear error where they are not good."""

from __future__ import annotations

import io
import os
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from image_files import FORMATS, SRGB, bomb, chunk, encoded, exif, with_chunk
from PIL import Image, ImageOps

from atldas.common.errors import UserError
from cheapmatting import colours
from cheapmatting.decoding import MAX_PIXELS, FileBytes, Picture, header_size, read_picture
from cheapmatting.images import read_alpha, read_image

RGB = np.random.default_rng(0).integers(0, 256, (16, 24, 3)).astype(np.uint8)
SMOOTH = np.dstack([np.tile(np.arange(48, dtype=np.uint8) * 5, (32, 1))] * 3)


# A maker's name of 65,535 letters, none of which is there.
TORN_EXIF = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x0f\x01\x02\0\xff\xff\0\0\xff\xff\0\0"


def read(data: bytes, folder: Path, max_pixels: int = MAX_PIXELS, name: str = "file.png") -> Picture:
    path = folder / name
    path.write_bytes(data)
    return read_picture(path, max_pixels)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "JPEG"])
def test_the_exif_orientation_is_applied(tmp_path: Path, kind: str, orientation: int) -> None:
    data = encoded(RGB, kind, exif=exif(orientation))
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    picture = read(data, tmp_path)
    np.testing.assert_array_equal(picture.pixels, expected)
    assert picture.turned == (orientation >= 5) == (picture.pixels.shape[:2] == (24, 16))
    assert picture.metadata.exif is None  # nothing but the orientation was in it


@pytest.mark.parametrize("orientation", [1, 6, 8])
def test_deep_colours_keep_their_bits_and_are_turned(tmp_path: Path, orientation: int) -> None:
    deep = np.random.default_rng(1).integers(0, 65536, (5, 8, 3)).astype(np.uint16)
    png = cv2.imencode(".png", deep[..., ::-1])[1].tobytes()
    picture = read(with_chunk(png, b"eXIf", exif(orientation)[6:]), tmp_path)
    assert picture.pixels.dtype == np.uint16
    np.testing.assert_array_equal(picture.pixels, np.rot90(deep, {1: 0, 6: -1, 8: 1}[orientation]))
    tiff = cv2.imencode(".tif", deep[..., ::-1])[1].tobytes()
    np.testing.assert_array_equal(read(tiff, tmp_path).pixels, deep)
    for grey in (encoded(deep[..., 0], "PNG"), encoded(deep[..., 0], "TIFF")):
        np.testing.assert_array_equal(read(grey, tmp_path).pixels[..., 0], deep[..., 0])


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "JPEG"])
def test_metadata_are_kept_without_the_orientation(tmp_path: Path, kind: str) -> None:
    options = {} if kind == "WEBP" else {"dpi": (300, 300)}
    metadata = read(encoded(RGB, kind, icc_profile=SRGB, exif=exif(6, "Leica"), **options), tmp_path).metadata
    assert metadata.icc == SRGB
    tags = Image.Exif()
    tags.load(metadata.exif or b"")
    assert tags[0x010F] == "Leica" and 0x0112 not in tags
    if options:
        assert metadata.dpi == pytest.approx((300, 300), abs=0.01)


@pytest.mark.filterwarnings("ignore:Tag data larger", "ignore:Corrupt EXIF")
def test_a_damaged_description_costs_no_photograph(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = encoded(RGB, "JPEG", exif=TORN_EXIF, icc_profile=b"no profile")
    picture = read(data, tmp_path, name="photo.jpg")
    np.testing.assert_array_equal(picture.pixels, np.asarray(Image.open(io.BytesIO(data))))
    assert picture.metadata.icc is None and picture.metadata.exif is None
    assert "photo.jpg: its colour profile cannot be read" in caplog.text


def test_exif_data_that_no_reader_takes_are_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = encoded(RGB, "PNG", exif=exif(6, "Leica"))
    monkeypatch.setattr(Image.Image, "getexif", lambda _: (_ for _ in ()).throw(SyntaxError("not a TIFF file")))
    assert read(data, tmp_path).metadata.exif is None
    assert "file.png: its EXIF data cannot be read and are left out (not a TIFF file)" in caplog.text


@pytest.mark.parametrize("kind", FORMATS)
def test_the_content_decides_not_the_suffix(tmp_path: Path, kind: str) -> None:
    pixels = read(encoded(SMOOTH, kind), tmp_path, name="mislabelled.jpg").pixels
    assert np.abs(pixels.astype(int) - SMOOTH).max() <= 8


def test_a_jpeg_with_a_long_tail_is_whole(tmp_path: Path) -> None:
    data = encoded(RGB, "JPEG", quality=95)
    tail = np.random.default_rng(0).bytes(200_000).replace(b"\xff\xd9", b"")  # the film of a motion photo
    np.testing.assert_array_equal(read(data + tail, tmp_path).pixels, read(data, tmp_path).pixels)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 0.95])
def test_a_file_cut_short_is_refused(tmp_path: Path, kind: str, share: float) -> None:
    data = encoded(RGB, kind)
    with pytest.raises(UserError, match=r"file\.png: expected an image .* got a damaged or other file"):
        read(data[: max(1, int(len(data) * share))], tmp_path)


def test_a_png_with_a_changed_byte_is_refused(tmp_path: Path) -> None:
    data = bytearray(encoded(RGB, "PNG"))
    data[len(data) // 2] ^= 64
    with pytest.raises(UserError, match="damaged"):
        read(bytes(data), tmp_path)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "BMP"])
def test_bombs_are_refused_from_the_header(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(colours, "pixels", lambda *_: pytest.fail("decoded"))
    data = bomb(kind, 60_000, 50_000)
    with pytest.raises(UserError, match=r"at most 200000000 pixels, got 60000 x 50000 = 3.*--max-pixels 3000000000$"):
        read(data, tmp_path)
    path = tmp_path / "alpha.png"
    path.write_bytes(data)
    for reader in (read_image, read_alpha):
        with pytest.raises(UserError, match="at most 200000000 pixels"):
            reader(path)


def test_webp_bombs_are_refused_from_the_header(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(colours, "pixels", lambda *_: pytest.fail("decoded"))
    with pytest.raises(UserError, match="at most 100000 pixels, got 1000 x 1000"):
        read(bomb("WEBP", 1000, 1000), tmp_path, 100_000)
    with pytest.raises(UserError, match=r"expected fewer pixels \(.*3600000000"):
        read(bomb("WEBP", 60_000, 60_000), tmp_path)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "BMP"])
def test_the_header_alone_has_the_size(kind: str) -> None:
    data = encoded(np.zeros((300, 200, 3), np.uint8), kind)
    assert header_size(FileBytes("file", data)) == (200, 300)
    with pytest.raises(UserError, match="file: expected an image"):
        header_size(FileBytes("file", data[10:]))


def test_the_limit_can_be_raised_and_lowered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)  # Pillow's own limit is not ours
    data = encoded(RGB, "PNG")
    np.testing.assert_array_equal(read(data, tmp_path, 24 * 16).pixels, RGB)
    with pytest.raises(UserError, match="at most 383 pixels, got 24 x 16 = 384"):
        read(data, tmp_path, 383)


def test_a_compressed_description_is_bounded(tmp_path: Path) -> None:
    text = b"zTXt", b"Comment\0\0" + zlib.compress(bytes(200_000_000), 1)
    with pytest.raises(UserError, match="damaged"):
        read(with_chunk(encoded(RGB, "PNG"), *text), tmp_path)


def test_standard_input_and_pipes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(RGB, "PNG")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    np.testing.assert_array_equal(read_image("-"), RGB)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"text")))
    with pytest.raises(UserError, match=r"^standard input: expected an image"):
        read_image("-")
    reading, writing = os.pipe()
    os.write(writing, data)
    os.close(writing)
    np.testing.assert_array_equal(read_image(f"/dev/fd/{reading}"), RGB)
    os.close(reading)


def survives(data: bytes, path: Path) -> bool:
    """Whether a file is read; if it is not, the error must be one clear line. Anything else raised is a defect."""
    path.write_bytes(data)
    try:
        picture = read_picture(path, 100_000)
    except UserError as error:
        assert str(error).startswith(f"{path}: ") and "\n" not in str(error)
        return False
    assert picture.pixels.ndim == 3 and picture.pixels.size > 0
    return True


@pytest.mark.parametrize("kind", FORMATS)
def test_changed_and_cut_files(kind: str, tmp_path: Path) -> None:
    whole = encoded(RGB, kind, **({"exif": exif(6, "Leica"), "icc_profile": SRGB[:200]} if kind != "BMP" else {}))
    changes = st.lists(st.tuples(st.integers(0, len(whole) - 1), st.integers(0, 255)), max_size=8)

    @settings(max_examples=60, deadline=None)
    @given(changes=changes, keep=st.integers(1, len(whole)), tail=st.binary(max_size=20))
    def fuzz(changes: list[tuple[int, int]], keep: int, tail: bytes) -> None:
        data = bytearray(whole)
        for place, value in changes:
            data[place] = value
        survives(bytes(data[:keep]) + tail, tmp_path / "file")

    fuzz()
    assert survives(whole, tmp_path / "file")


STARTS = [encoded(RGB, kind)[:16] for kind in FORMATS] + [b"\x76\x2f\x31\x01\x02\0\0\0", b"II*\0\x08\0\0\0\xff\xff"]


@settings(max_examples=150, deadline=None)
@given(start=st.sampled_from([*STARTS, b"", b"GIF89a", b"%PDF-1.7"]), rest=st.binary(max_size=200))
def test_anything_after_the_start_of_a_format(
    start: bytes, rest: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    survives(start + rest or b"x", tmp_path_factory.getbasetemp() / "fuzzed")


@settings(max_examples=60, deadline=None)
@given(
    size=st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)),
    depth=st.integers(0, 255),
    colour=st.integers(0, 255),
)
def test_absurd_png_headers(
    size: tuple[int, int], depth: int, colour: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    header = size[0].to_bytes(4, "big") + size[1].to_bytes(4, "big") + bytes([depth, colour, 0, 0, 0])
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"x") + chunk(b"IEND", b"")
    assert not survives(data, tmp_path_factory.getbasetemp() / "absurd.png")
