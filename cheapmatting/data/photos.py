"""Backgrounds from files: random crops of the photographs in a folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..arrays import Floats, Rng
from ..images import read_image
from .cutouts import SMALLEST_RATIO, resized_square
from .image_folder import ImageFolder
from .lru_cache import LRUCache


class PhotoBackgrounds:
    """Random square crops of the photographs in a folder and below it; callable like the procedural backgrounds.

    Args:
        folder, include, exclude, cache: see `ImageFolder`.

    Raises:
        UserError: a folder without images; when called, one without any usable image.
    """

    def __init__(
        self,
        folder: str | Path,
        include: str | Path | None = None,
        exclude: str | Path | None = None,
        cache: LRUCache | None = None,
    ) -> None:
        self.photos = ImageFolder(folder, read_image, include, exclude, cache)

    def __call__(self, size: int, rng: Rng) -> Floats:
        """Half to all of a photograph's shorter side, perhaps mirrored: float32 RGB [size, size, 3] in 0..1."""
        photo = self.photos.pick(rng)
        shorter = min(photo.shape[:2])
        side = max(int(shorter * rng.uniform(0.5, 1)), min(shorter, int(size * SMALLEST_RATIO)))
        top, left = (int(rng.integers(length - side + 1)) for length in photo.shape[:2])
        crop = resized_square(photo[top : top + side, left : left + side], size)
        if rng.random() < 0.5:
            crop = crop[:, ::-1]
        return np.ascontiguousarray(crop)
