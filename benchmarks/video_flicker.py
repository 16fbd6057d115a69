"""Flicker and error of steadied video mattes, beside mattes of single frames with the same trimaps.

    python benchmarks/video_flicker.py    # writes experiments/results/video_flicker.md

Clips are drawn, so that their alphas are known; see cheapmatting/drawing/clips.py. The first frame has the only trimap.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from atldas.common.atomic import write_text
from cheapmatting.arrays import Bytes, Floats
from cheapmatting.drawing.clips import PERIOD, made_clip
from cheapmatting.evaluation.flicker import dtssd
from cheapmatting.inference.matte import Matter
from cheapmatting.trimap import BACKGROUND, FOREGROUND, make_trimap
from cheapmatting.video.carrying import STEADY, Frame, matte_frames

CLIPS = (("hair", "clouds"), ("hair", "gradient"), ("fur", "gradient"), ("leaves", "gradient"))
PERIODS = {"slow": PERIOD, "fast": PERIOD // 4}
KEY_RADIUS = 4  # pixels around the soft ones that are unknown in the first frame's trimap
# A known pixel is wrong where the true alpha is this far from it.
WRONG = 0.1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--out", type=Path, default=Path("experiments/results/video_flicker.md"))
    options = parser.parse_args()
    lines = [
        f"`python benchmarks/video_flicker.py`: cheapmatting-light, {options.frames} frames of {options.size} x "
        f"{options.size}, `--steady {STEADY:g}`. MSE is over all pixels. Wrong: known pixels of the carried trimaps "
        f"that are off by more than {WRONG:g}, on average, and of the first trimap if it is left where it is.",
        "",
        "| clip | motion | dtSSD, single frames | dtSSD, steadied | MSE x 10^-3, single | MSE, steadied "
        "| wrong, carried | wrong, unmoved |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    matter = Matter(device="cpu")
    for kind, background in CLIPS:
        for motion, period in PERIODS.items():
            images, truths = zip(
                *made_clip(kind, background, options.size, options.frames, seed=3, period=period), strict=True
            )
            cells = [f"{value:.2f}" for value in measured(matter, images, truths)]
            lines.append(f"| {kind}, {background} | {motion} | {' | '.join(cells[:4])} | {cells[4]}% | {cells[5]}% |")
            print(lines[-1], flush=True)
            write_text(options.out, "\n".join(lines) + "\n")


def measured(matter: Matter, images: tuple[Bytes, ...], truths: tuple[Floats, ...]) -> list[float]:
    """The figures of one clip."""
    key = make_trimap(truths[0], KEY_RADIUS, KEY_RADIUS)
    frames: list[Frame] = list(matte_frames(matter.matte, images, {0: lambda image: key}))
    steadied = [frame.alpha for frame in frames]
    single = [matter.matte(frame.image, frame.trimap) for frame in frames]
    mse = [1000 * float(np.mean(np.square(np.stack(alphas) - np.stack(truths)))) for alphas in (single, steadied)]
    wrong = [
        100 * float(np.mean([wrong_share(trimap, truth) for trimap, truth in zip(trimaps, truths, strict=True)]))
        for trimaps in ([frame.trimap for frame in frames], [key] * len(frames))
    ]
    return [dtssd(single, truths), dtssd(steadied, truths), *mse, *wrong]


def wrong_share(trimap: Bytes, truth: Floats) -> float:
    """The share of all pixels that are known and wrong."""
    wrong = ((trimap == BACKGROUND) & (truth > WRONG)) | ((trimap == FOREGROUND) & (truth < 1 - WRONG))
    return float(wrong.mean())


if __name__ == "__main__":
    main()
