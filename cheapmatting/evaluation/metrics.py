"""The matting metrics SAD, MSE, Grad and Conn, as in the MATLAB code released with Deep Image Matting.

Xu et al., "Deep Image Matting", CVPR 2017; Grad and Conn come from Rhemann et al., "A Perceptually Motivated
Online Benchmark for Image Matting", CVPR 2009. Ports of that code differ from it and from each other by up to
half of the value: `docs/metrics.md` has the figures.

Every metric has the form `metric(alpha, truth, trimap) -> float`:

- alpha, truth: [H, W], each uint8 in 0..255 or floating in 0..1. The metrics are defined on saved 8-bit images:
  floats are first rounded to these levels (never truncated), halves upwards as in MATLAB;
- trimap: [H, W] uint8 with exactly 0 background, 128 unknown, 255 foreground. Errors are summed over the unknown
  pixels only; where nothing is unknown, every metric is 0.0;
- the units are those of the published tables: SAD, Grad and Conn in thousands, MSE as it is (papers print it times
  1e3);
- each image is measured alone; the figure of a data set is the mean over its images.

Each raises `UserError` for other types, shapes and values.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from atldas.common.errors import UserError

from .connectivity import connected_level

Alpha = npt.NDArray[np.uint8] | npt.NDArray[np.floating[Any]]
Levels = npt.NDArray[np.uint8]
Doubles = npt.NDArray[np.float64]

GRADIENT_SIGMA = 1.4
# Smaller distances to the level of connection are forgiven (theta in Rhemann et al.).
CONNECTIVITY_TOLERANCE = 0.15


def sad(alpha: Alpha, truth: Alpha, trimap: Levels) -> float:
    """Sum of absolute differences over the unknown pixels, in thousands."""
    p, g, unknown = checked(alpha, truth, trimap)
    return float(np.abs(p[unknown] / 255 - g[unknown] / 255).sum()) / 1000


def mse(alpha: Alpha, truth: Alpha, trimap: Levels) -> float:
    """Mean of squared differences over the unknown pixels, 0..1; 0.0 where nothing is unknown."""
    p, g, unknown = checked(alpha, truth, trimap)
    if not unknown.any():
        return 0.0
    return float(np.square(p[unknown] / 255 - g[unknown] / 255).mean())


def gradient_error(alpha: Alpha, truth: Alpha, trimap: Levels) -> float:
    """Sum of squared differences of the gradient amplitudes over the unknown pixels, in thousands ("Grad").

    Both images are stretched to 0..1 over the whole picture first, as MATLAB's `mat2gray` does.
    """
    p, g, unknown = checked(alpha, truth, trimap)
    difference = gradient_amplitude(_stretched(p)) - gradient_amplitude(_stretched(g))
    return float(np.square(difference[unknown]).sum()) / 1000


def connectivity_error(alpha: Alpha, truth: Alpha, trimap: Levels) -> float:
    """Sum of differences in connectivity over the unknown pixels, in thousands ("Conn").

    A pixel of value x that is connected to the main body up to the level l has d = x - l and connectivity
    phi = 1 - d where d >= 0.15, and 1 below that.
    """
    p, g, unknown = checked(alpha, truth, trimap)
    level = connected_level(p, g)[unknown]
    difference = _connectivity(p[unknown], level) - _connectivity(g[unknown], level)
    return float(np.abs(difference).sum()) / 1000


class Metric(NamedTuple):
    """A metric and how tables for people show it: `times` its value, in `unit`."""

    function: Callable[[Alpha, Alpha, Levels], float]
    times: float = 1
    unit: str = "thousands"

    def __call__(self, alpha: Alpha, truth: Alpha, trimap: Levels) -> float:
        return self.function(alpha, truth, trimap)


# All that is measured: a further line appears in every table, CSV file and picture.
METRICS: dict[str, Metric] = {
    "SAD": Metric(sad),
    "MSE": Metric(mse, times=1000, unit="x 10^-3"),
    "Grad": Metric(gradient_error),
    "Conn": Metric(connectivity_error),
}


def gradient_kernels(sigma: float = GRADIENT_SIGMA) -> tuple[Doubles, Doubles]:
    """The factors of the derivative-of-Gaussian filter, smoothing and derivative: [2 half + 1], L2 norm 1.

    The filter's norm is the product of its factors' norms, so h_x = outer(smoothing, derivative) has L2 norm
    1 too. It is cut where the Gaussian falls below 0.01: half = 4 for sigma 1.4.
    """
    half = math.ceil(sigma * math.sqrt(-2 * math.log(math.sqrt(2 * math.pi) * sigma * 0.01)))
    x = np.arange(-half, half + 1, dtype=np.float64)
    smoothing = np.exp(-(x**2) / (2 * sigma**2))
    derivative = -x * smoothing
    return smoothing / np.linalg.norm(smoothing), derivative / np.linalg.norm(derivative)


def gradient_amplitude(image: Doubles) -> Doubles:
    """Length of the smoothed gradient of a float64 image [H, W], borders replicated."""
    smoothing, derivative = gradient_kernels()
    # OpenCV correlates where MATLAB convolves. The filters are odd along the derivative and even across it,
    # so that only changes the sign of both responses, which the amplitude does not see.
    along_x = cv2.sepFilter2D(image, cv2.CV_64F, derivative, smoothing, borderType=cv2.BORDER_REPLICATE)
    along_y = cv2.sepFilter2D(image, cv2.CV_64F, smoothing, derivative, borderType=cv2.BORDER_REPLICATE)
    return np.hypot(along_x, along_y)


def checked(alpha: Alpha, truth: Alpha, trimap: Levels) -> tuple[Levels, Levels, npt.NDArray[np.bool_]]:
    """The three images checked: p and g as saved, [H, W] uint8, and the mask of unknown pixels, [H, W] bool.

    Raises: UserError: not numpy arrays [H, W] of one shape with at least one pixel, or types or values that
    do not fit.
    """
    p, g = as_levels(alpha, "alpha"), as_levels(truth, "truth")
    _check_plane(trimap, "trimap")
    if trimap.dtype != np.uint8:
        raise UserError(f"trimap: expected uint8 with 0, 128 and 255, got {trimap.dtype}")
    if not p.shape == g.shape == trimap.shape:
        sizes = f"alpha {_size(p)}, truth {_size(g)}, trimap {_size(trimap)}"
        raise UserError(f"expected one size for all three, got {sizes} (height x width)")
    foreign = sorted(set(np.flatnonzero(np.bincount(trimap.ravel()))) - {0, 128, 255})
    if foreign:
        shown = ", ".join(map(str, foreign[:5])) + (", ..." if len(foreign) > 5 else "")
        raise UserError(f"trimap: expected 0 background, 128 unknown and 255 foreground, got {shown}")
    return p, g, trimap == 128


def as_levels(image: Alpha, name: str) -> Levels:
    """An alpha [H, W], uint8 or floating in 0..1, as the integers 0..255 it is saved as; faults say `name`.

    Raises:
        UserError: not a numpy array [H, W], another type, NaN, or a value outside 0..1.
    """
    _check_plane(image, name)
    if image.dtype == np.uint8:
        return image.astype(np.uint8, copy=False)
    if not np.issubdtype(image.dtype, np.floating):
        raise UserError(f"{name}: expected uint8 or floating in 0..1, got {image.dtype}")
    low, high = float(image.min()), float(image.max())
    if math.isnan(low):
        raise UserError(f"{name}: expected floating values in 0..1, got NaN")
    if low < 0 or high > 1:
        hint = "; divide by 255, or pass uint8" if high > 2 else "; clip it first"
        raise UserError(f"{name}: expected floating values in 0..1, got {low:g}..{high:g}{hint}")
    # In double precision, where the product of a float32 and 255 is exact.
    return np.floor(image.astype(np.float64) * 255 + 0.5).astype(np.uint8)


def _check_plane(image: Any, name: str) -> None:
    if not isinstance(image, np.ndarray):
        raise UserError(f"{name}: expected a numpy array [H, W], got {type(image).__name__}")
    if image.ndim != 2 or image.size == 0:
        raise UserError(f"{name}: expected [H, W] with at least one pixel, got shape {image.shape}")


def _size(image: npt.NDArray[Any]) -> str:
    return f"{image.shape[0]}x{image.shape[1]}"


def _stretched(levels: Levels) -> Doubles:
    """Levels [H, W] linearly stretched to 0..1; an image of one value, which has no gradient anyway, to 0."""
    low, high = int(levels.min()), int(levels.max())
    return (levels - float(low)) / max(high - low, 1)


def _connectivity(levels: Levels, connected: Doubles) -> Doubles:
    distance = levels / 255 - connected
    return 1 - distance * (distance >= CONNECTIVITY_TOLERANCE)
