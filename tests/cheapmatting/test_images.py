"""Image files: what is read and written, and what is refused."""

import cv2
import numpy as np
import pytest

from atldas.common.errors import UserError
from cheapmatting.images import read_alpha, read_image, read_rgba, require_same_size, write_image


@pytest.fixture
def rgb() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (13, 17, 3)).astype(np.uint8)


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif", ".tiff", ".bmp", ".PNG"])
def test_lossless_formats_give_back_every_pixel(tmp_path, rgb, suffix):
    path = tmp_path / f"image{suffix}"
    write_image(path, rgb)
    np.testing.assert_array_equal(read_image(path), rgb)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg"])
def test_jpeg_is_close(tmp_path, suffix):
    smooth = np.dstack([np.tile(np.arange(64, dtype=np.uint8) * 3, (64, 1))] * 3)
    write_image(tmp_path / f"image{suffix}", smooth)
    assert np.abs(read_image(tmp_path / f"image{suffix}").astype(int) - smooth).max() <= 3


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif"])
def test_rgba_round_trip(tmp_path, rgb, suffix):
    alpha = np.arange(13 * 17, dtype=np.uint8).reshape(13, 17)
    write_image(tmp_path / f"cut{suffix}", np.dstack([rgb, alpha]))
    colours, read = read_rgba(tmp_path / f"cut{suffix}")
    assert read.dtype == np.float32
    np.testing.assert_array_equal(np.rint(read * 255), alpha)
    np.testing.assert_array_equal(colours[alpha > 0], rgb[alpha > 0])


def test_alpha_is_the_alpha_channel_or_the_grey_levels(tmp_path, rgb):
    alpha = np.arange(13 * 17, dtype=np.uint8).reshape(13, 17)
    path, opaque = tmp_path / "alpha.png", np.full_like(alpha, 255)
    for pixels in (np.dstack([rgb, alpha]), alpha, np.dstack([alpha] * 3), np.dstack([alpha] * 3 + [opaque])):
        write_image(path, pixels)
        np.testing.assert_array_equal(read_alpha(path), alpha)
    for colour in (rgb, np.dstack([rgb, opaque])):
        write_image(path, colour)
        with pytest.raises(UserError, match=r"alpha\.png: expected an alpha matte .*, got a colour image$"):
            read_alpha(path)


def test_deep_alphas_are_scaled(tmp_path):
    path = tmp_path / "deep.png"
    deep = np.array([[0, 128, 129, 257 * 100, 65535]], np.uint16)
    for pixels in (deep, np.dstack([deep * 0, deep * 0, deep * 0, deep])):
        path.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
        assert read_alpha(path).tolist() == [[0, 0, 1, 100, 255]]


def test_sizes_that_differ_are_named_with_both_files():
    pixels, other = np.zeros((3, 4), np.uint8), np.zeros((3, 5, 3), np.uint8)
    require_same_size("a.png", pixels, "b.png", other[:, :4])
    with pytest.raises(UserError, match=r"^a\.png: expected 5 x 3 pixels, as b\.png has, got 4 x 3$"):
        require_same_size("a.png", pixels, "b.png", other)


def test_grey_is_read_as_rgb(tmp_path):
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4)
    write_image(tmp_path / "grey.png", grey)
    np.testing.assert_array_equal(read_image(tmp_path / "grey.png"), np.dstack([grey] * 3))


def test_16_bits_are_scaled(tmp_path):
    deep = np.array([[0, 128, 129, 257 * 100, 257 * 100 + 200, 65535]], np.uint16)
    path = tmp_path / "deep.png"
    path.write_bytes(cv2.imencode(".png", np.dstack([deep] * 3))[1].tobytes())
    assert read_image(path)[0, :, 0].tolist() == [0, 0, 1, 100, 101, 255]
    path.write_bytes(cv2.imencode(".png", np.dstack([deep] * 4))[1].tobytes())
    assert read_rgba(path)[1][0, -1] == 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: None, "cannot be read .No such file"),
        (lambda p: p.mkdir(), "cannot be read"),
        (lambda p: p.write_bytes(b""), "expected an image, got an empty file"),
        (
            lambda p: p.write_bytes(b"\0" * 100),
            r"expected an image .*, got a damaged or other file",
        ),
        (
            lambda p: p.write_text("hello"),
            r"expected an image .*, got a damaged or other file",
        ),
    ],
)
def test_faults_of_files_are_named(tmp_path, make, message):
    path = tmp_path / "image.png"
    make(path)
    for read in (read_image, read_rgba):
        with pytest.raises(UserError, match=rf"image\.png: {message}"):
            read(path)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
@pytest.mark.parametrize("share", [0.5, 0.98])
def test_a_file_cut_short_is_refused(tmp_path, rgb, suffix, share):
    path = tmp_path / f"image{suffix}"
    write_image(path, rgb)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(UserError, match="damaged"):
        read_image(path)


def test_float_images_are_refused(tmp_path):
    path = tmp_path / "float.tif"
    path.write_bytes(cv2.imencode(".tif", np.zeros((4, 4, 3), np.float32))[1].tobytes())
    with pytest.raises(UserError, match=r"expected an image .*unknown pixel mode"):
        read_image(path)
    path.write_bytes(cv2.imencode(".tif", np.float32([[0, 0.5, 1, 2]]))[1].tobytes())
    with pytest.raises(UserError, match=r"expected 8 or 16 bits per channel, got float32"):
        read_image(path)
    assert read_alpha(path).tolist() == [[0, 128, 255, 255]]


def test_a_cutout_needs_alpha(tmp_path, rgb):
    write_image(tmp_path / "opaque.png", rgb)
    with pytest.raises(UserError, match=r"opaque\.png: expected a cut-out with an alpha channel .*, got 3 channels"):
        read_rgba(tmp_path / "opaque.png")
    write_image(tmp_path / "grey.png", rgb[..., 0])
    with pytest.raises(UserError, match=r"got 1 channel$"):
        read_rgba(tmp_path / "grey.png")


def test_writing_refuses_what_a_format_cannot_hold(tmp_path, rgb):
    with pytest.raises(UserError, match=r"image\.gif: expected a name that ends in \.png, \.jpg.*, got \.gif"):
        write_image(tmp_path / "image.gif", rgb)
    with pytest.raises(UserError, match="got no suffix"):
        write_image(tmp_path / "image", rgb)
    with pytest.raises(UserError, match=r"expected a format with an alpha channel \(\.png, \.webp, \.tif\), got \."):
        write_image(tmp_path / "image.jpg", np.dstack([rgb, rgb[..., 0]]))
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(UserError, match="got a folder"):
        write_image(tmp_path / "folder.png", rgb)
    assert [p.name for p in tmp_path.iterdir()] == ["folder.png"]


@pytest.mark.parametrize("shape", [(4, 4, 2), (4,), (0, 4, 3)])
def test_other_arrays_are_our_own_fault(tmp_path, shape):
    with pytest.raises(ValueError, match="write_image needs uint8"):
        write_image(tmp_path / "image.png", np.zeros(shape, np.uint8))
    with pytest.raises(ValueError, match="got float32"):
        write_image(tmp_path / "image.png", np.zeros((4, 4), np.float32))
