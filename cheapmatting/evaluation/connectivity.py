"""The level of alpha up to which each pixel is connected to the main body of the image: the l of Conn.

Rhemann et al., "A Perceptually Motivated Online Benchmark for Image Matting", CVPR 2009, in the discrete
form of the MATLAB code released with Deep Image Matting.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

STEPS = 10  # thresholds at 0, 0.1, ..., 1


def connected_level(p: npt.NDArray[np.uint8], g: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """The l of two alphas [H, W] in 0..255: [H, W] float64, each pixel one of 0, 0.1, ..., 1.

    Omega_i is the largest component of the pixels where both alphas reach the threshold t_i = i / 10. A
    pixel's l is the last threshold before the first Omega_i, i >= 1, that lacks it, and 1 where none does.
    """
    both = np.minimum(p, g)  # both reach a threshold exactly where the lesser does
    inside = np.ones(both.shape, dtype=np.bool_)  # in every Omega so far
    steps = np.zeros(both.shape, dtype=np.uint8)
    for step in range(1, STEPS + 1):
        inside &= largest_component(both >= lowest_level(step))
        steps += inside
    return steps / STEPS


def lowest_level(step: int) -> int:
    """The lowest level 0..255 that reaches the threshold step / 10.

    MATLAB compares level / 255 with step / 10 in single precision. Both sides are correctly rounded, so equal
    fractions such as 153 / 255 and 6 / 10 compare equal, and the answer is that of whole numbers: 10 level >=
    255 step. In double precision the sixth multiple of 0.1 comes out as 0.6000000000000001, and 153 falls on
    the wrong side.
    """
    return -(-255 * step // STEPS)


def largest_component(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """The largest 4-connected component of the true pixels of `mask` [H, W]; all false where none is true.

    Of equally large components it is the one whose first pixel comes first going down the columns, left to
    right: the order of MATLAB's `bwconncomp`, of which `max` takes the first.
    """
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=4)
    if count == 1:  # label 0 is everything that is not in the mask: never a component, however large
        return np.zeros_like(mask)
    areas = stats[1:, cv2.CC_STAT_AREA]
    largest = 1 + np.flatnonzero(areas == areas.max())
    if len(largest) == 1:
        return np.asarray(labels == largest[0])
    is_largest = np.zeros(count, dtype=np.bool_)
    is_largest[largest] = True
    columns = labels.T.ravel()  # down the columns
    return np.asarray(labels == columns[np.argmax(is_largest[columns])])
