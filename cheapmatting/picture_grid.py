"""Pictures of any size in labelled rows and columns, for people to compare."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from .arrays import Bytes

GAP = 4  # pixels of white between the tiles
LABEL = 18  # pixels: the height of a heading and of a row's label
EMPTY = 235  # the grey of a tile whose picture is shorter or missing
LETTER = 7  # pixels that a letter is wide, at most
GREEN = (40, 160, 60)  # RGB, unlike what cut-outs are made of


class Row(NamedTuple):
    """A line of pictures: uint8 grey [H, W] or RGB [H, W, 3], or None for one that is missing."""

    label: str
    pictures: Sequence[Bytes | None]


def picture_grid(headings: Sequence[str], rows: Sequence[Row], tile: int = 256) -> Bytes:
    """All rows under the headings of their columns: uint8 RGB [H, W, 3].

    Every picture is fitted into a square of `tile` pixels, its sides in proportion. Labels are shortened to their room;
    letters other than ASCII's are shown as question marks, since OpenCV draws no others.
    """
    width = len(headings) * (tile + GAP) - GAP
    parts = [
        np.hstack([np.pad(_text(name, tile), ((0, 0), (0, GAP), (0, 0)), constant_values=255) for name in headings])
    ]
    for row in rows:
        tiles = [fitted(picture, tile) for picture in row.pictures]
        height = max(row_tile.shape[0] for row_tile in tiles)
        line = np.full((height, width + GAP, 3), 255, np.uint8)
        for column, picture in enumerate(tiles):
            left = column * (tile + GAP)
            line[:, left : left + tile] = EMPTY
            line[: picture.shape[0], left : left + picture.shape[1]] = picture
        parts += [_text(row.label, width + GAP), line]
    return np.ascontiguousarray(np.vstack(parts)[:, :width])


def fitted(picture: Bytes | None, tile: int) -> Bytes:
    """A picture as RGB whose longer side is `tile` pixels; a thin grey strip for None."""
    if picture is None:
        return np.full((1, tile, 3), EMPTY, np.uint8)
    ratio = tile / max(picture.shape[:2])
    size = tuple(max(1, round(length * ratio)) for length in picture.shape[1::-1])
    # Enlarged pixels stay visible as what they are.
    interpolation = cv2.INTER_AREA if ratio < 1 else cv2.INTER_NEAREST
    resized = np.asarray(cv2.resize(picture, size, interpolation=interpolation), np.uint8)
    return resized if resized.ndim == 3 else np.repeat(resized[..., None], 3, axis=2)


def on_green(rgba: Bytes) -> Bytes:
    """A straight RGBA cut-out, uint8 [H, W, 4], on plain green: uint8 RGB [H, W, 3]."""
    alpha = rgba[..., 3:].astype(np.float32) / 255
    return np.rint(alpha * rgba[..., :3] + (1 - alpha) * np.array(GREEN)).astype(np.uint8)


def error_picture(alpha: Bytes, truth: Bytes, trimap: Bytes) -> Bytes:
    """Where and how an alpha is wrong, uint8 RGB [H, W, 3], from three planes uint8 [H, W].

    In the unknown region red is too opaque, blue is too clear, the fuller the colour the larger the error, and black is
    right. The known region is dark grey.
    """
    error = alpha.astype(np.int16) - truth
    picture = np.zeros((*alpha.shape, 3), np.int16)
    picture[..., 0], picture[..., 2] = error, -error
    picture[..., 1] = np.abs(error) // 3  # blue alone is hard to see on black
    picture[trimap != 128] = 45
    return np.clip(picture, 0, 255).astype(np.uint8)


def _text(text: str, width: int) -> Bytes:
    line = np.full((LABEL, width, 3), 255, np.uint8)
    room = max(4, width // LETTER)
    short = text if len(text) <= room else text[: room - 3] + "..."
    cv2.putText(line, short, (3, LABEL - 5), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 0, 0), 1, cv2.LINE_AA)
    return line
