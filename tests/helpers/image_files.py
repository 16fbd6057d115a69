"""Image files in memory, as cameras and other programs write them."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image, ImageCms

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "AVIF")


def encoded(array: np.ndarray | Image.Image, kind: str, **options: Any) -> bytes:
    """An array, or a PIL image, as a file of Pillow's format `kind`; WebP without loss."""
    image = array if isinstance(array, Image.Image) else Image.fromarray(array)
    buffer = io.BytesIO()
    image.save(buffer, kind, **{"lossless": True, **options} if kind == "WEBP" else options)
    return buffer.getvalue()


def exif(orientation: int = 1, make: str = "") -> bytes:
    """EXIF data with an orientation and the camera's maker."""
    tags = Image.Exif()
    tags[0x0112] = orientation
    if make:
        tags[0x010F] = make
    return tags.tobytes()


def with_chunk(png: bytes, name: bytes, data: bytes) -> bytes:
    """A PNG file with one more chunk after its header."""
    return png[:33] + chunk(name, data) + png[33:]


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def bomb(kind: str, width: int, height: int) -> bytes:
    """A file of a few bytes whose header promises that many pixels."""
    if kind == "PNG":
        header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
        data = chunk(b"IDAT", zlib.compress(bytes(99)))
        return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + data + chunk(b"IEND", b"")
    small = bytearray(encoded(np.zeros((16, 16, 3), np.uint8), kind))
    if kind == "BMP":
        small[18:26] = struct.pack("<ii", width, height)
    elif kind == "JPEG":
        start = small.index(b"\xff\xc0") + 5
        small[start : start + 4] = struct.pack(">HH", height, width)
    elif kind == "TIFF":
        for tag, value in ((256, width), (257, height)):
            start = small.index(struct.pack("<HHI", tag, 4, 1)) + 8
            small[start : start + 4] = struct.pack("<I", value)
    else:
        raise ValueError(kind)
    return bytes(small)
