"""Foregrounds from files: RGBA cut-outs, or a colour image and an alpha image for each.

Either way a cut-out is one uint8 RGBA array [H, W, 4] of straight colours. `Cutouts` is such a folder as a foreground
like the procedural ones: a function of the picture's side and a random generator.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from atldas.common.errors import UserError

from ..arrays import Bytes, Floats, Rng
from ..drawing.compositing import straight
from ..images import read_alpha, read_image, read_rgba, require_same_size
from .chance import happens
from .geometry import (
    GeometryConfig,
    edge_pixel,
    middle_near,
    moved,
    random_interpolation,
    random_turn,
    reach,
    seen,
    seen_part,
    view,
)
from .image_folder import ImageFolder, image_files
from .lru_cache import LRUCache

log = logging.getLogger(__name__)
# Cut-outs and photographs are enlarged by at most 1.5; beyond that they have no detail left.
SMALLEST_RATIO = 1 / 1.5
# A cut-out shown whole has this much of its longer side in view.
WHOLE = 1.1


class Cutouts:
    """Random crops of the cut-outs in a folder; callable like the procedural foregrounds.

    A crop lies around an edge or translucent pixel, so that every sample has something unknown. Colours are carried on
    into transparent pixels: nothing that a file holds under alpha 0 is ever seen.

    Args:
        folder: the cut-outs.
        geometry: how they are turned and cropped.

    Raises:
        UserError: when called, if none of the files can be used.
    """

    def __init__(self, folder: ImageFolder[Bytes], geometry: GeometryConfig) -> None:
        self.folder, self.geometry = folder, geometry

    def __call__(self, size: int, rng: Rng) -> tuple[Floats, Floats]:
        """Colours float32 RGB [size, size, 3] and alpha float32 [size, size], in 0..1."""
        return straight(turned_cutout(self.folder.pick(rng), size, rng, self.geometry))


def cutout_folder(
    folder: str | Path,
    include: str | Path | None = None,
    exclude: str | Path | None = None,
    cache: LRUCache | None = None,
) -> ImageFolder[Bytes]:
    """A folder of RGBA images (see `ImageFolder`); those damaged, without alpha or opaque throughout are skipped."""
    return ImageFolder(folder, read_cutout, include, exclude, cache)


def pair_folder(
    foregrounds: str | Path,
    alphas: str | Path,
    include: str | Path | None = None,
    exclude: str | Path | None = None,
    cache: LRUCache | None = None,
) -> ImageFolder[Bytes]:
    """Cut-outs whose colours and alpha are files in two folders, as Adobe's data set and Distinctions-646 come.

    Files belong together whose paths in the two folders agree up to the suffix. Foregrounds without an alpha are left
    out with a warning.

    Raises:
        UserError: as `ImageFolder`, for either folder, and where no two files belong together.
    """
    matches, unmatched = matched(image_files(foregrounds), Path(foregrounds), Path(alphas))
    if not matches:
        raise UserError(
            f"{foregrounds}: expected images that have an alpha in {alphas}, of the same name up to the suffix, got "
            f"none (the first: {unmatched[0].name})"
        )
    folder = ImageFolder(foregrounds, partial(read_pair, matches), include, exclude, cache)
    folder.paths = [path for path in folder.paths if path in matches]
    if not folder.paths:
        raise UserError(f"{foregrounds}: expected named images that have an alpha in {alphas}, got none")
    if unmatched:
        names = ", ".join(path.name for path in unmatched[:3])
        log.warning("%s: %d images have no alpha in %s: %s", foregrounds, len(unmatched), alphas, names)
    return folder


def matched(paths: list[Path], folder: Path, partners: Path) -> tuple[dict[Path, Path], list[Path]]:
    """For each of `paths` (inside `folder`) its partner in another folder, and those that have none.

    Partners have the same path up to the suffix, or the same without a number at the end: in Composition-1K the images
    `cat_0.png` to `cat_19.png` share the alpha `cat.png`.

    Raises:
        UserError: the other folder does not exist or holds no images.
    """
    known = {path.relative_to(partners).with_suffix("").as_posix(): path for path in image_files(partners)}
    matches: dict[Path, Path] = {}
    for path in paths:
        name = path.relative_to(folder).with_suffix("").as_posix()
        head, _, number = name.rpartition("_")
        partner = known.get(name) or (known.get(head) if number.isdigit() else None)
        if partner:
            matches[path] = partner
    return matches, [path for path in paths if path not in matches]


def read_cutout(path: str | Path) -> Bytes:
    """An RGBA file as uint8 [H, W, 4].

    Raises:
        UserError: as `read_rgba`, and for an image of one alpha throughout: there is no edge to learn from.
    """
    colours, alpha = read_rgba(path)
    return _rgba(colours, np.rint(alpha * 255).astype(np.uint8), path)


def read_pair(alphas: Mapping[Path, Path], path: Path) -> Bytes:
    """A colour image and the alpha image that `alphas` has for it as uint8 RGBA [H, W, 4].

    Raises:
        UserError: either cannot be read, they differ in size, or alpha is the same throughout.
    """
    colours, alpha = read_image(path), read_alpha(alphas[path])
    require_same_size(alphas[path], alpha, path, colours)
    return _rgba(colours, alpha, alphas[path])


def _rgba(colours: Bytes, alpha: Bytes, path: str | Path) -> Bytes:
    if alpha.min() == alpha.max():
        raise UserError(f"{path}: expected a cut-out with edges, got alpha {alpha.min() / 255:.3g} everywhere")
    return np.dstack([colours, alpha])


def turned_cutout(rgba: Bytes, size: int, rng: Rng, settings: GeometryConfig) -> Floats:
    """A random view of a cut-out: a premultiplied layer [size, size, 4] in which something is visible and not all.

    A subject that its frame cut off at one end stays at the end of the view (see `_crop_start`).
    """
    alpha = rgba[..., 3]
    whole = WHOLE * max(alpha.shape) / size
    row, column = edge_pixel(alpha, rng)
    turn, zoom = random_turn(rng, settings)
    scale = whole if happens(rng, settings.whole) else settings.crop_scales[rng.integers(len(settings.crop_scales))]
    scale = float(np.clip(scale / zoom, SMALLEST_RATIO, max(whole, 1.2 * SMALLEST_RATIO)))
    # Two pixels more than is seen, where interpolation would mix in the nothing beyond the frame.
    half_width, half_height = (half + 2 * max(1, scale) for half in reach(turn, scale, size))
    cut_rows, cut_columns = cut_ends(alpha)
    centre = (
        _centre(column, half_width, alpha.shape[1], cut_columns, rng),
        _centre(row, half_height, alpha.shape[0], cut_rows, rng),
    )
    matrix = view(turn, scale, centre, size)
    rows, columns = seen_part(matrix, size, alpha.shape)
    matrix = moved(matrix, rows, columns)
    layer = seen(premultiplied(rgba[rows, columns]), matrix, size, random_interpolation(rng), cv2.BORDER_CONSTANT)
    layer[..., :3] /= np.maximum(layer[..., 3:], 1)  # where alpha overshot 1, colours did as much
    shown = np.clip(layer[..., 3], 0, 1, out=layer[..., 3])
    np.clip(layer[..., :3], 0, layer[..., 3:], out=layer[..., :3])
    return layer if shown.max() - shown.min() > 0.5 else cropped_cutout(rgba, size, rng)


def _centre(at: int, half: float, length: int, cut: tuple[bool, bool], rng: Rng) -> float:
    """`middle_near`, but a subject that the frame cut off at one end stays at that end (see `_crop_start`)."""
    if 2 * half > length and cut[0] != cut[1]:
        return half - 0.5 if cut[0] else length - 0.5 - half
    return middle_near(at, half, length, rng)


def cropped_cutout(rgba: Bytes, size: int, rng: Rng) -> Floats:
    """A random upright square of a cut-out, resized: a premultiplied layer [size, size, 4] (see layers.py).

    The square is between 1/1.5 of `size` and a little more than the whole cut-out wide, and holds at least one pixel
    at which alpha changes.

    Args:
        rgba: straight uint8 [H, W, 4].
    """
    alpha = rgba[..., 3]
    widest = max(WHOLE * max(alpha.shape) / size, 1.2 * SMALLEST_RATIO)
    side = max(2, round(size * float(np.exp(rng.uniform(np.log(SMALLEST_RATIO), np.log(widest))))))
    at, cut = edge_pixel(alpha, rng), cut_ends(alpha)
    top, left = (_crop_start(at[i], side, alpha.shape[i], cut[i], rng) for i in (0, 1))
    rows, columns = (slice(max(s, 0), min(s + side, n)) for s, n in zip((top, left), alpha.shape, strict=True))
    layer = premultiplied(rgba[rows, columns])
    before = (rows.start - top, columns.start - left)
    height, width = layer.shape[:2]
    after = (side - height - before[0], side - width - before[1])
    square = np.pad(layer, ((before[0], after[0]), (before[1], after[1]), (0, 0)))
    return resized_square(square, size)


def premultiplied(rgba: Bytes) -> Floats:
    """Straight uint8 [H, W, 4] as a layer: float32 in 0..1, colours multiplied by alpha."""
    layer = rgba * np.float32(1 / 255)
    alpha = layer[..., 3:].copy()
    layer *= alpha  # all four channels: faster than three of four, which do not lie side by side
    layer[..., 3:] = alpha
    return layer


def cut_ends(alpha: Bytes) -> tuple[tuple[bool, bool], tuple[bool, bool]]:
    """Whether its frame cut the subject off: at the (top, bottom), and at the (left, right).

    That is where more than a tenth of the outermost pixels are visible; the tip of a whole subject covers less.
    """
    visible = alpha > 127
    top, bottom, left, right = (
        bool(line.mean() > 0.1) for line in (visible[0], visible[-1], visible[:, 0], visible[:, -1])
    )
    return (top, bottom), (left, right)


def _crop_start(at: int, side: int, length: int, cut: tuple[bool, bool], rng: Rng) -> int:
    """Where a crop of `side` pixels that holds pixel `at` begins on an axis of `length`; may be negative.

    A subject that the frame cut off at one end (a portrait's shoulders) stays at the end of the crop, instead
    of floating with a straight edge.
    """
    if side <= length:
        return int(np.clip(at - rng.uniform(0.15, 0.85) * side, 0, length - side))
    if cut[0] != cut[1]:
        return 0 if cut[0] else length - side
    return -int(rng.integers(side - length + 1))


def resized_square(image: Floats | Bytes, size: int) -> Floats:
    """A square image [A, A, C] at another size, averaged when it shrinks: float32 in 0..1."""
    interpolation = cv2.INTER_AREA if image.shape[0] > size else cv2.INTER_LINEAR
    resized = cv2.resize(image, (size, size), interpolation=interpolation)
    return np.asarray(resized if resized.dtype == np.float32 else resized * np.float32(1 / 255), np.float32)
