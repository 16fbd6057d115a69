"""From files to files: a photograph and a trimap in, the cut-out or what else is asked for out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt
from PIL import ImageColor

from atldas.common import atomic
from atldas.common.errors import UserError

from .. import colours, exr
from ..arrays import Bytes, Floats
from ..decoding import MAX_PIXELS, STANDARD_STREAM, Metadata, Source, name_of
from ..images import as_bytes, read_photograph, require_writable_suffix, suffix_of, write_image
from .foreground import cut_out, laid_on, premultiplied
from .matte import Matter
from .pair import read_fitted_trimap, require_one_stream

# What may be made of a straight cut-out, uint8 RGBA [H, W, 4]; `alpha` and `composite` need more than that.
RESULTS: dict[str, Callable[[Bytes], Bytes]] = {
    "cutout": lambda cutout: cutout,
    "premultiplied": premultiplied,
    "foreground": lambda cutout: np.ascontiguousarray(cutout[..., :3]),
}


@dataclass(frozen=True)
class Wanted:
    """What is written.

    Attributes:
        what: a key of `RESULTS`, `alpha` or `composite`.
        background: a colour, or the file of an image, for `composite`.
        bits: of `alpha`: 8 or 16. OpenEXR has 32 whatever is said here.
        force: whether a file that exists is replaced.
        max_pixels: larger files are refused.
    """

    what: str = "cutout"
    background: str = ""
    bits: int = 8
    force: bool = False
    max_pixels: int = MAX_PIXELS


# A trimap's file, or what makes the trimap, uint8 [H, W], of an image uint8 RGB [H, W, 3].
TrimapSource: TypeAlias = Path | Callable[[Bytes], Bytes]


def matte_files(matter: Matter, image: Path, trimap: TrimapSource, output: Path, wanted: Wanted = Wanted()) -> None:
    """Read an image and a trimap, write what is wanted, with the image's profile, EXIF data and resolution.

    Raises:
        UserError: a file that cannot be read or written, a trimap that does not fit, or too little memory.
    """
    files = [image, trimap] if isinstance(trimap, Path) else [image]
    require_one_stream(*files)
    require_free(output, wanted, *files)
    with memory_faults_named(image):
        pixels, metadata, turned = read_photograph(image, wanted.max_pixels)
        height, width = pixels.shape[:2]
        if isinstance(trimap, Path):
            known = read_fitted_trimap(trimap, width, height, name_of(image), turned, wanted.max_pixels)
        else:
            known = trimap(pixels)
        write_result(output, pixels, matter.matte(pixels, known), metadata, wanted)


def require_free(output: Path, wanted: Wanted, *inputs: Path) -> None:
    """Check, before anything is computed, that the result may and can be written.

    Raises:
        UserError: the output is an input, a folder, a file that exists without `force`, or of a format that cannot hold
            what is wanted; or the background cannot be read.
    """
    if wanted.bits == 16 and wanted.what != "alpha":
        raise UserError("--bits 16: expected --alpha beside it: colours have 8 bits")
    if wanted.what == "composite":
        read_background(wanted, 1, 1, Metadata())
    if str(output) != STANDARD_STREAM:
        if output.resolve() in [path.resolve() for path in inputs]:
            raise UserError(f"{output}: expected another file than the input; name one with -o")
        atomic.require_free(output, wanted.force, "-o")
    require_writable_suffix(output, alpha=wanted.what in ("cutout", "premultiplied"), bits=_bits(output, wanted))


def write_result(output: Path, pixels: Bytes, alpha: Floats, metadata: Metadata, wanted: Wanted) -> None:
    """Write what is wanted of an image, uint8 RGB [H, W, 3], with its alpha, float32 [H, W].

    Raises:
        UserError: the place cannot be written, or the background cannot be read.
    """
    (height, width), bits = alpha.shape, _bits(output, wanted)
    array = result_of(wanted.what, pixels, alpha, bits, lambda: read_background(wanted, height, width, metadata))
    write_image(output, array, metadata)


def _bits(output: Path, wanted: Wanted) -> int:
    """Of a channel; OpenEXR has 32 whatever is asked for."""
    return 32 if suffix_of(output) == exr.SUFFIX and wanted.what == "alpha" else wanted.bits


def result_of(what: str, pixels: Bytes, alpha: Floats, bits: int, background: Callable[[], Bytes]) -> npt.NDArray[Any]:
    """What is made of an image, uint8 RGB [H, W, 3], and its alpha, float32 [H, W].

    Args:
        what: as `Wanted.what`.
        bits: of `alpha`: 8, 16 or 32.
        background: gives that of `composite`, uint8 RGB [H, W, 3] or [1, 1, 3].
    """
    if what == "alpha":
        depths = {8: as_bytes, 16: lambda levels: np.rint(levels * 65535).astype(np.uint16), 32: lambda levels: levels}
        return depths[bits](alpha)
    cutout = cut_out(pixels, alpha)
    return laid_on(cutout, background()) if what == "composite" else RESULTS[what](cutout)


def read_background(wanted: Wanted, height: int, width: int, metadata: Metadata) -> Bytes:
    """The background as uint8 RGB [H, W, 3], or a colour [1, 1, 3]: an image covers the size, and loses its margins.

    Raises:
        UserError: neither a file that can be read nor a colour.
    """
    if not Path(wanted.background).is_file():
        try:
            colour = ImageColor.getrgb(wanted.background)
        except ValueError as error:
            raise UserError(
                f"--background: expected a colour (white, #30a040) or the file of an image, got {wanted.background}"
            ) from error
        return np.array(colour[:3], np.uint8)[None, None]
    return covering(wanted.background, height, width, metadata, wanted.max_pixels)


def covering(source: Source, height: int, width: int, metadata: Metadata, max_pixels: int = MAX_PIXELS) -> Bytes:
    """An image that covers the size and loses its margins, uint8 RGB [H, W, 3] in the colours of `metadata`.

    Raises:
        UserError: it cannot be read.
    """
    pixels, described, _ = read_photograph(source, max_pixels)
    pixels = colours.between_profiles(pixels, described.icc, metadata.icc)
    scale = max(height / pixels.shape[0], width / pixels.shape[1])
    size = max(width, round(pixels.shape[1] * scale)), max(height, round(pixels.shape[0] * scale))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    large = np.asarray(cv2.resize(pixels, size, interpolation=how), np.uint8)
    top, left = (large.shape[0] - height) // 2, (large.shape[1] - width) // 2
    return large[top : top + height, left : left + width]


@contextmanager
def memory_faults_named(image: Source) -> Iterator[None]:
    """Too little memory as a UserError: of NumPy it is MemoryError, of PyTorch RuntimeError, of OpenCV its own."""
    try:
        yield
    except (MemoryError, RuntimeError, cv2.error) as error:
        if not isinstance(error, MemoryError) and "memory" not in str(error).lower():
            raise
        raise UserError(
            f"{name_of(image)}: this machine has not the memory to matte it whole; bound it with --max-memory, such as "
            f"--max-memory 2GiB"
        ) from error
