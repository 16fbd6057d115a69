"""A photograph and its trimap, read together: the trimap is mended, and fits."""

from __future__ import annotations

from atldas.common.errors import UserError

from ..arrays import Bytes
from ..decoding import MAX_PIXELS, STANDARD_STREAM, Source, name_of, read_picture
from ..images import read_photograph
from ..rough_trimap import fitted, mended, same_aspect


def read_pair(image: Source, trimap: Source, max_pixels: int = MAX_PIXELS) -> tuple[Bytes, Bytes]:
    """A photograph, uint8 RGB [H, W, 3], and its trimap, uint8 [H, W] of 0, 128 and 255.

    Raises:
        UserError: a file that cannot be read, or an aspect of the trimap that is not the photograph's.
    """
    require_one_stream(image, trimap)
    pixels, _, turned = read_photograph(image, max_pixels)
    height, width = pixels.shape[:2]
    return pixels, read_fitted_trimap(trimap, width, height, name_of(image), turned, max_pixels)


def require_one_stream(*sources: Source) -> None:
    """Check that at most one of them is standard input.

    Raises:
        UserError: several are.
    """
    if sum(str(source) == STANDARD_STREAM for source in sources) > 1:
        raise UserError("-: expected one file from standard input, got two; give the other one's name")


def read_fitted_trimap(
    trimap: Source, width: int, height: int, of: str, turned: bool, max_pixels: int = MAX_PIXELS
) -> Bytes:
    """A trimap for an image of that size: uint8 [H, W] of 0, 128 and 255.

    Its size is compared before it is decoded.

    Args:
        of: the name of the image.
        turned: whether the image's EXIF orientation swapped its sides.

    Raises:
        UserError: the file cannot be read, is no trimap, or has another aspect than the image.
    """
    name = name_of(trimap)

    def check_header(wide: int, tall: int) -> None:
        if not (same_aspect(wide, tall, width, height) or same_aspect(tall, wide, width, height)):
            raise UserError(f"{name}: expected {width} x {height} pixels, as {of} has, got {wide} x {tall}")

    pixels = read_picture(trimap, max_pixels, as_data=True, check=check_header).pixels
    tall, wide = pixels.shape[:2]
    if turned and not same_aspect(wide, tall, width, height):
        raise UserError(
            f"{name}: expected {width} x {height} pixels, got {wide} x {tall}: {of} lies on its side, and its EXIF "
            f"orientation turns it upright, but not this trimap; make the trimap from the upright image"
        )
    return fitted(mended(pixels, name), name, width, height, of)
