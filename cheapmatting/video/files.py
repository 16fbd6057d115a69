"""Videos in files: read frame by frame, and written with alpha, by PyAV (extra `video`); or as folders of frames."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from atldas.common.atomic import atomic_path
from atldas.common.errors import UserError

from ..arrays import Bytes, Floats
from ..decoding import MAX_PIXELS, READABLE, require_size
from ..images import as_bytes, read_image, write_image
from ..inference.foreground import cut_out

BT709, LIMITED = 1, 1  # FFmpeg's numbers for the colours of HD video, and for levels of 16 to 235


class Codec(NamedTuple):
    """A video format with alpha: FFmpeg's encoder, its pixels and its options."""

    name: str
    pixels: str
    options: dict[str, str]


CODECS: dict[str, Codec] = {
    ".mov": Codec("prores_ks", "yuva444p10le", {"profile": "4444", "alpha_bits": "16", "vendor": "apl0"}),
    ".webm": Codec("libvpx-vp9", "yuva420p", {"crf": "18", "b": "0", "auto-alt-ref": "0", "cpu-used": "4"}),
}


class Sink(Protocol):
    """Takes the frames of a video, one after the other: uint8 RGB [H, W, 3] and float32 alpha [H, W]."""

    def __call__(self, image: Bytes, alpha: Floats) -> None: ...


def read_frames(
    source: Path, rate: Fraction | None = None, max_pixels: int = MAX_PIXELS
) -> tuple[Iterator[Bytes], Fraction]:
    """The frames of a video, uint8 RGB [H, W, 3], as they are asked for, and how many there are in a second.

    Args:
        source: a video file, or a folder of images, which are taken in the order of their names.
        rate: of a folder's frames (default: 25); of a video, replaces what the file says.
        max_pixels: larger frames are refused before they are decoded.

    Raises:
        UserError: it cannot be read, holds no frames, or PyAV is not installed.
    """
    if source.is_dir():
        paths = sorted(path for path in source.iterdir() if path.suffix.lower() in READABLE and path.name[0] != ".")
        if not paths:
            raise UserError(f"{source}: expected frames ({', '.join(READABLE)}), got a folder without")
        return (read_image(path, max_pixels) for path in paths), rate or Fraction(25)
    if not source.is_file():
        raise UserError(f"{source}: expected a video or a folder of frames, got none")
    av = _av(source)
    with _faults_named(av, source), av.open(str(source)) as container:
        if not container.streams.video:
            raise UserError(f"{source}: expected a video, got a file without one")
        stream = container.streams.video[0]
        require_size(str(source), stream.width, stream.height, max_pixels)
        found = Fraction(stream.average_rate or 25)
    return _decoded(av, source), rate or found


def _decoded(av: Any, source: Path) -> Iterator[Bytes]:
    with _faults_named(av, source), av.open(str(source)) as container:
        container.streams.video[0].thread_type = "AUTO"
        for frame in container.decode(video=0):
            upright = np.rot90(frame.to_ndarray(format="rgb24"), frame.rotation // 90)  # phones store it lying
            yield np.ascontiguousarray(upright)


def require_writable(out: Path, force: bool) -> None:
    """Check where a video is to be written, before there is something to write.

    Raises:
        UserError: a suffix that no codec has, PyAV is not installed, or something is there and `force` is not given.
    """
    if out.suffix and out.suffix.lower() not in CODECS:
        raise UserError(
            f"{out}: expected a folder, for PNG files, or a name that ends in {', '.join(CODECS)}, got {out.suffix}"
        )
    if out.suffix:
        _av(out)
    if not force and (out.is_file() or (out.is_dir() and any(out.iterdir()))):
        raise UserError(f"{out}: exists; replace it with --force, or name another")


@contextmanager
def writer(out: Path, rate: Fraction) -> Iterator[Sink]:
    """Where frames go: a folder gets alphas as grey PNG files (000000.png, ...), a video straight colours and alpha.

    A video appears whole or not at all. Every PNG file does, but an interrupted folder keeps those that are ready.

    Raises:
        UserError: it cannot be written.
    """
    if not out.suffix:
        yield _PngFiles(out)
        return
    av = _av(out)
    with atomic_path(out) as temporary, _faults_named(av, out), av.open(str(temporary), "w") as container:
        video = _Video(av, container, CODECS[out.suffix.lower()], rate)
        yield video
        video.end()


class _PngFiles:
    def __init__(self, folder: Path) -> None:
        self._folder, self._count = folder, 0

    def __call__(self, image: Bytes, alpha: Floats) -> None:
        write_image(self._folder / f"{self._count:06}.png", as_bytes(alpha))
        self._count += 1


class _Video:
    def __init__(self, av: Any, container: Any, codec: Codec, rate: Fraction) -> None:
        self._av, self._container, self._codec, self._rate = av, container, codec, rate
        self._stream: Any = None

    def __call__(self, image: Bytes, alpha: Floats) -> None:
        height, width = alpha.shape
        if self._stream is None:
            self._stream = self._container.add_stream(self._codec.name, self._rate, options=self._codec.options)
            self._stream.width, self._stream.height, self._stream.pix_fmt = width, height, self._codec.pixels
            context = self._stream.codec_context
            context.colorspace = context.color_primaries = context.color_trc = BT709
            context.color_range = LIMITED
        frame = self._av.VideoFrame.from_ndarray(cut_out(image, alpha), format="rgba")
        frame = frame.reformat(format=self._codec.pixels, dst_colorspace="ITU709")
        self._container.mux(self._stream.encode(frame))

    def end(self) -> None:
        """Write what the encoder still holds."""
        if self._stream is None:
            raise UserError("expected a video of one frame or more, got none")
        self._container.mux(self._stream.encode(None))


def _av(path: Path) -> Any:
    if importlib.util.find_spec("av") is None:
        raise UserError(
            f'{path}: expected PyAV to be installed: pip install "cheapmatting[video]"; or use folders of frames'
        )
    return importlib.import_module("av")  # an extra


@contextmanager
def _faults_named(av: Any, path: Path) -> Iterator[None]:
    try:
        yield
    except (av.FFmpegError, ValueError) as error:
        raise UserError(f"{path}: expected a video that can be read and written, got: {error}") from error
