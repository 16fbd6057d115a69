"""From a linear render to a cut-out: colours under faint strands, the tone curve, the crop."""

from __future__ import annotations

import cv2
import numpy as np

Array = np.ndarray


def straight_colours(premultiplied: Array, alpha: Array) -> Array:
    """The colour of the subject at every pixel, also where it hardly covers the pixel.

    Solid pixels keep the ratio of colour and alpha. Under faint strands, where few samples and the denoiser leave
    colours that do not fit the alpha, the ratio is taken over a neighbourhood. It starts wide and narrows as far as
    the neighbourhood holds enough of the subject.
    """
    fill = _mean_colour(premultiplied, alpha, 80)
    for sigma, enough in ((30, 0.02), (10, 0.05), (4, 0.2), (2, 0.4), (1.2, 0.6)):
        trust = np.clip(_blur(alpha, sigma) / enough, 0, 1)[..., None]
        fill = fill + trust * (_mean_colour(premultiplied, alpha, sigma) - fill)
    own = premultiplied / np.maximum(alpha, 1e-3)[..., None]
    solid = np.clip((alpha - 0.75) / 0.2, 0, 1)[..., None]
    return np.maximum(fill + solid * (own - fill), 0)


def _blur(picture: Array, sigma: float) -> Array:
    return cv2.GaussianBlur(picture, (0, 0), sigma, borderType=cv2.BORDER_CONSTANT)


def _mean_colour(premultiplied: Array, coverage: Array, sigma: float) -> Array:
    return _blur(premultiplied, sigma) / np.maximum(_blur(coverage, sigma), 1e-6)[..., None]


def exposure(colours: Array, alpha: Array, target: float) -> float:
    """The factor that brings the subject's mean brightness to a target, within limits: dark hair stays dark."""
    luminance = colours @ np.array([0.2126, 0.7152, 0.0722], np.float32)
    mean = float((luminance * alpha).sum() / max(float(alpha.sum()), 1e-6))
    bright = float(np.quantile(luminance[alpha > 0.5], 0.97)) if (alpha > 0.5).any() else 1.0
    return float(np.clip(min(target / max(mean, 1e-4), 1.1 / max(bright, 1e-4)), 0.3, 6.0))


def tone(colours: Array, shoulder: float = 0.75) -> Array:
    """Linear light to sRGB in 0 to 1. Highlights roll off by their strongest channel, so that hues stay."""
    peak = colours.max(-1, keepdims=True)
    room = 1 - shoulder
    rolled = shoulder + room * (1 - np.exp(-np.maximum(peak - shoulder, 0) / room))
    scaled = np.where(peak > shoulder, colours * rolled / np.maximum(peak, 1e-6), colours)
    white = np.clip((peak - 1) / 6, 0, 0.6)
    scaled = scaled + white * (rolled - scaled)
    return np.where(scaled <= 0.0031308, 12.92 * scaled, 1.055 * scaled ** (1 / 2.4) - 0.055)


def bytes_rgba(colours: Array, alpha: Array) -> Array:
    """An RGBA picture of bytes with straight alpha."""
    picture = np.concatenate([np.clip(colours, 0, 1), np.clip(alpha, 0, 1)[..., None]], -1)
    return np.round(picture * 255).astype(np.uint8)


def crop(picture: Array, margin: int = 2, least: int = 3) -> Array:
    """The picture cut to the pixels whose alpha is at least `least`, with a margin."""
    rows, columns = np.nonzero(picture[..., 3] >= least)
    if rows.size == 0:
        raise ValueError("the picture is empty: no pixel is covered")
    top, left = max(rows.min() - margin, 0), max(columns.min() - margin, 0)
    return picture[top : rows.max() + margin + 1, left : columns.max() + margin + 1]


def soft_share(alpha: Array) -> float:
    """The share of the pixels that are neither empty nor solid, as in the manifests of the other foregrounds."""
    return float(((alpha > 12) & (alpha < 243)).mean())
