"""Hold out foregrounds by subject and backgrounds at random; write the lists that the recipes name.

    python experiments/data/validation_split.py --foregrounds DIR --backgrounds DIR --out experiments/data/validation

Two cut-outs belong to one subject if their names begin with the same word (`konrad-human-glad`, `konrad-elvish`), or if
their pictures are alike: colours and alpha at 16x16, also mirrored, with a correlation over 0.9. Subjects, not files,
are drawn, so that no near-duplicate of a held-out foreground is trained on.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import cv2
import networkx as nx
import numpy as np
import numpy.typing as npt

from atldas.common.atomic import write_text
from atldas.common.errors import exit_status
from cheapmatting.data.image_folder import image_files
from cheapmatting.images import read_rgba

ALIKE = 0.9
THUMBNAIL = 16


def thumbnail(path: Path) -> npt.NDArray[np.float32]:
    """Colours over grey and alpha at 16x16, standardised, flat."""
    colours, alpha = read_rgba(path)
    shown = alpha[..., None] * colours / 255 + (1 - alpha[..., None]) * 0.5
    small = cv2.resize(
        np.dstack([shown, alpha]).astype(np.float32), (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA
    )
    flat = small - small.mean(axis=(0, 1))
    return np.asarray(flat / (np.linalg.norm(flat) + 1e-9), np.float32)


def subjects(paths: list[Path]) -> list[list[Path]]:
    """The files grouped by subject."""
    graph = nx.Graph()
    graph.add_nodes_from(range(len(paths)))
    first_of: dict[str, int] = {}
    for index, path in enumerate(paths):
        words = re.split(r"[-_\d]+", path.stem.partition("__")[2] or path.stem)
        key = f"{path.stem.partition('__')[0]}/{words[0] or path.stem}"
        graph.add_edge(index, first_of.setdefault(key, index))
    pictures = np.stack([thumbnail(path) for path in paths])  # [N, 16, 16, 4]
    flat = pictures.reshape(len(paths), -1)
    mirrored = pictures[:, :, ::-1].reshape(len(paths), -1)
    alike = np.maximum(flat @ flat.T, flat @ mirrored.T) > ALIKE
    graph.add_edges_from(np.argwhere(np.triu(alike, 1)).tolist())
    return [[paths[index] for index in sorted(group)] for group in nx.connected_components(graph)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--foregrounds", type=Path, required=True)
    parser.add_argument("--backgrounds", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--share", type=float, default=0.12, help="of foregrounds, of photos (default 0.12)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    foregrounds = image_files(options.foregrounds)
    groups = subjects(foregrounds)
    wanted = options.share * len(foregrounds)
    held_out: list[str] = []
    for number in rng.permutation(len(groups)):
        # A subject with many files would fill the set with itself: it is for training.
        if len(groups[number]) <= wanted / 10 and len(held_out) < wanted:
            held_out += [path.name for path in groups[number]]
    backgrounds = sorted(path.name for path in image_files(options.backgrounds))
    chosen = rng.choice(len(backgrounds), round(options.share * len(backgrounds)), replace=False)
    write_text(options.out / "foregrounds.txt", "".join(f"{name}\n" for name in sorted(held_out)))
    write_text(options.out / "backgrounds.txt", "".join(f"{backgrounds[i]}\n" for i in sorted(chosen)))
    print(
        f"{len(groups)} subjects in {len(foregrounds)} foregrounds; held out {len(held_out)} and {len(chosen)} photos"
    )


if __name__ == "__main__":
    raise SystemExit(exit_status(main))
