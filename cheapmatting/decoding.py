"""Image files decoded: size from the header first, then pixels as they are stored, turned upright, and metadata.

Pillow reads everything but two kinds of files: colours of 16 bits, which it cuts to 8 (OpenCV reads them), and OpenEXR.
"""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile

from atldas.common.errors import UserError

from . import colours, exr

READABLE = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".avif")
# Pillow's names of the formats, and its modules for them; the content of a file decides, not its suffix.
FORMATS = {"PNG": "Png", "JPEG": "Jpeg", "WEBP": "WebP", "TIFF": "Tiff", "BMP": "Bmp", "AVIF": "Avif"}
MAX_PIXELS = 200_000_000  # a photograph of 200 megapixels; a decompression bomb has more
STANDARD_STREAM = "-"
ORIENTATION = 0x0112
# EXIF orientation -> what turns the stored pixels [H, W, C] upright.
TURNS: dict[int, Callable[[npt.NDArray[Any]], npt.NDArray[Any]]] = {
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: pixels[::-1, ::-1].swapaxes(0, 1),
    8: np.rot90,
}
QUARTER_TURNS = (5, 6, 7, 8)  # they swap width and height
# EXIF tags that describe the photograph; the others, such as a TIFF file's, say how the old file stores it.
DESCRIPTIVE = (0x010E, 0x010F, 0x0110, 0x0131, 0x0132, 0x013B, 0x8298, 0x8769, 0x8825, *range(0x9C9B, 0x9CA0))
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FileBytes:
    """A file that is in memory, such as an upload, and the name that errors give it."""

    name: str
    data: bytes

    def __str__(self) -> str:
        return self.name


Source: TypeAlias = str | Path | FileBytes  # a file, or `-` for standard input


class TooManyPixelsError(UserError):
    """An image is larger than the limit; nothing of it was decoded."""


class Metadata(NamedTuple):
    """What goes along with the pixels of a photograph into what is made of it.

    Attributes:
        icc: the profile of RGB colours; None means sRGB.
        exif: camera, time, place, without an orientation: the pixels are upright.
        dpi: pixels an inch, horizontal and vertical.
    """

    icc: bytes | None = None
    exif: bytes | None = None
    dpi: tuple[float, float] | None = None


class Picture(NamedTuple):
    """A decoded file.

    Attributes:
        pixels: [H, W, C], upright, of uint8, uint16, or float32 in 0..1 as OpenEXR and some TIFF files have it. C is 1
            for grey, 2 for grey and alpha, 3 for RGB, 4 for straight RGBA.
        turned: whether the EXIF orientation swapped width and height.
    """

    pixels: npt.NDArray[Any]
    metadata: Metadata
    turned: bool


def read_picture(
    source: Source,
    max_pixels: int = MAX_PIXELS,
    *,
    as_data: bool = False,
    check: Callable[[int, int], None] | None = None,
) -> Picture:
    """Decode a file.

    Args:
        max_pixels: a larger image is refused from its header, before anything is decoded.
        as_data: grey levels are alphas or a trimap: no colour profile changes them.
        check: called with the width and height of the header, which an EXIF orientation may still swap; what it raises
            is raised, and nothing is decoded.

    Raises:
        UserError: no such file, a folder, empty, damaged, not an image, too large, or of another depth.
    """
    name = name_of(source)
    with _stream(source) as stream:
        if stream.read(4) == exr.MAGIC:
            with _faults_named(name):
                width, height = exr.size(stream, name)
            require_size(name, width, height, max_pixels)
            if check:
                check(width, height)
            with _faults_named(name):
                return Picture(exr.read(stream, name), Metadata(), False)
        image = _opened(stream, name)
        require_size(name, *image.size, max_pixels)
        if check:
            check(*image.size)
        with _faults_named(name):
            return _decoded(image, stream, name, as_data)


def header_size(source: Source) -> tuple[int, int]:
    """Width and height by a file's header, which an EXIF orientation may still swap; nothing is decoded.

    Raises:
        UserError: the header cannot be read.
    """
    name = name_of(source)
    with _stream(source) as stream:
        if stream.read(4) == exr.MAGIC:
            with _faults_named(name):
                return exr.size(stream, name)
        return _opened(stream, name).size


def require_size(name: str, width: int, height: int, most: int) -> None:
    """Check the size that a header tells, before anything is decoded.

    Raises:
        UserError: no pixels.
        TooManyPixelsError: more than `most`.
    """
    if width < 1 or height < 1:
        raise UserError(f"{name}: expected an image, got a damaged file of {width} x {height} pixels")
    if width * height > most:
        raise TooManyPixelsError(
            f"{name}: expected at most {most} pixels, got {width} x {height} = {width * height}; if this is no "
            f"decompression bomb, raise the limit: --max-pixels {width * height}"
        )


def name_of(source: Source) -> str:
    """How an error names a source."""
    standard = not isinstance(source, FileBytes) and str(source) == STANDARD_STREAM
    return "standard input" if standard else str(source)


