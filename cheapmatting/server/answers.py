"""From uploaded files to the file that answers them. All of it runs in the thread that computes."""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable

import numpy as np

from atldas.common.errors import UserError

from ..arrays import Bytes, Floats
from ..decoding import FileBytes, Metadata, header_size
from ..images import encoded, read_alpha, read_photograph, require_writable_suffix
from ..inference.files import covering, memory_faults_named, result_of
from ..inference.matte import VIEWS, Matter
from ..inference.pair import read_fitted_trimap
from ..inference.regions import REGIONS
from ..masks.grabcut import Rectangle, grab_cut
from ..masks.trimap_from_mask import fitted, trimap_from_mask
from .parameters import Fields
from .work_queue import ALONE, Answer, Kind, Ready, Work

# The fields of each form: files, texts, texts that may be given more than once.
MATTE_FILES = ("image", "trimap", "mask", "background")
MATTE_TEXTS = ("result", "format", "bits", "views", "region", "width", "background")
TRIMAP_FILES = ("mask", "image")
TRIMAP_TEXTS = ("width", "rectangle")
TRIMAP_REPEATED = ("inside", "outside")

RESULT_NAMES = ("cutout", "alpha", "foreground", "premultiplied", "composite")
MEDIA_TYPES = {"png": "image/png", "webp": "image/webp", "tiff": "image/tiff", "jpeg": "image/jpeg"}
FORMATS = tuple(MEDIA_TYPES)


def matte_work(matter: Matter, fields: Fields, max_pixels: int, called: Callable[[int], None]) -> Work:
    """The work of `/v1/matte`; what can be checked without decoding is checked at once.

    Args:
        called: told how many images a call of the network computed.

    Raises:
        UserError: fields that cannot be used; the work itself raises it for files that cannot.
    """
    result = fields.choice("result", RESULT_NAMES, "cutout")
    format_ = fields.choice("format", FORMATS, "png")
    bits = int(fields.choice("bits", ("8", "16"), "8"))
    if bits == 16 and result != "alpha":
        raise UserError(f"bits: expected 8 for {result}; colours have 8 bits")
    if (result == "composite") != ("background" in fields.files or "background" in fields.texts):
        raise UserError("background: expected with result=composite, a colour or an image, and only then")
    require_writable_suffix(f"format.{format_}", alpha=result in ("cutout", "premultiplied"), bits=bits)
    image, (trimap, is_mask) = fields.file("image"), _trimap_or_mask(fields)
    width = fields.width()
    if "width" in fields.texts and not is_mask:
        raise UserError("width: expected a mask beside it; a trimap has its width already")
    views, region = fields.choice("views", ("1", "2", "4"), "1"), fields.choice("region", REGIONS, matter.region)
    own = _with_options(matter, int(views), region)
    colour = fields.colour("background") if "background" in fields.texts else None
    picture = fields.files.get("background")

    def key(*size: int) -> Hashable:
        return "matte", size, own.views, own.region

    def kind() -> Kind:
        width, height = header_size(image)
        return Kind(key(height, width), own.together(height, width))

    def compute(pairs: list[tuple[Bytes, Bytes]]) -> list[Floats]:
        with memory_faults_named(image):
            images, trimaps = zip(*pairs, strict=True)
            together = len(pairs) > 1
            alphas = own.matte(np.stack(images), np.stack(trimaps)) if together else [own.matte(*pairs[0])]
        called(len(pairs))
        return list(alphas)

    def prepare() -> Ready:
        pixels, metadata, turned = read_photograph(image, max_pixels)
        tall, wide = pixels.shape[:2]
        if is_mask:
            mask = fitted(read_alpha(trimap, max_pixels), tall, wide, "mask")
            known = trimap_from_mask(mask, width)
        else:
            known = read_fitted_trimap(trimap, wide, tall, "image", turned, max_pixels)

        def behind() -> Bytes:
            return covering(picture, tall, wide, metadata, max_pixels) if picture else np.array([[colour]], np.uint8)

        def finish(alpha: Floats) -> Answer:
            array = result_of(result, pixels, alpha, bits, behind)
            return encoded(f"result.{format_}", array, metadata), MEDIA_TYPES[format_]

        return Ready(key(tall, wide), (pixels, known), compute, finish)

    return Work(kind, prepare)


def trimap_work(fields: Fields, max_pixels: int) -> Work:
    """The work of `/v1/trimap`, as `matte_work`; each is computed alone."""
    width, rectangles = fields.width(), fields.numbers("rectangle", 4)
    inside, outside = ([(x, y) for x, y in fields.numbers(name, 2)] for name in ("inside", "outside"))
    marked = bool(rectangles or inside or outside)
    if marked == ("mask" in fields.files) or marked != ("image" in fields.files):
        raise UserError("expected a mask, or an image and marks (rectangle, inside, outside)")
    file = fields.file("image" if marked else "mask")

    def trimap() -> Answer:
        if marked:
            rectangle = Rectangle(*rectangles[0]) if rectangles else None
            mask = grab_cut(read_photograph(file, max_pixels)[0], rectangle, inside, outside)
        else:
            mask = read_alpha(file, max_pixels)
        return encoded("trimap.png", trimap_from_mask(mask, width), Metadata()), MEDIA_TYPES["png"]

    return Work(lambda: ALONE, lambda: Ready(None, None, lambda _: [trimap()], lambda answer: answer))


def _trimap_or_mask(fields: Fields) -> tuple[FileBytes, bool]:
    given = [name for name in ("trimap", "mask") if name in fields.files]
    if len(given) != 1:
        raise UserError(f"expected one of trimap and mask, got {len(given) or 'none'}")
    return fields.files[given[0]], given == ["mask"]


def _with_options(matter: Matter, views: int, region: str) -> Matter:
    """The same network and engine with a request's own options."""
    own = copy.copy(matter)
    own.views = VIEWS[:views]
    own.region = region
    return own
