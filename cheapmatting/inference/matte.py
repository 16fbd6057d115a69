"""From an image and a trimap to an alpha matte.

matter = Matter()                       # the shipped weights; or Matter("model.safetensors")
alpha = matter.matte(image, trimap)     # float32 [H, W] in 0..1 of paths and arrays; or a PIL image, or a tensor
cutout = cut_out(image, alpha)          # uint8 RGBA [H, W, 4]
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Literal, cast, overload

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from atldas.common.errors import UserError

from ..arrays import Bytes, Floats
from ..model.lookup import DEFAULT_WEIGHTS
from ..model.network import CheapMatting
from ..model.padding import crop, pad, padded_size
from ..model.weights import load
from ..trimap import LEVELS, UNKNOWN, known_pixels_kept
from .engines.choice import make_engine
from .kinds import Picture, as_pairs, like
from .memory import MIB, largest, largest_batch, needed
from .regions import REGIONS, Region, regions
from .scales import SCALES, halved, narrowed, too_wide
from .windows import alpha_in_windows

# Axes of [N, C, H, W] to mirror for each view; two views are the first two.
VIEWS: tuple[tuple[int, ...], ...] = ((), (3,), (2,), (2, 3))
# Pixels that a call of the network computes of several images, padded. More gain nothing on a CPU, and the peaks of a
# server's memory would depend on which requests meet: in 90 s of load they were 440 to 578 MiB with 2^20, 477 to 494
# with 2^19. Returning freed memory to the system after every call as well made no difference.
BATCH = 2**19
log = logging.getLogger(__name__)


class Matter:
    """A loaded network, for any number of images.

    Args:
        weights: the file of a model or of a published checkpoint, a training's folder, the name of shipped weights, or
            a network.
        device: `auto`, `cpu`, `cuda` or `mps`, or a device of PyTorch.
        engine, precision, provider: what computes, in which type, and for engines other than PyTorch where; `auto` is
            the fastest that is installed (see `engines.choice`).
        region: `exact`: the network sees the whole image; `near`: only what is near unknown pixels (see `regions`).
        scales: `auto`: where the trimap has wide bands of unknown, half the size comes first and settles what it can
            (see `scales`); `one`: the network sees the image at its own size alone.
        max_memory: bytes that the process may take; images too large for it are computed in overlapping tiles. None
            sets no bound.
        views: with 2 or 4, the alphas of the image and of its mirror images (left to right, then upside down) are
            averaged; each takes the time of one image.

    Attributes:
        computed_by: a line that says which engine was chosen, where it computes, and why.

    Raises:
        UserError: a file that cannot be used, a device, an engine or a provider that this machine does not have, a
            precision that they do not compute in, or another value than those above.
    """

    def __init__(
        self,
        weights: str | Path | CheapMatting = DEFAULT_WEIGHTS,
        device: str | torch.device = "auto",
        views: Literal[1, 2, 4] = 1,
        *,
        engine: str = "auto",
        precision: str = "auto",
        provider: str = "auto",
        region: str = "exact",
        scales: str = "auto",
        max_memory: int | None = None,
    ) -> None:
        if views not in (1, 2, 4):
            raise UserError(f"views: expected 1, 2 or 4, got {views}")
        if region not in REGIONS:
            raise UserError(f"region: expected {' or '.join(REGIONS)}, got {region}")
        if scales not in SCALES:
            raise UserError(f"scales: expected {' or '.join(SCALES)}, got {scales}")
        self.views = VIEWS[:views]
        self.region = region
        self.scales = scales
        self.max_memory = max_memory
        self.network = (weights if isinstance(weights, CheapMatting) else load(weights)).eval()
        self.engine, self.computed_by = make_engine(self.network, engine, precision, device, provider)
        self.device = self.engine.device

    @overload
    def matte(self, image: str | Path | npt.NDArray[Any], trimap: Picture) -> Floats: ...

    @overload
    def matte(self, image: Image.Image, trimap: Picture) -> Image.Image: ...

    @overload
    def matte(self, image: Tensor, trimap: Picture) -> Tensor: ...

    @overload
    def matte(self, image: list[Any], trimap: list[Any]) -> list[Any]: ...

    def matte(self, image: Picture | list[Any], trimap: Picture | list[Any]) -> Any:
        """Alpha of an image, exactly 1 and 0 where the trimap is known.

        The inputs are not changed. Threads may share one `Matter`. Images are computed at 8 bits. Those of a batch are
        computed in as few calls of the network as `together` allows.

        Args:
            image: the path of a file; a PIL image; RGB of uint8, uint16 or floats in 0..1, as a NumPy array [H, W, 3]
                or a batch [N, H, W, 3], as a tensor [3, H, W] or [N, 3, H, W]; or a list of such images. Files are
                turned as their EXIF orientation says, PIL images are not.
            trimap: the same, grey: 0 is background, the middle unknown, the highest value foreground. Arrays are [H, W]
                or [N, H, W], tensors also [1, H, W] or [N, 1, H, W]. Rough ones are mended (see `rough_trimap`).

        Returns:
            The kind of `image`. For a path or an array, float32 [H, W] or [N, H, W] in 0..1; for a tensor, [1, H, W] or
            [N, 1, H, W] on its device, of its type if that is floating; for a PIL image, one of the mode L; for a list,
            a list.

        Raises:
            UserError: arrays of other shapes or types, floats outside of 0..1, a file that cannot be read, or a trimap
                that cannot be mended or has another aspect than its image.
        """
        if isinstance(image, list):
            if not isinstance(trimap, list) or len(trimap) != len(image):
                raise UserError(f"trimap: expected a list of {len(image)} trimaps, one for each image")
            return [self.matte(*pair) for pair in zip(image, trimap, strict=True)]
        pairs = as_pairs(image, cast(Picture, trimap))
        return like(image, self._mattes(pairs))

    def together(self, height: int, width: int) -> int:
        """How many images of that size one call of the network computes: those of `BATCH` pixels, at least 1.

        It is 1 where the network does not see whole images: with `near`, or where `max_memory` allows no more.
        """
        size = padded_size(height) * padded_size(width)
        most = min(BATCH, largest_batch(self.network, self.engine.name, self.max_memory))
        return max(1, int(most // size)) if self.region == "exact" else 1

    @torch.inference_mode()
    def _mattes(self, pairs: list[tuple[Bytes, Bytes]]) -> list[Floats]:
        """Alphas float32 [H, W] of uint8 RGB [H, W, 3] and uint8 [H, W] of 0, 128 and 255, all of one size."""
        if self.scales == "auto":
            pairs = self._narrowed(pairs)
        alphas = [np.zeros(trimap.shape, np.float32) for _, trimap in pairs]
        parts = [(index, region) for index, (_, trimap) in enumerate(pairs) for region in self._regions(trimap)]
        count = self.together(*pairs[0][0].shape[:2])
        for start in range(0, len(parts), count):
            some = parts[start : start + count]
            seen = self._seen([(pairs[index][0][region.box], pairs[index][1][region.box]) for index, region in some])
            for (index, region), alpha in zip(some, seen, strict=True):
                weights = region.row_weights[:, None] * region.column_weights
                alphas[index][region.box] += weights * alpha
        return [known_pixels_kept(alpha, trimap) for alpha, (_, trimap) in zip(alphas, pairs, strict=True)]

    def _narrowed(self, pairs: list[tuple[Bytes, Bytes]]) -> list[tuple[Bytes, Bytes]]:
        """The pairs, with what their alpha at half the size settles where the bands are too wide."""
        wide = [index for index, (_, trimap) in enumerate(pairs) if too_wide(trimap)]
        if not wide:
            return pairs
        coarse = self._mattes([halved(*pairs[index]) for index in wide])  # which narrows theirs first
        trimaps = {index: narrowed(pairs[index][1], alpha) for index, alpha in zip(wide, coarse, strict=True)}
        return [(image, trimaps.get(index, trimap)) for index, (image, trimap) in enumerate(pairs)]

    def _regions(self, trimap: Bytes) -> list[Region]:
        """What the network sees of an image; nothing if nothing is unknown."""
        if (trimap == UNKNOWN).any():
            most = largest(self.network, self.engine.name, self.max_memory, trimap.size)
            parts = regions(trimap, self.region, most)
            seen = max(trimap[part.box].size for part in parts)
            if seen > most:
                least = needed(self.network, self.engine.name, trimap.size, seen) / MIB
                log.warning("max_memory: too little for this image, and exceeded; it takes up to %.0f MiB", least)
            return parts
        log.warning("trimap: nothing in it is unknown, so that the alpha is the trimap itself")
        return []

    def _seen(self, pairs: list[tuple[Bytes, Bytes]]) -> Floats:
        """The network's alphas [N, H, W] of regions of one size, where they are unknown."""
        planes = np.empty((len(pairs), *pairs[0][1].shape, 6), np.float32)  # [N, H, W, 6]: channels_last
        for plane, (image, trimap) in zip(planes, pairs, strict=True):
            np.divide(image, np.float32(255), out=plane[..., :3])
            plane[..., 3:] = trimap[..., None] == LEVELS
        inputs = torch.from_numpy(planes).permute(0, 3, 1, 2).to(self.device)  # [N, 6, H, W]
        alphas = [_mirrored(self._alphas(_mirrored(inputs, axes)), axes) for axes in self.views]
        mean: Floats = (sum(alphas[1:], start=alphas[0]) / len(alphas))[:, 0].numpy()
        return mean

    def _alphas(self, inputs: Tensor) -> Tensor:
        """[N, 6, H, W] -> [N, 1, H, W]."""
        x, box = pad(inputs)
        x = self.network.hinted(x).contiguous(memory_format=torch.channels_last)
        features, unknown = self.engine.features(x), (x[:, 4] > 0).cpu()
        each = zip(features.split(1), x.split(1), unknown, strict=True)
        return crop(torch.cat([alpha_in_windows(self.engine, *one) for one in each]), box)


def _mirrored(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    return x.flip(axes) if axes else x  # flip copies, also along no axis
