"""Pairs from ready composites, or photographs, whose alpha is known and whose layers are not."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from atldas.common.errors import UserError

from ..arrays import Bytes, Floats, Rng
from ..images import read_alpha, read_image, require_same_size
from ..trimap import BACKGROUND, FOREGROUND, TOLERANCE, UNKNOWN, make_trimap, read_trimap
from .augment import TRIMAP, AugmentConfig, augmented
from .chance import happens
from .cutouts import SMALLEST_RATIO, matched
from .geometry import GeometryConfig, Matrix, moved, random_interpolation, random_turn, reach, seen, seen_part, view
from .image_folder import ImageFolder, image_files
from .lru_cache import LRUCache
from .sample import Sample

log = logging.getLogger(__name__)
MIRRORED = cv2.BORDER_REFLECT_101
UPRIGHT = GeometryConfig(mirror=0.5, upside_down=0.0, affine=0.0)
# The image, its alpha and, if there are files of them, its trimap: uint8 [H, W, 3], [H, W], [H, W].
Photograph = tuple[Bytes, Bytes] | tuple[Bytes, Bytes, Bytes]


class ComposedSource:
    """Crops of images around an unknown pixel, with their alpha and trimap: `merged/`, `alpha/` and `trimaps/`.

    Files belong together by name (see `cutouts.matched`). Since the layers are unknown, foreground and background of a
    sample are both the image (see `Sample`), nothing is combined, and of the augmentation only what changes the whole
    picture is done. Where a view reaches over the image's border, the image is mirrored.

    Args:
        images, alphas: the folders. Images without an alpha are left out with a warning.
        trimaps: a folder of trimaps; without it they are drawn for the crops. Images without one are left out. A known
            pixel that contradicts alpha after resampling becomes unknown.
        size, seed, augment: as for `LayeredSource`.
        include, exclude, cache: as for `ImageFolder`, for the images.

    Raises:
        UserError: a folder without images, or no image with all that belongs to it; on indexing, none that can be used.
    """

    def __init__(
        self,
        images: str | Path,
        alphas: str | Path,
        trimaps: str | Path | None,
        size: int,
        seed: int,
        augment: AugmentConfig,
        include: str | Path | None = None,
        exclude: str | Path | None = None,
        cache: LRUCache | None = None,
    ) -> None:
        if trimaps is not None:
            augment = replace(augment, order=tuple(name for name in augment.order if name != TRIMAP))
        self.size, self.seed, self.augment = size, seed, augment
        paths = image_files(images)
        partners = [matched(paths, Path(images), Path(folder))[0] for folder in (alphas, trimaps) if folder is not None]
        read = partial(read_photograph, partners[0], partners[1] if trimaps is not None else None)
        self.images = ImageFolder(images, read, include, exclude, cache)
        complete = [path for path in self.images.paths if all(path in partner for partner in partners)]
        wanted = f"an alpha in {alphas}" + (f" and a trimap in {trimaps}" if trimaps is not None else "")
        missing = sorted(set(self.images.paths) - set(complete))
        if not complete:
            raise UserError(
                f"{images}: expected images that have {wanted}, of the same name up to the suffix, got none "
                f"(the first: {missing[0].name})"
            )
        if missing:
            names = ", ".join(path.name for path in missing[:3])
            log.warning("%s: %d images lack %s: %s", images, len(missing), wanted, names)
        self.images.paths = complete

    def __getitem__(self, index: int) -> Sample:
        rng = np.random.default_rng([self.seed, index])
        image, alpha, *given = self.images.pick(rng)
        trimap = given[0] if given else make_trimap(alpha * np.float32(1 / 255), 2, 2)
        image_view, alpha_view, trimap_view = self._crop(image, alpha, trimap, self.augment.geometry, rng)
        if not (trimap_view == UNKNOWN).any():  # the pixel fell beside a turned view
            image_view, alpha_view, trimap_view = self._crop(image, alpha, trimap, UPRIGHT, rng)
        return augmented(Sample.of_image(image_view, alpha_view, trimap_view), rng, self.augment)

    def _crop(
        self, image: Bytes, alpha: Bytes, trimap: Bytes, geometry: GeometryConfig, rng: Rng
    ) -> tuple[Floats, Floats, Bytes]:
        """The three seen alike: float32 [size, size, 3], float32 [size, size] and uint8 [size, size]."""
        size = self.size
        places = np.flatnonzero(trimap == UNKNOWN)
        row, column = divmod(int(places[rng.integers(places.size)]), alpha.shape[1])
        matrix = self._view((column, row), alpha.shape, geometry, rng)
        rows, columns = seen_part(matrix, size, alpha.shape)
        matrix, interpolation = moved(matrix, rows, columns), random_interpolation(rng)
        image_view, alpha_view = (
            np.clip(seen(part[rows, columns] * np.float32(1 / 255), matrix, size, interpolation, MIRRORED), 0, 1)
            for part in (image, alpha)
        )
        trimap_view = cv2.warpAffine(
            trimap[rows, columns],
            matrix,
            (size, size),
            flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP,
            borderMode=MIRRORED,
        )
        return image_view, alpha_view, without_contradictions(np.asarray(trimap_view, np.uint8), alpha_view)

    def _view(self, at: tuple[int, int], shape: tuple[int, ...], geometry: GeometryConfig, rng: Rng) -> Matrix:
        """A random view of a picture [H, W] that has the pixel `at` (x, y) in it or, if turned, close by."""
        size = self.size
        turn, zoom = random_turn(rng, geometry)
        halves = reach(turn, 1.0, size)
        # The coarsest scale at which all of the view is inside the picture.
        whole = max(min(n / (2 * half) for n, half in zip(shape[::-1], halves, strict=True)), SMALLEST_RATIO)
        scale = whole
        if not happens(rng, geometry.whole):
            scale = geometry.crop_scales[rng.integers(len(geometry.crop_scales))] / zoom
        scale = float(np.clip(scale, SMALLEST_RATIO, whole))
        centre = [
            float(np.clip(place + rng.uniform(-0.5, 0.5) * half, half, max(half, length - half)))
            for place, half, length in zip(at, reach(turn, scale, size), shape[::-1], strict=True)
        ]
        return view(turn, scale, (centre[0], centre[1]), size)


def without_contradictions(trimap: Bytes, alpha: Floats) -> Bytes:
    """The trimap [H, W] with those known pixels made unknown whose alpha is not what they say."""
    wrong = ((trimap == FOREGROUND) & (alpha < 1 - TOLERANCE)) | ((trimap == BACKGROUND) & (alpha > TOLERANCE))
    return np.where(wrong, np.uint8(UNKNOWN), trimap)


def read_photograph(alphas: Mapping[Path, Path], trimaps: Mapping[Path, Path] | None, path: Path) -> Photograph:
    """An image with its alpha and, where `trimaps` are given, its trimap.

    Raises:
        UserError: one cannot be read, they differ in size, or nothing is unknown.
    """
    image, alpha = read_image(path), read_alpha(alphas[path])
    require_same_size(alphas[path], alpha, path, image)
    photograph: Photograph = (image, alpha)
    unknown = alpha != alpha.flat[0]
    if trimaps is not None:
        trimap = read_trimap(trimaps[path])
        require_same_size(trimaps[path], trimap, path, image)
        photograph, unknown = (image, alpha, trimap), trimap == UNKNOWN
    if not unknown.any():
        raise UserError(f"{path}: expected an edge or something translucent, but nothing in it is unknown")
    return photograph
