"""Small pairs for tests of what is done to pairs."""

import cv2
import numpy as np

from cheapmatting.sample import Sample
from cheapmatting.trimap import make_trimap

SIZE = 64


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
