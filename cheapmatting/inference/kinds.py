"""Images and trimaps of every kind that Python programs have, as arrays; and alphas back as that kind."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from atldas.common.errors import UserError

from .. import colours
from ..arrays import Bytes, Floats
from ..images import as_bytes, read_photograph, rgb
from ..rough_trimap import fitted, mended
from .pair import read_fitted_trimap

Picture: TypeAlias = str | Path | Image.Image | npt.NDArray[Any] | Tensor
DEPTHS = "uint8, uint16 or floats in 0..1"
ROUNDING = 1e-3  # how far floats may leave 0..1: what interpolation and half precision do


def as_pairs(image: Picture, trimap: Picture) -> list[tuple[Bytes, Bytes]]:
    """The images, uint8 RGB [H, W, 3], and their mended trimaps, uint8 [H, W]; several for a batch.

    Raises:
        UserError: see `Matter.matte`.
    """
    if isinstance(image, str | Path):
        pixels, _, turned = read_photograph(image)
        images, name = [pixels], str(image)
    else:
        images, turned, name = _images(image), False, "the image"
    height, width = images[0].shape[:2]
    if isinstance(trimap, str | Path):
        trimaps = [read_fitted_trimap(trimap, width, height, name, turned)]
    else:
        trimaps = [fitted(mended(levels, "trimap"), "trimap", width, height, name) for levels in _trimaps(trimap)]
    if len(trimaps) != len(images):
        raise UserError(f"trimap: expected one for each of the {len(images)} images, got {len(trimaps)}")
    return list(zip(images, trimaps, strict=True))


def like(image: Picture, alphas: Sequence[Floats]) -> Any:
    """Alphas, float32 [H, W] each, as the kind of the image (see `Matter.matte`)."""
    if isinstance(image, Image.Image):
        return Image.fromarray(as_bytes(alphas[0]))
    if isinstance(image, Tensor):
        stacked = torch.from_numpy(np.stack(alphas))[:, None]  # [N, 1, H, W]
        dtype = image.dtype if image.is_floating_point() else torch.float32
        return (stacked if image.ndim == 4 else stacked[0]).to(image.device, dtype)
    return np.stack(alphas) if isinstance(image, np.ndarray) and image.ndim == 4 else alphas[0]


def _images(image: Image.Image | npt.NDArray[Any] | Tensor) -> list[Bytes]:
    if isinstance(image, Image.Image):
        return [rgb(as_bytes(colours.pixels(image, "image")[0]))]
    array, shape = _array(image, "image"), "[3, H, W] or [N, 3, H, W]" if isinstance(image, Tensor) else "[H, W, 3]"
    if isinstance(image, Tensor) and array.ndim in (3, 4):
        array = np.moveaxis(array, -3, -1)
    if array.ndim not in (3, 4) or array.shape[-1] != 3 or array.size == 0:
        raise UserError(f"image: expected RGB {shape} of {DEPTHS}, got {image.dtype} {list(image.shape)}")
    batch = array if array.ndim == 4 else array[None]
    return [_levels(one, "image") for one in batch]


def _trimaps(trimap: Image.Image | npt.NDArray[Any] | Tensor) -> list[npt.NDArray[Any]]:
    """[H, W, C] each, of their own depth."""
    if isinstance(trimap, Image.Image):
        return [colours.pixels(trimap, "trimap", as_data=True)[0]]
    array = _array(trimap, "trimap")
    if isinstance(trimap, Tensor) and array.ndim > 2 and array.shape[-3] == 1:  # [1, H, W] or [N, 1, H, W]
        array = array[..., 0, :, :]
    if array.ndim not in (2, 3) or array.size == 0:
        raise UserError(f"trimap: expected [H, W] of {DEPTHS}, got {trimap.dtype} {list(trimap.shape)}")
    batch = array if array.ndim == 3 else array[None]
    return [(one if one.dtype.kind == "u" else _floats(one, "trimap"))[..., None] for one in batch]


def _array(given: npt.NDArray[Any] | Tensor, name: str) -> npt.NDArray[Any]:
    """As a NumPy array, of a depth that says what 1 means."""
    if not isinstance(given, Tensor | np.ndarray):
        raise UserError(f"{name}: expected a path, a PIL image, an array or a tensor, got {type(given).__name__}")
    if isinstance(given, Tensor):
        given = given.detach().cpu()
        given = (given.float() if given.is_floating_point() else given).numpy()
    if given.dtype not in (np.uint8, np.uint16) and given.dtype.kind != "f":
        raise UserError(f"{name}: expected {DEPTHS}, got {given.dtype} {list(given.shape)}")
    return given


def _levels(array: npt.NDArray[Any], name: str) -> Bytes:
    return as_bytes(array if array.dtype.kind == "u" else _floats(array, name))


def _floats(array: npt.NDArray[Any], name: str) -> Floats:
    low, high = float(array.min()), float(array.max())
    if not (low >= -ROUNDING and high <= 1 + ROUNDING):  # also where one is NaN
        raise UserError(f"{name}: expected floats in 0..1, got {low:g} to {high:g}; divide levels by 255")
    return array.astype(np.float32)
