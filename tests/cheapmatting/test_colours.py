"""Grey, palettes, CMYK, LAB and profiles, as the RGB that they show."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from image_files import SRGB, encoded
from PIL import Image, ImageCms

from cheapmatting.colours import between_profiles
from cheapmatting.images import read_alpha, read_image, read_rgba

LEVELS = np.array([0, 60, 128, 200, 255], np.uint8)
CUBE = np.stack(np.meshgrid(LEVELS, LEVELS, LEVELS), axis=-1).reshape(5, 25, 3)


def saved(folder: Path, image: Image.Image, kind: str, **options: object) -> Path:
    path = folder / f"image.{kind.lower()}"
    path.write_bytes(encoded(image, kind, **options))
    return path


def test_lab_is_converted(tmp_path: Path) -> None:
    colours = CUBE.clip(60, 200)  # 8 bits of LAB are too coarse for full red, green and blue
    lab = ImageCms.profileToProfile(
        Image.fromarray(colours), ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    assert lab is not None
    off = np.abs(read_image(saved(tmp_path, lab, "TIFF")).astype(int) - colours)
    assert off.max() <= 16 and off.mean() < 2


def test_cmyk_is_converted(tmp_path: Path) -> None:
    inks = np.array([[[0, 0, 0, 0], [255, 0, 0, 0], [0, 255, 255, 0], [0, 0, 0, 255]]], np.uint8)
    image = Image.frombytes("CMYK", (4, 1), inks.tobytes())
    expected = [[[255, 255, 255], [0, 255, 255], [255, 0, 0], [0, 0, 0]]]
    assert read_image(saved(tmp_path, image, "TIFF")).tolist() == expected
    large = image.resize((64, 16), Image.Resampling.NEAREST)
    jpeg = read_image(saved(tmp_path, large, "JPEG", quality=95))[8, 8::16]
    assert np.abs(jpeg.astype(int) - expected[0]).max() <= 4


def test_palettes_are_their_colours_and_their_transparency(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8), "L").convert("P")
    image.putpalette([10, 20, 30, 200, 100, 50, 255, 255, 255])
    colours = [[[10, 20, 30], [200, 100, 50], [255, 255, 255]]]
    assert read_image(saved(tmp_path, image, "PNG")).tolist() == colours
    rgb, alpha = read_rgba(saved(tmp_path, image, "PNG", transparency=bytes([0, 128, 255])))
    assert rgb.tolist() == colours and np.rint(alpha * 255).tolist() == [[0, 128, 255]]


def test_grey_with_and_without_alpha_and_single_bits(tmp_path: Path) -> None:
    grey = np.array([[0, 77, 255]], np.uint8)
    with_alpha = Image.merge("LA", [Image.fromarray(grey), Image.fromarray(grey[:, ::-1].copy())])
    assert read_image(saved(tmp_path, with_alpha, "PNG")).tolist() == np.dstack([grey] * 3).tolist()
    assert read_alpha(saved(tmp_path, with_alpha, "PNG")).tolist() == [[255, 77, 0]]
    bits = Image.fromarray(grey > 50)
    assert read_image(saved(tmp_path, bits, "PNG"))[..., 0].tolist() == [[0, 255, 255]]
    assert read_alpha(saved(tmp_path, bits, "TIFF")).tolist() == [[0, 255, 255]]


def test_what_is_read_can_be_written_to(tmp_path: Path) -> None:
    pixels = read_image(saved(tmp_path, Image.fromarray(CUBE), "PNG"))
    pixels[0, 0] = 7


def test_between_profiles_changes_nothing_within_one() -> None:
    assert between_profiles(CUBE, SRGB, SRGB) is CUBE
    assert np.abs(between_profiles(CUBE, SRGB, None).astype(int) - CUBE).max() <= 1


@pytest.mark.parametrize("icc", [SRGB, b"broken"])
def test_a_profile_that_does_not_fit_is_left_out(tmp_path: Path, icc: bytes) -> None:
    image = Image.frombytes("CMYK", (1, 1), bytes([0, 255, 255, 0]))
    assert read_image(saved(tmp_path, image, "TIFF", icc_profile=icc)).tolist() == [[[255, 0, 0]]]
