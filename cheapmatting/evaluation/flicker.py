"""How much an alpha flickers: dtSSD.

M. Erofeev et al., "Perceptually Motivated Benchmark for Video Matting", BMVC 2015: the difference of the changes from
frame to frame, which a constant error does not raise. As in the published tables, for each pair of frames that follow
each other it is the root of the mean square over all pixels, times 100; the figure of a video is the mean over its
pairs.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from atldas.common.errors import UserError

from ..arrays import Floats


def dtssd(alphas: Iterable[Floats], truths: Iterable[Floats]) -> float:
    """dtSSD of a video's alphas, float [H, W] in 0..1 each, against the truth; only two frames are held at once.

    Raises:
        UserError: fewer than two frames, or numbers or sizes that differ.
    """
    total, pairs = 0.0, 0
    before: Floats | None = None
    try:
        for alpha, truth in zip(alphas, truths, strict=True):
            if alpha.shape != truth.shape:
                raise UserError(f"frame {pairs}: expected the truth's size {truth.shape}, got {alpha.shape}")
            error = alpha.astype(np.float32) - truth.astype(np.float32)
            if before is not None:
                total += float(np.sqrt(np.mean(np.square(error - before), dtype=np.float64)))
                pairs += 1
            before = error
    except ValueError as error_of_zip:
        raise UserError(f"dtSSD: expected as many alphas as truths, got others ({error_of_zip})") from error_of_zip
    if not pairs:
        raise UserError("dtSSD: expected two frames or more, got fewer")
    return 100 * total / pairs
