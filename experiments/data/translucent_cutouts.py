"""List the cut-outs that are translucent over large areas, which the later recipes draw more often.

    python experiments/data/translucent_cutouts.py --foregrounds DIR \
        --exclude experiments/data/validation/foregrounds.txt --out experiments/data/translucent.txt

Broadly translucent is where alpha is neither 0 nor 1 for four pixels around: a wing, gauze, a flame, but no edge and no
hair. Cut-outs are listed with 0.04 to 0.8 such pixels for each visible one; beyond that are mists and clouds.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from atldas.common.atomic import write_text
from atldas.common.errors import exit_status
from cheapmatting.arrays import Floats
from cheapmatting.data.image_folder import image_files
from cheapmatting.data.name_list import selected
from cheapmatting.images import read_rgba

VISIBLE = 0.08
BETWEEN = (0.04, 0.96)
AROUND = 4  # pixels
PER_VISIBLE = (0.04, 0.8)
HEADER = (
    "# Cut-outs for training that are translucent over large areas: ghosts, wings, gauze, light; "
    "by translucent_cutouts.py.\n"
)


def translucency(alpha: Floats) -> float:
    """The broadly translucent pixels of an alpha [H, W] for each visible one; over 1 where many are faint."""
    between = ((alpha > BETWEEN[0]) & (alpha < BETWEEN[1])).astype(np.uint8)
    broadly = cv2.erode(between, np.ones((2 * AROUND + 1, 2 * AROUND + 1), np.uint8))
    return float(broadly.sum()) / max(1, int((alpha > VISIBLE).sum()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--foregrounds", type=Path, required=True)
    parser.add_argument("--exclude", type=Path, help="a list of those that are held out")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    paths = selected(image_files(options.foregrounds), options.foregrounds, exclude=options.exclude)
    lowest, highest = PER_VISIBLE
    chosen = [path.name for path in paths if lowest < translucency(read_rgba(path)[1]) < highest]
    write_text(options.out, HEADER + "".join(f"{name}\n" for name in chosen))
    print(f"{len(chosen)} of {len(paths)} cut-outs are translucent over large areas")


if __name__ == "__main__":
    raise SystemExit(exit_status(main))
