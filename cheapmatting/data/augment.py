"""Augmentation: what turns foregrounds and backgrounds into many different pairs.

First a foreground is turned and cropped (geometry.py), and another one may be laid on it. Then come the trimap and the
functions of `COLOURS` in the configured order, and with `real_world` those of `camera.CAMERA`. Each is a function
(sample, rng, settings) -> sample that returns a new sample; a new one is such a function, a line in its dict, and its
chance in the configuration. `PLAIN` is no augmentation: a configuration of zero chances.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field, replace
from typing import Annotated

import cv2
import numpy as np
from annotated_types import Ge, Le
from pydantic import AfterValidator

from atldas.common.config import config

from ..arrays import Floats, Rng
from ..drawing.backgrounds import camouflaged
from .camera import CameraConfig, photographed
from .chance import Chance, Range, check_range, happens
from .drawn_trimap import PLAIN_TRIMAPS, TrimapConfig, drawn_trimap
from .geometry import (
    GeometryConfig,
    edge_pixel,
    middle_near,
    random_interpolation,
    random_turn,
    reach,
    seen,
    view,
)
from .sample import Sample

# A second foreground is dropped if more than this share of the picture would then be foreground.
FULLEST = 0.9
TRIMAP = "trimap"  # its name in the order of steps


def _step_name(name: str) -> str:
    if name != TRIMAP and name not in COLOURS:
        raise ValueError(f"one of {', '.join((TRIMAP, *COLOURS))}")
    return name


@config
class AugmentConfig:
    """What is done to pairs, and how often.

    Attributes:
        combine: chance of a second foreground before the first, alpha = 1 - (1 - a1) (1 - a2).
        jitter: chance of another hue, saturation and brightness of the foreground.
        defocus: chance of a background out of focus.
        camouflage: chance of a background that takes on the foreground's mean colour.
        exposure: chance of another gamma and white balance of the whole.
        real_world: whether the composite then goes through `camera`; for networks that are to meet photographs.
        hue, saturation, brightness: how far jitter goes: degrees of hue, and 0..1.
        gamma: range of the exponent of exposure.
        white: how far white balance moves a channel from the others, in shares.
        order: of the trimap and the colours; what is not named is not done. It decides which random numbers each of
            them gets; the trimap does not depend on the colours.
    """

    combine: Chance = 0.5
    jitter: Chance = 0.5
    defocus: Chance = 0.25
    camouflage: Chance = 0.15
    exposure: Chance = 0.4
    real_world: bool = False
    hue: Annotated[float, Ge(0), Le(180)] = 40.0
    saturation: Annotated[float, Ge(0), Le(1)] = 0.2
    brightness: Annotated[float, Ge(0), Le(1)] = 0.2
    gamma: Range = (0.7, 1.5)
    white: Annotated[float, Ge(0), Le(1)] = 0.12
    order: tuple[Annotated[str, AfterValidator(_step_name)], ...] = field(default_factory=lambda: (TRIMAP, *COLOURS))
    geometry: GeometryConfig = field(default_factory=GeometryConfig)
    trimap: TrimapConfig = field(default_factory=TrimapConfig)
    camera: CameraConfig = field(default_factory=CameraConfig)

    def __post_init__(self) -> None:
        check_range(self.gamma, 0.1, 10)
        if len(set(self.order)) != len(self.order):
            raise ValueError("each step of `order` once")


Augmentation = Callable[[Sample, Rng, AugmentConfig], Sample]


def jitter(sample: Sample, rng: Rng, settings: AugmentConfig) -> Sample:
    """The foreground in other colours: hue turned, saturation and brightness (HSV) moved."""
    if not sample.layered:
        return sample
    hsv = cv2.cvtColor(sample.foreground, cv2.COLOR_RGB2HSV)  # H in degrees, S and V in 0..1
    reach = np.array([settings.hue, settings.saturation, settings.brightness])
    hue, saturation, brightness = rng.uniform(-reach, reach)
    hsv[..., 0] = (hsv[..., 0] + hue) % 360
    # In proportion, so that grey stays grey: a moved saturation would give it the colour of its noise.
    hsv[..., 1:] = np.clip(hsv[..., 1:] * (1 + np.array([saturation, brightness])), 0, 1)
    coloured = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
    return replace(sample, foreground=np.clip(coloured, 0, 1))


def defocus(sample: Sample, rng: Rng, settings: AugmentConfig) -> Sample:
    """The background blurred, by up to three hundredths of its width, as behind a subject in focus."""
    if not sample.layered:
        return sample
    sigma = sample.alpha.shape[1] * rng.uniform(0.003, 0.03)
    blurred = cv2.GaussianBlur(sample.background, (0, 0), sigma)
    return replace(sample, background=np.asarray(blurred, np.float32))


def camouflage(sample: Sample, rng: Rng, settings: AugmentConfig) -> Sample:
    """The background with its mean colour moved towards the foreground's: a hard case."""
    if not sample.layered:
        return sample
    return replace(sample, background=camouflaged(sample.background, sample.foreground, sample.alpha, rng))


