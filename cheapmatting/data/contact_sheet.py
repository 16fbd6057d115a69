"""Many samples in one picture, to look at what a network is trained on.

python -m cheapmatting.data.contact_sheet synthetic.png
python -m cheapmatting.data.contact_sheet mine.png --foregrounds cutouts/ --backgrounds photos/
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from atldas.common.errors import exit_status

from ..arrays import Bytes, Floats
from ..drawing.foregrounds import FOREGROUNDS
from ..images import write_image
from .sample import Sample, composite
from .sources import FolderSource, SyntheticSource

COLUMNS = ("image", "alpha", "trimap", "foreground", "on green")
GREEN = np.array([0.15, 0.6, 0.25], np.float32)
GAP = 2  # pixels of white between the tiles
HEADING = 18  # pixels


def contact_sheet(samples: Sequence[Sample], path: str | Path, labels: Sequence[str] = (), tile: int = 128) -> None:
    """Write one row for every sample: image, alpha, trimap, foreground, and the foreground on plain green.

    Args:
        samples: of any size.
        path: an image file of the formats in `write_image`.
        labels: a name for each row, or nothing.
        tile: side of a tile in pixels.

    Raises:
        UserError: the file cannot be written.
    """
    heading = np.full((HEADING, len(COLUMNS) * (tile + GAP), 3), 255, np.uint8)
    for column, name in enumerate(COLUMNS):
        _write(heading, name, (column * (tile + GAP) + 3, 13), (0, 0, 0))
    rows = [heading]
    for i, sample in enumerate(samples):
        row = np.hstack([_tile(picture, tile) for picture in pictures(sample)])
        if labels:
            _write(row, labels[i], (4, 14), (0, 0, 0), 3)
            _write(row, labels[i], (4, 14), (255, 255, 255))
        rows.append(row)
    write_image(path, np.vstack(rows))


def pictures(sample: Sample) -> list[Floats]:
    """The columns of a sample's row, float32 RGB [H, W, 3] each in 0..1, in the order of `COLUMNS`."""
    planes = (sample.alpha, sample.trimap * np.float32(1 / 255))
    grey = [np.repeat(plane[..., None], 3, axis=2).astype(np.float32) for plane in planes]
    on_green = composite(sample.foreground, np.broadcast_to(GREEN, sample.foreground.shape), sample.alpha)
    return [sample.image, *grey, sample.foreground, on_green]


def _tile(picture: Floats, tile: int) -> Bytes:
    """A picture as a uint8 square with a white gap to its right and below."""
    interpolation = cv2.INTER_AREA if picture.shape[0] > tile else cv2.INTER_LINEAR
    small = cv2.resize(picture, (tile, tile), interpolation=interpolation)
    levels = np.rint(np.clip(small, 0, 1) * 255).astype(np.uint8)
    return np.pad(levels, ((0, GAP), (0, GAP), (0, 0)), constant_values=255)


def _write(picture: Bytes, text: str, at: tuple[int, int], colour: tuple[int, int, int], thickness: int = 1) -> None:
    cv2.putText(picture, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.42, colour, thickness, cv2.LINE_AA)


def main() -> int:
    """The command in the module's docstring."""
    parser = argparse.ArgumentParser(
        prog="python -m cheapmatting.data.contact_sheet", description=contact_sheet.__doc__
    )
    parser.add_argument("path", help="the picture to write")
    parser.add_argument("--foregrounds", help="a folder of RGBA cut-outs (default: procedural foregrounds)")
    parser.add_argument("--backgrounds", help="a folder of photographs (default: procedural backgrounds)")
    parser.add_argument("--size", type=int, default=256, help="side of a sample in pixels (default 256)")
    parser.add_argument("--seed", type=int, default=0, help="other seeds give other samples (default 0)")
    parser.add_argument("--tile", type=int, default=128, help="side of a tile in pixels (default 128)")
    arguments = parser.parse_args()

    def write() -> None:
        size, seed = arguments.size, arguments.seed
        if arguments.foregrounds:
            source = FolderSource(arguments.foregrounds, arguments.backgrounds, size, seed)
            contact_sheet([source[i] for i in range(14)], arguments.path, tile=arguments.tile)
            return
        labels = [*FOREGROUNDS, "hair", "smoke", "glass"]
        sources = [SyntheticSource(size, seed, arguments.backgrounds, [kind]) for kind in labels]
        samples = [source[i] for i, source in enumerate(sources)]
        contact_sheet(samples, arguments.path, labels, arguments.tile)

    return exit_status(write)


if __name__ == "__main__":
    raise SystemExit(main())
