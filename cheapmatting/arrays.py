"""The array types of images, and the random generator that everything drawn takes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]  # images [H, W, 3] RGB, trimaps [H, W]; 0..255
Floats = npt.NDArray[np.float32]  # images [H, W, 3], alpha [H, W]; 0..1
Points = npt.NDArray[np.floating]  # [..., 2], x first, of either precision
Rng = np.random.Generator
