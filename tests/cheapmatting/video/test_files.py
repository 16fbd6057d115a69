"""Videos read and written, and the command."""

from __future__ import annotations

import os
import signal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small import small_network

from atldas.common.errors import UserError
from cheapmatting.arrays import Bytes, Floats
from cheapmatting.command import main
from cheapmatting.drawing.clips import made_clip
from cheapmatting.images import read_alpha, write_image
from cheapmatting.inference.foreground import cut_out
from cheapmatting.inference.matte import Matter
from cheapmatting.model import weights
from cheapmatting.trimap import make_trimap
from cheapmatting.video.files import read_frames, writer

SIZE, FRAMES = 64, 4


@pytest.fixture(scope="module")
def clip() -> list[tuple[Bytes, Floats]]:
    return list(made_clip("sharp", "gradient", SIZE, FRAMES, seed=2, noise=0))


@pytest.fixture
def here(clip: list[tuple[Bytes, Floats]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with frames, the first one's trimap and weights."""
    monkeypatch.chdir(tmp_path)
    for number, (image, _) in enumerate(clip):
        write_image(f"frames/{number:03}.png", image)
    write_image("key.png", make_trimap(clip[0][1], 4, 4))
    write_image("wide.png", np.full((SIZE, SIZE + 32), 128, np.uint8))
    write_image("big.png", np.full((SIZE + 1, SIZE + 1), 128, np.uint8))
    weights.save(small_network().eval(), "model.safetensors")
    return tmp_path


def run(arguments: str) -> int:
    return main(f"video {arguments} --device cpu --engine torch --weights model.safetensors".split())


def names() -> list[str]:
    return sorted(str(path) for path in Path(".").rglob("*"))


def test_a_trimap_of_the_same_aspect_is_resized(here: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert run("frames --trimap 0=big.png --out alphas") == 0
    assert "big.png: resized from 65 x 65 to 64 x 64, the size of the video" in caplog.messages
    assert len(list(Path("alphas").iterdir())) == FRAMES


def test_a_folder_of_frames_becomes_a_folder_of_alphas(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run("frames --trimap 0=key.png --out alphas") == 0
    assert capfd.readouterr().out == "alphas\n"
    assert sorted(path.name for path in Path("alphas").iterdir()) == [f"{number:06}.png" for number in range(FRAMES)]
    assert read_alpha("alphas/000003.png").shape == (SIZE, SIZE)
    assert run("frames --trimap 0=key.png --out alphas") == 2
    assert "alphas: exists; replace it with --force" in capfd.readouterr().err
    assert run("frames --trimap 0=key.png --out alphas --force") == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("frames --trimap key.png --out a", "--trimap: expected FRAME=FILE such as 0=first.png, got key.png"),
        ("frames --trimap 1=key.png --out a", "--trimap: expected one for the first frame, 0=FILE"),
        ("frames --trimap 0=key.png --trimap 0=key.png --out a", "expected one trimap for frame 0, got two"),
        ("frames --trimap 0=no.png --out a", "no.png: cannot be read"),
        (
            "frames --trimap 0=key.png --out a.mp4",
            "a.mp4: expected a folder, for PNG files, or a name that ends in .mov",
        ),
        ("nothing.mp4 --trimap 0=key.png --out a", "nothing.mp4: expected a video or a folder of frames"),
        ("frames --trimap 0=frames/000.png --out a", "frames/000.png: expected a trimap"),
        ("frames --trimap 0=wide.png --out a", "wide.png: expected 64 x 64 pixels, as the video has, got 96 x 64"),
        ("frames --trimap 0=key.png --out a --max-pixels 4095", "frames/000.png: expected at most 4095 pixels, got 64"),
        ("frames --trimap 0=key.png --out a --max-pixels 0", "--max-pixels: expected 1 or more, got 0"),
        ("frames --trimap 0=big.png --out a --max-pixels 4096", "big.png: expected at most 4096 pixels, got 65 x 65"),
    ],
)
def test_misuse_leaves_nothing(here: Path, arguments: str, message: str, capfd: pytest.CaptureFixture[str]) -> None:
    before = names()
    assert run(arguments) == 2
    error = capfd.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ") and message in error
    assert names() == before


@pytest.mark.parametrize(("suffix", "decoder", "off"), [(".mov", "prores", 0.7), (".webm", "libvpx-vp9", 2.5)])
def test_videos_keep_alpha_and_colours(
    clip: list[tuple[Bytes, Floats]], tmp_path: Path, suffix: str, decoder: str, off: float
) -> None:
    av: Any = pytest.importorskip("av", reason="needs the extra video")
    path = tmp_path / f"out{suffix}"
    with writer(path, Fraction(30000, 1001)) as write:
        for image, alpha in clip:
            write(image, alpha)
        assert not path.exists()
    assert os.listdir(tmp_path) == [path.name]
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert abs(float(stream.average_rate) - 29.97) < 0.05
        context = av.codec.CodecContext.create(decoder, "r")  # the usual decoder of VP9 leaves alpha out
        context.extradata = stream.codec_context.extradata
        packets = [packet for packet in container.demux(stream) if packet.size]
        frames = [frame for packet in [*packets, None] for frame in context.decode(packet)]
    assert len(frames) == FRAMES
    for frame, (image, alpha) in zip(frames, clip, strict=True):
        rgba = frame.to_ndarray(format="rgba").astype(int)
        assert np.abs(rgba[..., 3] - np.rint(alpha * 255)).mean() < off
        solid = alpha == 1
        differences = (rgba[..., :3] - cut_out(image, alpha)[..., :3])[solid]
        # No shift of colours. VP9 has a quarter of them, which this fine pattern loses.
        assert np.abs(differences.mean(axis=0)).max() < max(1, off) and np.abs(differences).mean() < 4 * off + 1


def test_a_video_is_read_as_it_was_written(clip: list[tuple[Bytes, Floats]], tmp_path: Path) -> None:
    pytest.importorskip("av", reason="needs the extra video")
    with writer(tmp_path / "in.mov", Fraction(24)) as write:
        for image, _ in clip:
            write(image, np.ones((SIZE, SIZE), np.float32))
    frames, rate = read_frames(tmp_path / "in.mov")
    assert rate == 24
    for frame, (image, _) in zip(frames, clip, strict=True):
        assert frame.shape == image.shape and np.abs(frame.astype(int) - image).mean() < 3
    assert read_frames(tmp_path / "in.mov", Fraction(10))[1] == 10
    with pytest.raises(UserError, match=r"in.mov: expected at most 4095 pixels, got 64 x 64 .*--max-pixels 4096$"):
        read_frames(tmp_path / "in.mov", max_pixels=4095)
    (tmp_path / "text.mp4").write_text("text")
    with pytest.raises(UserError, match=r"text.mp4: expected a video"):
        read_frames(tmp_path / "text.mp4")


def test_an_interruption_leaves_no_half_video(
    here: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("av", reason="needs the extra video")
    original, count = Matter.matte, 0

    def matte(self: Matter, image: Any, trimap: Any) -> Any:
        nonlocal count
        count += 1
        if count == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(self, image, trimap)

    monkeypatch.setattr(Matter, "matte", matte)
    before = names()
    assert run("frames --trimap 0=key.png --out cutout.mov") == 130
    assert count == 2 and names() == before


def test_without_pyav_the_error_says_what_to_install(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r'pip install "cheapmatting\[video\]"; or use folders of frames'):
        read_frames(here / "key.png")
