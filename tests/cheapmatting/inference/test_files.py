"""What is written of a matte: formats, depths, colours, metadata; and never half a file."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from image_files import SRGB, encoded, exif
from PIL import Image
from small import photograph, small_network

from atldas.common.errors import UserError
from cheapmatting.decoding import Metadata, read_picture
from cheapmatting.images import read_image, read_rgba, write_image
from cheapmatting.inference.files import Wanted, matte_files, read_background
from cheapmatting.inference.foreground import cut_out
from cheapmatting.inference.matte import Matter

IMAGE, TRIMAP = photograph(40, 50)


@pytest.fixture(scope="module")
def matter() -> Matter:
    network = small_network().eval()
    network.head[4].weight.data.mul_(20)
    return Matter(network, "cpu")


@pytest.fixture(scope="module")
def alpha(matter: Matter) -> np.ndarray:
    return matter.matte(IMAGE, TRIMAP)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    image, trimap = tmp_path / "photo.png", tmp_path / "trimap.png"
    image.write_bytes(encoded(IMAGE, "PNG", icc_profile=SRGB, exif=exif(1, "Leica"), dpi=(300, 300)))
    trimap.write_bytes(encoded(TRIMAP, "PNG"))
    return image, trimap


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif"])
def test_profile_exif_and_resolution_go_along(
    matter: Matter, files: tuple[Path, Path], tmp_path: Path, suffix: str
) -> None:
    output = tmp_path / f"cutout{suffix}"
    matte_files(matter, *files, output)
    with Image.open(output) as written:
        assert written.mode == "RGBA" and written.info["icc_profile"] == SRGB and written.getexif()[0x010F] == "Leica"
        assert written.getexif().get_ifd(0x8769)[0x9003] == "2020:01:02 03:04:05"
        assert written.getexif().get_ifd(0x8825)[1] == "N"
        if suffix != ".webp":
            assert written.info["dpi"] == pytest.approx((300, 300), abs=0.01)
    matte_files(matter, *files, tmp_path / f"alpha{suffix}", Wanted("alpha"))
    with Image.open(tmp_path / f"alpha{suffix}") as written:
        assert "icc_profile" not in written.info  # it describes RGB


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_alphas_are_rounded_at_both_depths(
    matter: Matter, files: tuple[Path, Path], alpha: np.ndarray, tmp_path: Path, suffix: str
) -> None:
    for bits, most in ((8, 255), (16, 65535)):
        output = tmp_path / f"alpha{bits}{suffix}"
        matte_files(matter, *files, output, Wanted("alpha", bits=bits))
        written = read_picture(output).pixels[..., 0]
        assert written.dtype == (np.uint8 if bits == 8 else np.uint16)
        np.testing.assert_array_equal(written, np.rint(alpha * most))


def test_foreground_premultiplied_and_composites(
    matter: Matter, files: tuple[Path, Path], alpha: np.ndarray, tmp_path: Path
) -> None:
    cutout = cut_out(IMAGE, alpha).astype(int)
    share = cutout[..., 3:] / 255
    for name, wanted, expected in (
        ("foreground.jpg", Wanted("foreground"), None),
        ("foreground.png", Wanted("foreground"), cutout[..., :3]),
        ("premultiplied.png", Wanted("premultiplied"), np.dstack([cutout[..., :3] * share, cutout[..., 3:]])),
        ("green.png", Wanted("composite", "#00ff00"), cutout[..., :3] * share + (1 - share) * np.array([0, 255, 0])),
    ):
        matte_files(matter, *files, tmp_path / name, wanted)
        if expected is not None:
            np.testing.assert_allclose(read_picture(tmp_path / name).pixels, expected, atol=0.51)


def test_a_background_covers_the_photograph(
    matter: Matter, files: tuple[Path, Path], alpha: np.ndarray, tmp_path: Path
) -> None:
    columns = np.repeat(np.repeat(np.arange(100, dtype=np.uint8)[None], 40, axis=0)[..., None], 3, axis=2)
    write_image(tmp_path / "wide.png", columns)  # 100 x 40: the middle 50 columns are left
    matte_files(matter, *files, tmp_path / "out.png", Wanted("composite", str(tmp_path / "wide.png")))
    written = read_image(tmp_path / "out.png")
    background = cut_out(IMAGE, alpha)[..., 3] == 0
    np.testing.assert_array_equal(written[background], columns[:, 25:75][background])
    np.testing.assert_array_equal(written[alpha == 1], IMAGE[alpha == 1])


@pytest.mark.parametrize(
    ("output", "wanted", "message"),
    [
        (
            "a.png",
            Wanted("composite", "blurple"),
            "--background: expected a colour .*, got blurple",
        ),
        ("a.png", Wanted("cutout", bits=16), "--bits 16: expected --alpha beside it"),
        (
            "a.jpg",
            Wanted("alpha", bits=16),
            r"a format of 16 bits \(\.png, \.tif, \.tiff\), got \.jpg",
        ),
        ("a.jpg", Wanted("premultiplied"), "expected a format with an alpha channel"),
        ("a.exr", Wanted("cutout"), "a name that ends in"),
        ("photo.png", Wanted("alpha", force=True), "another file than the input"),
        ("taken.png", Wanted("alpha"), r"taken\.png: exists; replace it with --force"),
    ],
)
def test_what_cannot_be_written_is_refused_before_anything_is_computed(
    matter: Matter, files: tuple[Path, Path], tmp_path: Path, output: str, wanted: Wanted, message: str
) -> None:
    (tmp_path / "taken.png").write_text("mine")
    files[1].write_bytes(b"not read")
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(UserError, match=message):
        matte_files(matter, *files, tmp_path / output, wanted)
    assert sorted(os.listdir(tmp_path)) == before and (tmp_path / "taken.png").read_text() == "mine"


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")]
)
def test_too_little_memory_is_told(
    matter: Matter, files: tuple[Path, Path], tmp_path: Path, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Matter, "_mattes", lambda *_: (_ for _ in ()).throw(error))
    with pytest.raises(UserError, match=r"photo\.png: this machine has not the memory .* --max-memory 2GiB$"):
        matte_files(matter, *files, tmp_path / "out.png")


def test_other_errors_are_not_hidden(
    matter: Matter, files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Matter, "_mattes", lambda *_: (_ for _ in ()).throw(RuntimeError("a defect")))
    with pytest.raises(RuntimeError, match="a defect"):
        matte_files(matter, *files, tmp_path / "out.png")


def test_standard_streams(
    matter: Matter, files: tuple[Path, Path], alpha: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = io.TextIOWrapper(io.BytesIO())
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(files[0].read_bytes())))
    monkeypatch.setattr(sys, "stdout", written)
    matte_files(matter, Path("-"), files[1], Path("-"), Wanted("alpha"))
    image = Image.open(io.BytesIO(written.buffer.getvalue()))  # type: ignore[attr-defined]
    assert image.format == "PNG"
    np.testing.assert_array_equal(np.asarray(image), np.rint(alpha * 255))


def test_a_killed_program_leaves_the_old_file_whole(tmp_path: Path) -> None:
    output = tmp_path / "out.png"
    write_image(output, IMAGE)
    code = (
        "import os, signal, sys, pathlib, numpy\n"
        "from cheapmatting.images import write_image\n"
        "original = pathlib.Path.write_bytes\n"
        "def half(self, data):\n"
        "    original(self, data[: len(data) // 2])\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "pathlib.Path.write_bytes = half\n"
        "write_image(sys.argv[1], numpy.zeros((9, 9), numpy.uint8))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(output)])
    assert done.returncode == -signal.SIGKILL
    np.testing.assert_array_equal(read_image(output), IMAGE)


def test_colours_of_a_background_have_no_size() -> None:
    assert read_background(Wanted("composite", "white"), 5, 5, Metadata()).tolist() == [[[255, 255, 255]]]


def test_colours_under_zero_alpha_survive_webp(tmp_path: Path) -> None:
    rgba = np.dstack([IMAGE, np.zeros_like(TRIMAP)])
    write_image(tmp_path / "out.webp", rgba)
    np.testing.assert_array_equal(read_rgba(tmp_path / "out.webp")[0], IMAGE)