@contextmanager
def _stream(source: Source) -> Iterator[BinaryIO]:
    """The file, seekable and not empty."""
    with ExitStack() as closing:
        try:
            stream: BinaryIO = _file_in_memory(source) or closing.enter_context(Path(str(source)).open("rb"))
            stream = stream if stream.seekable() else io.BytesIO(stream.read())
        except OSError as error:
            raise UserError(f"{name_of(source)}: cannot be read ({error.strerror or error})") from error
        if not stream.read(1):
            raise UserError(f"{name_of(source)}: expected an image, got an empty file")
        stream.seek(0)
        yield stream


def _file_in_memory(source: Source) -> io.BytesIO | None:
    if isinstance(source, FileBytes):
        return io.BytesIO(source.data)
    return io.BytesIO(sys.stdin.buffer.read()) if str(source) == STANDARD_STREAM else None


def _opened(stream: BinaryIO, name: str) -> ImageFile.ImageFile:
    """The header. This is `Image.open` for our formats, without its limit: that one cannot be raised for one file."""
    stream.seek(0)
    start = stream.read(16)
    for kind, module in FORMATS.items():
        if kind not in Image.OPEN and find_spec(f"PIL.{module}ImagePlugin"):  # AVIF is new in Pillow 11.3
            import_module(f"PIL.{module}ImagePlugin")  # `Image.init` would import some forty others
        factory, accepts = Image.OPEN.get(kind, (None, None))
        if factory is None or accepts is None or accepts(start) not in (True, 1):
            continue
        stream.seek(0)
        with _faults_named(name):
            return factory(stream, "")
    raise UserError(f"{name}: expected an image ({', '.join(READABLE)}), got a damaged or other file")


@contextmanager
def _faults_named(name: str) -> Iterator[None]:
    """Whatever a decoder raises on a file from outside, and they raise nearly everything, as one clear error."""
    try:
        yield
    except UserError:
        raise
    except Image.DecompressionBombError as error:  # Pillow's reader of WebP keeps its own limit
        raise UserError(f"{name}: expected fewer pixels ({error})") from error
    except MemoryError as error:
        raise UserError(f"{name}: this machine has not the memory to decode it") from error
    except Exception as error:
        why = " ".join(str(error).split())[:120] or type(error).__name__
        raise UserError(
            f"{name}: expected an image ({', '.join(READABLE)}), got a damaged or other file ({why})"
        ) from error


def _decoded(image: ImageFile.ImageFile, stream: BinaryIO, name: str, as_data: bool) -> Picture:
    if image.format == "PNG":  # decoding alone finds neither changed bytes nor a missing end
        image.verify()
        image = _opened(stream, name)
    stored = getattr(image, "tag_v2", {}).get(ORIENTATION, 1)  # of a TIFF file, whose readers turn it themselves
    deep = not image.mode.startswith("I") and any(";16" in str(tile[3]) for tile in image.tile)
    if deep:  # Pillow keeps all bits of grey alone
        pixels, icc = _deep(stream, name), colours.rgb_profile(image, name)
    else:
        image.load()
        pixels, icc = colours.pixels(image, name, as_data)
    exif, orientation = _exif(image, name)
    if orientation in TURNS and not (deep and image.format == "TIFF"):
        pixels = TURNS[orientation](pixels)
    turned = stored in QUARTER_TURNS or orientation in QUARTER_TURNS
    return Picture(np.ascontiguousarray(pixels), Metadata(icc, exif, _dpi(image)), turned)


def _deep(stream: BinaryIO, name: str) -> npt.NDArray[Any]:
    """Colours of 16 bits: uint16 [H, W, C]; OpenCV turns TIFF files upright, and no others."""
    stream.seek(0)
    pixels = cv2.imdecode(np.frombuffer(stream.read(), np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint16:
        raise UserError(f"{name}: expected colours of 16 bits, got a damaged or other file")
    order = {3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGBA}
    return pixels[..., None] if pixels.ndim == 2 else cv2.cvtColor(pixels, order[pixels.shape[2]])


def _exif(image: Image.Image, name: str) -> tuple[bytes | None, int]:
    """What EXIF tells of the photograph, and the orientation that is still to be applied."""
    try:
        whole = image.getexif()
        orientation = whole.get(ORIENTATION, 1)
        kept = Image.Exif()
        kept.endian = whole.endian
        for tag in DESCRIPTIVE:
            if tag in whole:
                kept[tag] = whole.get_ifd(tag) if tag in (0x8769, 0x8825) else whole[tag]
        return (kept.tobytes() if len(kept) else None), orientation
    except Exception as error:  # Pillow raises nearly everything; the pixels are good, so the photograph is too
        log.warning("%s: its EXIF data cannot be read and are left out (%s)", name, error)
        return None, 1


def _dpi(image: Image.Image) -> tuple[float, float] | None:
    dpi = image.info.get("dpi")
    try:
        across, down = (float(value) for value in dpi) if dpi else (0.0, 0.0)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return (across, down) if 1 <= across <= 1e5 and 1 <= down <= 1e5 else None
