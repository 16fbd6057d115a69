"""What Pillow decodes, as arrays of grey or RGB: palettes, CMYK, LAB, profiles of other colours than RGB."""

from __future__ import annotations

import io
import logging
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms

from atldas.common.errors import UserError

from .arrays import Bytes

log = logging.getLogger(__name__)
# Modes of Pillow that are arrays as they stand; others become one of them.
PLAIN = ("L", "LA", "RGB", "RGBA")
CONVERTED = {"1": "L", "PA": "RGBA", "La": "LA", "RGBa": "RGBA", "RGBX": "RGB", "YCbCr": "RGB", "HSV": "RGB"}


def pixels(image: Image.Image, name: str, as_data: bool = False) -> tuple[npt.NDArray[Any], bytes | None]:
    """A loaded image as uint8, uint16 or float32 [H, W, C], and the profile of its RGB colours (None: sRGB).

    CMYK, LAB and grey become sRGB by their profile; CMYK without one by Pillow's plain formula.

    Args:
        as_data: grey levels stay as they are.

    Raises:
        UserError: integers of 32 bits that do not fit into 16.
    """
    if image.mode.startswith("I"):
        return _deep_grey(image, name)[..., None], None
    if image.mode == "F":
        return np.asarray(image, np.float32)[..., None], None
    if image.mode == "P" or (image.mode in ("L", "RGB") and "transparency" in image.info):
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    elif image.mode in CONVERTED:
        image = image.convert(CONVERTED[image.mode])
    profile = _profile(image, name)
    space = profile.profile.xcolor_space.strip() if profile else ""
    if image.mode == "LAB":
        image = _to_srgb(image, ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")))
    elif image.mode == "CMYK":
        image = _to_srgb(image, profile) if profile and space == "CMYK" else image.convert("RGB")
    elif image.mode == "L" and profile and space == "GRAY" and not as_data:
        image = _to_srgb(image, profile)
    if image.mode not in PLAIN:
        raise UserError(f"{name}: expected grey, RGB, CMYK or LAB pixels, got the mode {image.mode}")
    array = np.array(image)  # a copy that may be written to
    icc = image.info.get("icc_profile") if space == "RGB" and image.mode in ("RGB", "RGBA") else None
    return (array if array.ndim == 3 else array[..., None]), icc


def rgb_profile(image: Image.Image, name: str) -> bytes | None:
    """The bytes of an image's profile, if it describes RGB colours."""
    profile = _profile(image, name)
    described = profile is not None and profile.profile.xcolor_space.strip() == "RGB"
    return image.info["icc_profile"] if described else None


def between_profiles(rgb: Bytes, old: bytes | None, new: bytes | None) -> Bytes:
    """uint8 RGB [H, W, 3] of one profile in another's values; None is sRGB."""
    if old == new:
        return rgb
    before, after = (ImageCms.ImageCmsProfile(io.BytesIO(icc)) if icc else _srgb() for icc in (old, new))
    converted = ImageCms.profileToProfile(Image.fromarray(rgb), before, after)
    return np.array(converted)


def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


def _profile(image: Image.Image, name: str) -> ImageCms.ImageCmsProfile | None:
    data = image.info.get("icc_profile")
    if not data:
        return None
    try:
        return ImageCms.ImageCmsProfile(io.BytesIO(data))
    except (OSError, ImageCms.PyCMSError) as error:
        log.warning("%s: its colour profile cannot be read, so that its colours are taken as sRGB (%s)", name, error)
        return None


def _to_srgb(image: Image.Image, profile: ImageCms.ImageCmsProfile) -> Image.Image:
    converted = ImageCms.profileToProfile(image, profile, _srgb(), outputMode="RGB")
    assert converted is not None  # only with inPlace=True
    converted.info.pop("icc_profile", None)
    return converted


def _deep_grey(image: Image.Image, name: str) -> npt.NDArray[np.uint16]:
    levels = np.asarray(image)
    if levels.min() < 0 or levels.max() > 65535:
        raise UserError(f"{name}: expected 8 or 16 bits per channel, got levels from {levels.min()} to {levels.max()}")
    return levels.astype(np.uint16)