def exposure(sample: Sample, rng: Rng, settings: AugmentConfig) -> Sample:
    """Gamma and white balance, the same for both layers: the picture stays their composite."""
    gamma = float(np.exp(rng.uniform(*np.log(settings.gamma))))
    gains = (1 + rng.uniform(-settings.white, settings.white, 3)).astype(np.float32)

    def exposed(colours: Floats) -> Floats:
        return np.clip(cv2.pow(colours, gamma) * gains, 0, 1, dtype=np.float32)

    foreground = exposed(sample.foreground)
    background = exposed(sample.background) if sample.layered else foreground
    return replace(sample, foreground=foreground, background=background)


COLOURS: dict[str, Augmentation] = {
    "jitter": jitter,
    "defocus": defocus,
    "camouflage": camouflage,
    "exposure": exposure,
}


# No augmentation: what is drawn stays as it is, but for the trimap and some backgrounds in the foreground's colour.
PLAIN = AugmentConfig(
    combine=0.0,
    jitter=0.0,
    defocus=0.0,
    camouflage=0.2,
    exposure=0.0,
    order=("camouflage", TRIMAP),
    geometry=GeometryConfig(mirror=0.0, upside_down=0.0, affine=0.0),
    trimap=PLAIN_TRIMAPS,
)


def augmented(sample: Sample, rng: Rng, settings: AugmentConfig) -> Sample:
    """The trimap and, each by its chance, the `COLOURS`, in the configured order; then perhaps the camera."""
    for name in settings.order:
        if name == TRIMAP:
            sample = replace(sample, trimap=drawn_trimap(sample.alpha, rng, settings.trimap))
        elif happens(rng, getattr(settings, name)):
            sample = COLOURS[name](sample, rng, settings)
    return photographed(sample, rng, settings.camera) if settings.real_world else sample


def combined(top: tuple[Floats, Floats], bottom: tuple[Floats, Floats]) -> tuple[Floats, Floats]:
    """One foreground on another, each colours [H, W, 3] and alpha [H, W]: alpha = 1 - (1 - a1) (1 - a2).

    The colours are those with which the two, laid one after the other on any background, give the same picture:
    (a1 F1 + (1 - a1) a2 F2) / alpha. If together they hid nearly all of the background, the top stays alone.
    """
    (colours1, alpha1), (colours2, alpha2) = top, bottom
    alpha = 1 - (1 - alpha1) * (1 - alpha2)
    if alpha.mean() > FULLEST:
        return top
    # Where nothing is visible the share is a half: both colours are carried on from somewhere else anyway.
    tiny = np.float32(1e-6)
    share = (alpha1 + tiny) / (alpha + 2 * tiny)
    return colours2 + share[..., None] * (colours1 - colours2), alpha


def turned(colours: Floats, alpha: Floats, size: int, rng: Rng, geometry: GeometryConfig) -> tuple[Floats, Floats]:
    """A foreground that fills its picture, turned and zoomed: colours [size, size, 3] and alpha [size, size].

    About its middle, or, if it is larger than `size`, about a pixel at which alpha changes; mirrored where it ends.
    """
    side = alpha.shape[0]
    turn, zoom = random_turn(rng, geometry)
    middle = ((side - 1) / 2, (side - 1) / 2)
    if side > size:
        row, column = edge_pixel(np.asarray(alpha * 255, np.uint8), rng)
        width, height = reach(turn, 1 / zoom, size)
        middle = (middle_near(column, width, side, rng), middle_near(row, height, side, rng))
    matrix = view(turn, 1 / zoom, middle, size)
    planes = np.concatenate([colours, alpha[..., None]], axis=2)
    planes = np.clip(seen(planes, matrix, size, random_interpolation(rng), cv2.BORDER_REFLECT_101), 0, 1)
    return np.ascontiguousarray(planes[..., :3]), np.ascontiguousarray(planes[..., 3])
