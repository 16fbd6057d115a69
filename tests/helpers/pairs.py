"""Small pairs for tests of what is done to pairs."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from cheapmatting.data.augment import PLAIN, AugmentConfig
from cheapmatting.data.config import CutoutsConfig, DataConfig, SourceConfig, SyntheticConfig, make_source
from cheapmatting.data.cutouts import read_cutout
from cheapmatting.data.sample import Sample
from cheapmatting.data.sources import Source
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


def one_source(source: SourceConfig, size: int, seed: int = 0, augment: AugmentConfig = PLAIN) -> Source:
    """What one source configuration makes."""
    return make_source(DataConfig(size=size, sources=(source,), augment=augment), seed)


def synthetic(size: int, seed: int = 0, augment: AugmentConfig = PLAIN, **keys: Any) -> Source:
    """Procedural foregrounds."""
    return one_source(SyntheticConfig(**keys), size, seed, augment)


def cutouts(foregrounds: Path, backgrounds: Path | None, size: int, seed: int = 0, **keys: Any) -> Source:
    """Cut-outs over photographs, or over procedural backgrounds."""
    folder = None if backgrounds is None else str(backgrounds)
    return one_source(CutoutsConfig(foregrounds=str(foregrounds), backgrounds=folder), size, seed, **keys)


def write_folders(root: Path) -> tuple[Path, Path]:
    """Three cut-outs in root/foregrounds and three photographs of noise in root/backgrounds."""
    foregrounds, backgrounds = root / "foregrounds", root / "backgrounds"
    foregrounds.mkdir()
    backgrounds.mkdir()
    for i in range(3):
        write_cutout(foregrounds / f"cut{i}.png", i)
        noise = np.random.default_rng(i).integers(0, 256, (90 + i, 70, 3)).astype(np.uint8)
        write_image(backgrounds / f"photo{i}.jpg", noise)
    return foregrounds, backgrounds


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


def mix_of(root: Path) -> dict[str, Any]:
    """A configuration of every kind of source, with all augmentation."""
    cutouts, photos = root / "cutouts", root / "photos"
    cutouts.mkdir()
    photos.mkdir()
    for i in range(3):
        write_cutout(cutouts / f"cut{i}.png", i)
        noise = np.random.default_rng(i).integers(0, 256, (90, 70, 3)).astype(np.uint8)
        write_image(photos / f"photo{i}.jpg", noise)
    write_pair(root, "a", 7)
    (cutouts / "broken.png").write_bytes(b"broken")
    pairs = {"foregrounds": str(root / "colours"), "alphas": str(root / "alphas")}
    return {
        "size": 48,
        "augment": {"real_world": True},
        "sources": [
            {"kind": "cutouts", "foregrounds": str(cutouts), "backgrounds": str(photos), "weight": 2.0},
            {"kind": "pairs", **pairs, "backgrounds": str(photos)},
            {"kind": "composed", "images": str(root / "colours"), "alphas": str(root / "alphas")},
            {"kind": "synthetic"},
        ],
    }
