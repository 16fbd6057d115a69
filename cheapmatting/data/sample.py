"""One training pair and a batch of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..arrays import Bytes, Floats
from ..trimap import UNKNOWN, encode_trimap


@dataclass(frozen=True)
class Sample:
    """A foreground, a background, the alpha between them and a trimap of that alpha.

    Of a ready composite or a photograph neither layer is known: its foreground and its background are both the image
    itself (`Sample.of_image`), which any alpha composes to that image.

    Attributes:
        foreground, background: float32 RGB [H, W, 3] in 0..1. Foreground colours are defined everywhere, also
            where alpha is 0.
        alpha: float32 [H, W] in 0..1.
        trimap: uint8 [H, W] of 0, 128 and 255.
        degraded: float32 RGB [H, W, 3] in 0..1, the composite after a camera and a file format, where the compositing
            equation no longer holds exactly; None where they were left out.

    Raises:
        ValueError: an array of another shape or type.
    """

    foreground: Floats
    background: Floats
    alpha: Floats
    trimap: Bytes
    degraded: Floats | None = None

    @classmethod
    def of_image(cls, image: Floats, alpha: Floats, trimap: Bytes) -> Sample:
        """A sample of whose layers nothing is known."""
        return cls(image, image, alpha, trimap)

    def __post_init__(self) -> None:
        size = self.alpha.shape
        wanted = {
            "foreground": ((*size, 3), np.float32),
            "background": ((*size, 3), np.float32),
            "alpha": (size, np.float32),
            "trimap": (size, np.uint8),
        }
        if self.degraded is not None:
            wanted["degraded"] = ((*size, 3), np.float32)
        for name, (shape, dtype) in wanted.items():
            found = getattr(self, name)
            if found.shape != shape or found.dtype != dtype or len(size) != 2:
                raise ValueError(
                    f"{name} must be {np.dtype(dtype)} {shape} beside an alpha of [H, W], "
                    f"got {found.dtype} {found.shape}"
                )

    @property
    def image(self) -> Floats:
        """What the network sees, float32 [H, W, 3] in 0..1: I = alpha F + (1 - alpha) B, or `degraded`."""
        if self.degraded is not None:
            return self.degraded
        if not self.layered:
            return self.foreground
        return composite(self.foreground, self.background, self.alpha)

    @property
    def levels(self) -> Bytes:
        """The image as a file holds it, uint8 [H, W, 3]."""
        return np.rint(self.image * 255).astype(np.uint8)

    @property
    def layered(self) -> bool:
        """Whether foreground and background are known apart from each other."""
        return self.foreground is not self.background


def composite(foreground: Floats, background: Floats, alpha: Floats) -> Floats:
    """I = alpha F + (1 - alpha) B (Porter and Duff, 1984): float32 [H, W, 3]."""
    a = alpha[..., None]
    return a * foreground + (1 - a) * background


class Batch(NamedTuple):
    """Samples of one size as float32 tensors."""

    inputs: Tensor  # [N, 6, H, W] RGB image, then the one-hot trimap
    alpha: Tensor  # [N, 1, H, W]
    foreground: Tensor  # [N, 3, H, W]
    background: Tensor  # [N, 3, H, W]
    unknown: Tensor  # [N, 1, H, W] 1 where the trimap is unknown, else 0
    loss_weights: Tensor  # [N, 1, H, W] how much each unknown pixel counts in a loss; 1 unless a training changes it

    @property
    def counted(self) -> Tensor:
        """[N, 1, H, W] the loss weights of the unknown pixels, 0 for the known ones."""
        return self.unknown * self.loss_weights

    def to(self, device: torch.device | str) -> Batch:
        """The batch on `device`, the inputs in channels-last memory order, for fast convolutions."""
        inputs = self.inputs.to(device, memory_format=torch.channels_last, non_blocking=True)
        return Batch(inputs, *(tensor.to(device, non_blocking=True) for tensor in self[1:]))


def collate(samples: Sequence[Sample]) -> Batch:
    """Stack samples of one size; fit as `collate_fn` of a DataLoader.

    Raises:
        ValueError: no samples, or samples of several sizes.
    """
    sizes = {sample.alpha.shape for sample in samples}
    if len(sizes) != 1:
        raise ValueError(f"a batch needs samples of one size, got {sorted(sizes)}")
    trimaps = np.stack([encode_trimap(sample.trimap) for sample in samples])  # [N, 3, H, W]
    images = _channels_first([sample.image for sample in samples])
    unknown = torch.from_numpy(np.stack([sample.trimap == UNKNOWN for sample in samples])[:, None].astype(np.float32))
    return Batch(
        inputs=torch.cat([images, torch.from_numpy(trimaps)], dim=1),
        alpha=torch.from_numpy(np.stack([sample.alpha for sample in samples])[:, None]),
        foreground=_channels_first([sample.foreground for sample in samples]),
        background=_channels_first([sample.background for sample in samples]),
        unknown=unknown,
        loss_weights=torch.ones_like(unknown),
    )


def _channels_first(images: Sequence[Floats]) -> Tensor:
    """N images [H, W, 3] as one contiguous tensor [N, 3, H, W]."""
    return torch.from_numpy(np.ascontiguousarray(np.stack(images).transpose(0, 3, 1, 2)))
