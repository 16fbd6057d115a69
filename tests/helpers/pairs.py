"""Small pairs for tests of what is done to pairs."""

from pathlib import Path

import cv2
import numpy as np

from cheapmatting.data.cutouts import read_cutout
from cheapmatting.data.sample import Sample
from cheapmatting.images import write_image
from cheapmatting.trimap import make_trimap

SIZE = 64
ARRAYS = ("foreground", "background", "alpha", "trimap")


def soft_disc(size: int = SIZE, radius: float = 18, soft: float = 6) -> np.ndarray:
    ys, xs = np.mgrid[:size, :size] - (size - 1) / 2
    return np.clip((radius - np.hypot(xs, ys)) / soft + 0.5, 0, 1).astype(np.float32)


def a_sample(seed: int = 0) -> Sample:
    rng = np.random.default_rng(seed)
    foreground, background = (
        cv2.resize(rng.random((6, 6, 3), np.float32), (SIZE, SIZE), interpolation=cv2.INTER_LINEAR) for _ in range(2)
    )
    alpha = soft_disc()
    return Sample(foreground, background, alpha, make_trimap(alpha, 3, 3))


def a_photograph() -> Sample:
    """A sample without layers."""
    layered = a_sample()
    return Sample.of_image(layered.image, layered.alpha, layered.trimap)


def equal(first: Sample, second: Sample) -> bool:
    return all(np.array_equal(getattr(first, name), getattr(second, name)) for name in ARRAYS)


def write_cutout(path: Path, seed: int, height: int = 60, width: int = 80) -> None:
    """An opaque coloured ellipse with a one-pixel soft edge; black where transparent."""
    ys, xs = np.mgrid[:height, :width]
    r = np.hypot((ys - height / 2) / (height * 0.4), (xs - width / 2) / (width * 0.4))
    alpha = np.clip((1 - r) * height * 0.4 + 0.5, 0, 1)
    colour = np.random.default_rng(seed).integers(100, 256, 3)
    rgb = np.where(alpha[..., None] > 0, colour, 0)
    write_image(path, np.dstack([rgb, alpha * 255]).astype(np.uint8))


def write_pair(root: Path, name: str, seed: int, mode: str = "grey", suffix: str = ".jpg") -> None:
    """An ellipse as colours/NAME.jpg (white where transparent) and alphas/NAME.png."""
    write_cutout(root / "whole.png", seed)
    rgba = read_cutout(root / "whole.png")
    (root / "whole.png").unlink()
    (root / "colours").mkdir(exist_ok=True)
    (root / "alphas").mkdir(exist_ok=True)
    alpha = rgba[..., 3]
    colours = np.where(alpha[..., None] > 0, rgba[..., :3], 255).astype(np.uint8)
    write_image(root / "colours" / f"{name}{suffix}", colours)
    modes = {"grey": alpha, "rgb": np.dstack([alpha] * 3), "rgba": np.dstack([colours, alpha])}
    write_image(root / "alphas" / f"{name}.png", modes[mode])
