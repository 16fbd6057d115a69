"""From an image and a trimap to an alpha matte.

matter = Matter()                       # the shipped weights; or Matter("model.safetensors")
alpha = matter.matte(image, trimap)     # float32 [H, W] in 0..1
cutout = cut_out(image, alpha)          # uint8 RGBA [H, W, 4]
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from atldas.common.device import choose
from atldas.common.errors import UserError

from ..arrays import Bytes, Floats
from ..images import read_image, require_same_size, require_writable_suffix, write_image
from ..model.lookup import DEFAULT_WEIGHTS
from ..model.network import CheapMatting
from ..model.padding import crop, pad
from ..model.weights import load
from ..trimap import LEVELS, UNKNOWN, known_pixels_kept, read_trimap
from .engines.choice import make_engine
from .foreground import cut_out
from .memory import largest
from .regions import REGIONS, regions
from .windows import alpha_in_windows

# Axes of [N, C, H, W] to mirror for each view; two views are the first two.
VIEWS: tuple[tuple[int, ...], ...] = ((), (3,), (2,), (2, 3))


class Matter:
    """A loaded network, for any number of images.

    Args:
        weights: the file of a model or of a published checkpoint, a training's folder, the name of shipped weights, or
            a network.
        device: `auto`, `cpu`, `cuda` or `mps`.
        engine, precision: what computes, and in which type; `auto` is the fastest that is installed (see
            `engines.choice`).
        region: `exact`: the network sees the whole image; `near`: only what is near unknown pixels (see `regions`).
        max_memory: bytes that the process may take; images too large for it are computed in overlapping tiles. None
            sets no bound.
        views: with 2 or 4, the alphas of the image and of its mirror images (left to right, then upside down) are
            averaged; each takes the time of one image.

    Attributes:
        computed_by: a line that says which engine was chosen, and why.

    Raises:
        UserError: a file that cannot be used, a device or an engine that this machine does not have, a precision that
            they do not compute in, or another value than those above.
    """

    def __init__(
        self,
        weights: str | Path | CheapMatting = DEFAULT_WEIGHTS,
        device: str = "auto",
        views: Literal[1, 2, 4] = 1,
        *,
        engine: str = "auto",
        precision: str = "auto",
        region: str = "exact",
        max_memory: int | None = None,
    ) -> None:
        if views not in (1, 2, 4):
            raise UserError(f"views: expected 1, 2 or 4, got {views}")
        if region not in REGIONS:
            raise UserError(f"region: expected {' or '.join(REGIONS)}, got {region}")
        self.views = VIEWS[:views]
        self.device = choose(device)
        self.region = region
        self.max_memory = max_memory
        self.network = (weights if isinstance(weights, CheapMatting) else load(weights)).eval()
        self.engine, self.computed_by = make_engine(self.network, engine, precision, self.device)

    @torch.inference_mode()
    def matte(self, image: Bytes, trimap: Bytes) -> Floats:
        """Alpha of an image, exactly 1 and 0 where the trimap is known.

        Args:
            image: uint8 RGB [H, W, 3].
            trimap: uint8 [H, W] of 0, 128 and 255.

        Returns:
            float32 [H, W] in 0..1.

        Raises:
            UserError: arrays of other shapes, types or trimap values.
        """
        _check(image, trimap)
        alpha = np.zeros(trimap.shape, np.float32)
        if (trimap == UNKNOWN).any():
            for region in regions(trimap, self.region, largest(self.network, self.max_memory, trimap.size)):
                weights = region.row_weights[:, None] * region.column_weights
                alpha[region.box] += weights * self._seen(image[region.box], trimap[region.box])
        return known_pixels_kept(alpha, trimap)

    def _seen(self, image: Bytes, trimap: Bytes) -> Floats:
        """The network's alpha of one region, where it is unknown."""
        planes = np.empty((*trimap.shape, 6), np.float32)  # [H, W, 6]: the memory order of channels_last
        np.divide(image, np.float32(255), out=planes[..., :3])
        planes[..., 3:] = trimap[..., None] == LEVELS
        inputs = torch.from_numpy(planes).permute(2, 0, 1)[None].to(self.device)  # [1, 6, H, W]
        alphas = [_mirrored(self._alpha(_mirrored(inputs, axes)), axes) for axes in self.views]
        alpha: Floats = (sum(alphas[1:], start=alphas[0]) / len(alphas))[0, 0].numpy()
        return alpha

    def _alpha(self, inputs: Tensor) -> Tensor:
        """[1, 6, H, W] -> [1, 1, H, W]."""
        x, box = pad(inputs)
        x = self.network.hinted(x).contiguous(memory_format=torch.channels_last)
        return crop(alpha_in_windows(self.engine, self.engine.features(x), x, unknown=(x[0, 4] > 0).cpu()), box)


def _mirrored(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    return x.flip(axes) if axes else x  # flip copies, also along no axis


def matte_files(
    matter: Matter, image: Path, trimap: Path | Callable[[Bytes], Bytes], output: Path, alpha_only: bool = False
) -> None:
    """Read an image and a trimap, write the RGBA cut-out, or the alpha as a grey image.

    Args:
        trimap: its file, or a function that makes it from the image's pixels (see `read_pair`).

    Raises:
        UserError: a file that cannot be read or written, or sizes that differ.
    """
    inputs = [image, trimap] if isinstance(trimap, Path) else [image]
    if output.resolve() in [path.resolve() for path in inputs]:
        raise UserError(f"{output}: expected another file than the input, which would be overwritten; name one with -o")
    if output.is_dir():
        raise UserError(f"{output}: expected a file to write, got a folder; name one in it: {output / 'cutout.png'}")
    require_writable_suffix(output, alpha=not alpha_only)
    pixels, known = read_pair(image, trimap)
    alpha = matter.matte(pixels, known)
    write_image(output, np.rint(alpha * 255).astype(np.uint8) if alpha_only else cut_out(pixels, alpha))


def read_pair(image: Path, trimap: Path | Callable[[Bytes], Bytes]) -> tuple[Bytes, Bytes]:
    """A photograph, uint8 RGB [H, W, 3], and its trimap, uint8 [H, W] of 0, 128 and 255.

    A function makes the trimap from the photograph's pixels.

    Raises:
        UserError: a file that cannot be read, or sizes that differ.
    """
    pixels = read_image(image)
    if not isinstance(trimap, Path):
        return pixels, trimap(pixels)
    known = read_trimap(trimap)
    require_same_size(trimap, known, image, pixels)
    return pixels, known


def _check(image: Bytes, trimap: Bytes) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        raise UserError(f"image: expected uint8 RGB [H, W, 3], got {image.dtype} {list(image.shape)}")
    if trimap.shape != image.shape[:2] or trimap.dtype != np.uint8:
        raise UserError(
            f"trimap: expected uint8 {list(image.shape[:2])}, as the image, got {trimap.dtype} {list(trimap.shape)}"
        )
    if not np.isin(trimap, LEVELS).all():
        raise UserError(
            "trimap: expected the values 0, 128 and 255 alone, got others; read_trimap corrects small errors"
        )
