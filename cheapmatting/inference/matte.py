"""From an image and a trimap to an alpha matte.

matter = Matter()                       # the shipped weights; or Matter("model.safetensors")
alpha = matter.matte(image, trimap)     # float32 [H, W] in 0..1
cutout = cut_out(image, alpha)          # uint8 RGBA [H, W, 4]
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import torch

from atldas.common.device import choose
from atldas.common.errors import UserError

from ..arrays import Bytes, Floats
from ..images import read_image, require_same_size, require_writable_suffix, write_image
from ..model.lookup import DEFAULT_WEIGHTS
from ..model.network import CheapMatting
from ..model.weights import load
from ..trimap import LEVELS, UNKNOWN, encode_trimap, known_pixels_kept, read_trimap
from .foreground import cut_out

# Axes of [N, C, H, W] to mirror for each view; two views are the first two.
VIEWS: tuple[tuple[int, ...], ...] = ((), (3,), (2,), (2, 3))


class Matter:
    """A loaded network, for any number of images.

    Args:
        weights: the file of a model or of a published checkpoint, a training's folder, the name of shipped weights, or
            a network.
        device: `auto`, `cpu`, `cuda` or `mps`.
        views: with 2 or 4, the alphas of the image and of its mirror images (left to right, then upside down) are
            averaged; each takes the time of one image.

    Raises:
        UserError: a file that cannot be used, a device that this machine does not have, or another number of views.
    """

    def __init__(
        self, weights: str | Path | CheapMatting = DEFAULT_WEIGHTS, device: str = "auto", views: Literal[1, 2, 4] = 1
    ) -> None:
        if views not in (1, 2, 4):
            raise UserError(f"views: expected 1, 2 or 4, got {views}")
        self.views = VIEWS[:views]
        self.device = choose(device)
        network = weights if isinstance(weights, CheapMatting) else load(weights)
        self.network = network.eval().to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]

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
        if not (trimap == UNKNOWN).any():
            return known_pixels_kept(np.zeros(trimap.shape, np.float32), trimap)  # nothing is unknown
        planes = np.concatenate([image.transpose(2, 0, 1) / np.float32(255), encode_trimap(trimap)])
        inputs = torch.from_numpy(planes)[None].to(self.device, memory_format=torch.channels_last)  # [1, 6, H, W]
        # Half precision makes convolutions faster on CUDA. Elsewhere the network runs in float32.
        with torch.autocast(self.device.type, torch.float16, enabled=self.device.type == "cuda"):
            alphas = [self.network(inputs.flip(axes)).flip(axes) for axes in self.views]
        alpha = sum(alpha.float() for alpha in alphas) / len(alphas)
        return known_pixels_kept(alpha[0, 0].cpu().numpy(), trimap)


def matte_files(matter: Matter, image: Path, trimap: Path, output: Path, alpha_only: bool = False) -> None:
    """Read an image and a trimap, write the RGBA cut-out, or the alpha as a grey image.

    Raises:
        UserError: a file that cannot be read or written, or sizes that differ.
    """
    if output.resolve() in (image.resolve(), trimap.resolve()):
        raise UserError(f"{output}: expected another file than the input, which would be overwritten; name one with -o")
    if output.is_dir():
        raise UserError(f"{output}: expected a file to write, got a folder; name one in it: {output / 'cutout.png'}")
    require_writable_suffix(output, alpha=not alpha_only)
    pixels, known = read_pair(image, trimap)
    alpha = matter.matte(pixels, known)
    write_image(output, np.rint(alpha * 255).astype(np.uint8) if alpha_only else cut_out(pixels, alpha))


def read_pair(image: Path, trimap: Path) -> tuple[Bytes, Bytes]:
    """A photograph, uint8 RGB [H, W, 3], and its trimap, uint8 [H, W] of 0, 128 and 255.

    Raises:
        UserError: a file that cannot be read, or sizes that differ.
    """
    pixels, known = read_image(image), read_trimap(trimap)
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
