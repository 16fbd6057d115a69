"""What lenses, sensors and file formats do to a picture: each a function (sample, rng, settings) -> sample.

They act on the composite, which is kept as the sample's `degraded` image; alpha and the layers stay as they are. A new
one is such a function, a line in `CAMERA`, which is also their order, and its chance in `CameraConfig`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any

import cv2
import numpy as np
import numpy.typing as npt
from annotated_types import Ge, Le

from atldas.common.config import config

from ..arrays import Rng
from .chance import Chance, Range, check_range, happens
from .sample import Sample

Quality = Annotated[int, Ge(1), Le(100)]


@config
class CameraConfig:
    """The chance of each of `CAMERA`, and how strong they are.

    Attributes:
        darkening: how much darker a vignette makes a corner.
        blur_radius: sigma of the lens's blur in pixels. Alpha is not blurred with it, so it has to stay small.
        scales: a picture is resampled to this share of its size, and back.
        halo: strength of the unsharp mask.
        shot_noise: variance of the noise in white, per channel, in 0..1 squared; it falls with brightness.
        read_noise: standard deviation of the noise in black, in 0..1.
        qualities: lowest and highest quality of the JPEG encoder.
    """

    vignette: Chance = 0.15
    blur: Chance = 0.25
    resampling: Chance = 0.25
    sharpening: Chance = 0.25
    noise: Chance = 0.5
    jpeg: Chance = 0.5
    darkening: Range = (0.1, 0.5)
    blur_radius: Range = (0.3, 1.0)
    scales: Range = (0.5, 0.95)
    halo: Range = (0.2, 1.2)
    shot_noise: Range = (1e-5, 1.5e-3)
    read_noise: Range = (5e-4, 1e-2)
    qualities: tuple[Quality, Quality] = (50, 95)

    def __post_init__(self) -> None:
        check_range(self.darkening, 0, 1)
        check_range(self.blur_radius, 0.05, 20)
        check_range(self.scales, 0.05, 1)
        check_range(self.halo, 0, 10)
        check_range(self.shot_noise, 1e-9, 1)
        check_range(self.read_noise, 1e-9, 1)
        check_range(self.qualities, 1, 100)


Camera = Callable[[Sample, Rng, CameraConfig], Sample]


def vignette(sample: Sample, rng: Rng, settings: CameraConfig) -> Sample:
    """Darker with the distance from a middle, which may be outside: a pair is a part of a photograph."""
    height, width = sample.alpha.shape
    middle = rng.uniform(-0.5, 1.5, 2)
    ys = ((np.arange(height) + 0.5) / height - middle[0]) ** 2
    xs = ((np.arange(width) + 0.5) / width - middle[1]) ** 2
    distance = ys[:, None] + xs[None]  # squared, [H, W]
    factor = 1 - rng.uniform(*settings.darkening) * distance / distance.max()
    return _degraded(sample, sample.image * factor[..., None].astype(np.float32))


def blur(sample: Sample, rng: Rng, settings: CameraConfig) -> Sample:
    """A lens that is not quite sharp: a Gaussian."""
    return _degraded(sample, cv2.GaussianBlur(sample.image, (0, 0), rng.uniform(*settings.blur_radius)))


def resampling(sample: Sample, rng: Rng, settings: CameraConfig) -> Sample:
    """Made smaller and larger again, as pictures are on their way through programs and web sites."""
    height, width = sample.alpha.shape
    scale = rng.uniform(*settings.scales)
    small = (max(2, round(width * scale)), max(2, round(height * scale)))
    down = (cv2.INTER_AREA, cv2.INTER_LINEAR, cv2.INTER_CUBIC)[rng.integers(3)]
    up = (cv2.INTER_LINEAR, cv2.INTER_CUBIC)[rng.integers(2)]
    smaller = cv2.resize(sample.image, small, interpolation=down)
    return _degraded(sample, cv2.resize(smaller, (width, height), interpolation=up))


def sharpening(sample: Sample, rng: Rng, settings: CameraConfig) -> Sample:
    """An unsharp mask, which leaves halos along edges."""
    blurred = cv2.GaussianBlur(sample.image, (0, 0), rng.uniform(0.7, 2))
    strength = rng.uniform(*settings.halo)
    return _degraded(sample, cv2.addWeighted(sample.image, 1 + strength, blurred, -strength, 0))


def noise(sample: Sample, rng: Rng, settings: CameraConfig) -> Sample:
    """Poisson-Gaussian noise (Foi et al., TIP 2008): of variance shot_noise x brightness + read_noise^2.

    Half of the time the grain is coarser than a pixel, as demosaicing and denoising leave it.
    """
    shot, read = (float(np.exp(rng.uniform(*np.log(limits)))) for limits in (settings.shot_noise, settings.read_noise))
    image = sample.image
    grain = rng.standard_normal(image.shape, np.float32)
    if rng.random() < 0.5:
        coarse = cv2.GaussianBlur(grain, (0, 0), rng.uniform(0.4, 0.8))
        grain = np.asarray(coarse / coarse.std(), np.float32)
    deviation = cv2.sqrt(image * np.float32(shot) + np.float32(read**2))
    return _degraded(sample, image + grain * deviation)


def jpeg(sample: Sample, rng: Rng, settings: CameraConfig) -> Sample:
    """Encoded as JPEG and decoded, the grid of 8 x 8 blocks anywhere."""
    lowest, highest = settings.qualities
    top, left = rng.integers(0, 8, 2).tolist()
    levels = sample.levels[..., ::-1]
    padded = cv2.copyMakeBorder(np.ascontiguousarray(levels), top, 0, left, 0, cv2.BORDER_REPLICATE)
    quality = int(rng.integers(lowest, highest + 1))
    _, data = cv2.imencode(".jpg", padded, [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))
    return _degraded(sample, decoded[top:, left:, ::-1] * np.float32(1 / 255))


CAMERA: dict[str, Camera] = {
    "vignette": vignette,
    "blur": blur,
    "resampling": resampling,
    "noise": noise,
    "sharpening": sharpening,
    "jpeg": jpeg,
}


def photographed(sample: Sample, rng: Rng, settings: CameraConfig) -> Sample:
    """Each of `CAMERA` by its chance, in their order; then rounded to the 256 levels that files have."""
    for name, degrade in CAMERA.items():
        if happens(rng, getattr(settings, name)):
            sample = degrade(sample, rng, settings)
    return _degraded(sample, sample.levels * np.float32(1 / 255))


def _degraded(sample: Sample, image: npt.NDArray[Any]) -> Sample:
    return replace(sample, degraded=np.clip(image, 0, 1).astype(np.float32, copy=False))
