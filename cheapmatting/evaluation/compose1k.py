"""Composition-1K, the field's test set, from your own copies of Adobe's data set and PASCAL VOC2012.

The protocol is that of Xu et al., Deep Image Matting, CVPR 2017, and of the code that comes with the data set:

- Foregrounds and backgrounds are taken in the order of their lists, 20 backgrounds for each foreground.
- A background that is smaller than the foreground is enlarged until it covers it (bicubic, by Pillow).
- The top left part of the background is used, as large as the foreground.
- The composite is computed in 0..255 in double precision, and truncated.

Pillow reads the images, as in that code: other decoders differ by one level in some pixels. The files differ in bytes
from those that other programs write, but their pixels are the same.

The training list names the 431 x 100 pairs of foreground and COCO background. Training composes them when needed.
"""

from __future__ import annotations

import argparse
import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

from atldas.common.atomic import atomic_path, write_text
from atldas.common.checksum import sha256_of_arrays, sha256_of_file
from atldas.common.errors import UserError, exit_status
from atldas.common.progress import progress

from ..arrays import Bytes
from ..data.name_list import read_names
from ..images import require_same_size, write_image

EXAMPLES = """examples:
  cheapmatting compose1k Combined_Dataset VOCdevkit/VOC2012/JPEGImages composition-1k
  cheapmatting compose1k Combined_Dataset VOC2012/JPEGImages composition-1k --coco train2014
"""
TEST_BACKGROUNDS, TRAINING_BACKGROUNDS = 20, 100  # for each foreground
MANIFEST = "manifest.tsv"
COLUMNS = ("file", "sha256", "sha256_of_pixels", "foreground", "background")
LAYOUT = """Adobe's data set unpacked is laid out as
  Test_set/test_fg_names.txt, test_bg_names.txt
  Test_set/Adobe-licensed images/{fg,alpha,trimaps}/
  Training_set/training_fg_names.txt, training_bg_names.txt
  Training_set/{Adobe-licensed images,Other}/{fg,alpha}/"""


class Pair(NamedTuple):
    """One composite to make: the background number `number` of the foreground `name`."""

    name: str  # the foreground's file name
    number: int
    foreground: Path
    alpha: Path
    background: Path

    @property
    def composite(self) -> str:
        return f"{Path(self.name).stem}_{self.number}.png"


class Written(NamedTuple):
    """A line of the manifest."""

    file: str  # relative to the manifest
    sha256: str
    sha256_of_pixels: str  # of the uint8 array; does not depend on the version of the PNG writer
    foreground: str
    background: str


def compose(foreground: Bytes, alpha: Bytes, background: Bytes) -> Bytes:
    """alpha F + (1 - alpha) B in 0..255, truncated: uint8 [H, W, 3].

    Double precision, as in the original code: single precision gives another integer where the sum is nearly whole.

    Args:
        foreground, background: uint8 [H, W, 3].
        alpha: uint8 [H, W].
    """
    share = alpha[..., None] / 255
    return (share * foreground + (1 - share) * background).astype(np.uint8)


def covering(background: Image.Image, width: int, height: int) -> Bytes:
    """The top left `width` x `height` pixels of a background, uint8 [H, W, 3]; a smaller one is enlarged first."""
    ratio = max(width / background.width, height / background.height)
    if ratio > 1:
        larger = (math.ceil(background.width * ratio), math.ceil(background.height * ratio))
        background = background.resize(larger, Image.Resampling.BICUBIC)
    return np.asarray(background.crop((0, 0, width, height)), np.uint8)


def pairs_for_testing(adobe: str | Path, voc: str | Path) -> list[Pair]:
    """The test set's pairs in their order: 1,000 for Adobe's lists.

    Raises:
        UserError: a list or an image is missing, or there are fewer than 20 backgrounds for each foreground.
    """
    root = Path(adobe) / "Test_set"
    return _pairs(root, "test", [root / "Adobe-licensed images"], Path(voc), TEST_BACKGROUNDS, "PASCAL VOC2012")


def pairs_for_training(adobe: str | Path, coco: str | Path) -> list[Pair]:
    """The training set's pairs in their order: 43,100 for Adobe's lists.

    Raises:
        UserError: as `pairs_for_testing`, with 100 backgrounds for each foreground.
    """
    root = Path(adobe) / "Training_set"
    folders = [root / "Adobe-licensed images", root / "Other"]
    return _pairs(root, "training", folders, Path(coco), TRAINING_BACKGROUNDS, "COCO train2014")


def _pairs(
    root: Path, which: str, folders: Sequence[Path], backgrounds: Path, share: int, collection: str
) -> list[Pair]:
    """The pairs that the two lists of a set name. Checks that all their files exist."""
    lists = [root / f"{which}_{what}_names.txt" for what in ("fg", "bg")]
    for path in lists:
        if not path.is_file():
            raise UserError(f"{path}: expected a list of names, got no file. {LAYOUT}")
    foreground_names, background_names = (read_names(path) for path in lists)
    needed = share * len(foreground_names)
    if len(background_names) < needed:
        raise UserError(
            f"{lists[1]}: expected {needed} backgrounds or more, {share} for each of the {len(foreground_names)} "
            f"foregrounds in {lists[0].name}, got {len(background_names)}"
        )
    pairs = []
    for f, name in enumerate(foreground_names):
        home = next((folder for folder in folders if (folder / "fg" / name).is_file()), folders[0])
        for i in range(share):
            background = backgrounds / background_names[share * f + i]
            pairs.append(Pair(name, i, home / "fg" / name, home / "alpha" / name, background))
    _check_there({path for pair in pairs[::share] for path in (pair.foreground, pair.alpha)}, LAYOUT)
    hint = f"Give the folder that holds the images of {collection}"
    _check_there({pair.background for pair in pairs}, hint)
    return pairs


def _check_there(paths: set[Path], hint: str) -> None:
    missing = sorted(path for path in paths if not path.is_file())
    if missing:
        first = ", ".join(str(path) for path in missing[:3])
        raise UserError(f"expected {len(paths)} files, but {len(missing)} are missing, the first: {first}. {hint}")


def write_training_list(pairs: Sequence[Pair], path: str | Path) -> None:
    """Write pairs as lines of composite name, foreground, alpha and background, separated by tabs."""
    lines = ["composite\tforeground\talpha\tbackground"]
    lines += [f"{pair.composite}\t{pair.foreground}\t{pair.alpha}\t{pair.background}" for pair in pairs]
    write_text(path, "\n".join(lines) + "\n")


def build_test_set(pairs: Sequence[Pair], folder: str | Path) -> int:
    """Write `merged/`, `alpha/`, `trimaps/` and a manifest of checksums; returns how many files were written.

    Alpha is written once for each foreground, as a grey image. Trimaps are copied. A file of an interrupted call is
    kept if the manifest holds its checksum; all other files are written again. Files appear whole or not at all.

    Raises:
        UserError: an image cannot be read, a trimap is missing, or the folder cannot be written to.
    """
    folder = Path(folder)
    _check_there({_trimap(pair) for pair in pairs}, LAYOUT)
    known = read_manifest(folder / MANIFEST)
    entries: list[Written] = []
    count = 0
    with progress(len(pairs), "compose", "image") as bar:
        for group in _by_foreground(pairs):
            wanted = _files(group)
            kept = [known[file] for file in wanted if file in known and _unchanged(folder, known[file])]
            if len(kept) < len(wanted):
                kept = _write_group(group, folder)
                count += len(kept)
            entries += kept
            write_manifest(entries, folder / MANIFEST)
            bar.update(len(group))
    return count


def _by_foreground(pairs: Sequence[Pair]) -> Iterator[list[Pair]]:
    groups: dict[str, list[Pair]] = {}
    for pair in pairs:
        groups.setdefault(pair.name, []).append(pair)
    yield from groups.values()


def _files(group: Sequence[Pair]) -> list[str]:
    """The files that are written for one foreground, relative to the test set's folder."""
    alpha = f"alpha/{Path(group[0].name).stem}.png"
    return [alpha, *(f"{kind}/{pair.composite}" for pair in group for kind in ("merged", "trimaps"))]


def _write_group(group: Sequence[Pair], folder: Path) -> list[Written]:
    """Write the files of one foreground, in the order of `_files`."""
    first = group[0]
    foreground, alpha = _read_rgb(first.foreground), read_first_channel(first.alpha)
    height, width = alpha.shape
    colours = np.asarray(foreground, np.uint8)
    require_same_size(first.alpha, alpha, first.foreground, colours)
    written = [_write(alpha, folder, f"alpha/{Path(first.name).stem}.png", first.name, "")]
    for pair in group:
        merged = compose(colours, alpha, covering(_read_rgb(pair.background), width, height))
        written.append(_write(merged, folder, f"merged/{pair.composite}", pair.name, pair.background.name))
        written.append(_copy(_trimap(pair), folder, f"trimaps/{pair.composite}", pair))
    return written


def _write(pixels: Bytes, folder: Path, file: str, foreground: str, background: str) -> Written:
    write_image(folder / file, pixels)
    return Written(file, sha256_of_file(folder / file), sha256_of_arrays(pixels), foreground, background)


def _copy(source: Path, folder: Path, file: str, pair: Pair) -> Written:
    with atomic_path(folder / file) as temporary:
        shutil.copyfile(source, temporary)
    pixels = read_first_channel(folder / file)
    return Written(file, sha256_of_file(folder / file), sha256_of_arrays(pixels), pair.name, pair.background.name)


def _trimap(pair: Pair) -> Path:
    return pair.foreground.parents[1] / "trimaps" / pair.composite


def _read_rgb(path: Path) -> Image.Image:
    """An image by Pillow, as RGB; an alpha channel is dropped.

    Raises:
        UserError: it cannot be read.
    """
    image = _open(path)
    return image if image.mode == "RGB" else image.convert("RGB")


def read_first_channel(path: str | Path) -> Bytes:
    """The first channel of an image file by Pillow, uint8 [H, W].

    Raises:
        UserError: it cannot be read.
    """
    image = _open(Path(path))
    levels = np.asarray(image if image.mode in ("L", "RGB", "RGBA", "LA") else image.convert("L"), np.uint8)
    return np.ascontiguousarray(levels if levels.ndim == 2 else levels[..., 0])


def _open(path: Path) -> Image.Image:
    try:
        with open(path, "rb") as file:
            image = Image.open(file)
            image.load()
    except UnidentifiedImageError as error:
        raise UserError(f"{path}: expected an image, got a damaged or other file") from error
    except (OSError, SyntaxError) as error:  # Pillow's name for a broken PNG
        raise UserError(f"{path}: cannot be read ({error})") from error
    return image


def _unchanged(folder: Path, entry: Written) -> bool:
    path = folder / entry.file
    return path.is_file() and sha256_of_file(path) == entry.sha256


def read_manifest(path: str | Path) -> Mapping[str, Written]:
    """The lines of a manifest by file; nothing if there is none.

    Raises:
        UserError: it is not a manifest.
    """
    if not Path(path).exists():
        return {}
    try:
        header, *lines = Path(path).read_text(encoding="utf-8").splitlines() or [""]
        if tuple(header.split("\t")) != COLUMNS:
            raise ValueError(header)
        entries = [Written(*line.split("\t")) for line in lines]
    except (ValueError, TypeError, OSError) as error:
        raise UserError(
            f"{path}: expected a manifest of this program, got another file; delete it to begin again"
        ) from error
    return {entry.file: entry for entry in entries}


def write_manifest(entries: Sequence[Written], path: str | Path) -> None:
    """Write a manifest: one line for each file, separated by tabs."""
    write_text(path, "\n".join("\t".join(line) for line in (COLUMNS, *entries)) + "\n")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments, for a parser of its own or a verb's."""
    parser.add_argument("adobe", type=Path, help="Adobe's data set: the folder that holds Test_set and Training_set")
    parser.add_argument("voc", type=Path, help="the JPEGImages folder of PASCAL VOC2012")
    parser.add_argument("out", type=Path, help="the folder to write; an interrupted run goes on where it stopped")
    parser.add_argument("--coco", type=Path, help="COCO's train2014 folder: also write the training list, training.tsv")


def run(options: argparse.Namespace) -> int:
    """The command itself.

    Raises:
        UserError: as `pairs_for_testing`, `pairs_for_training` and `build_test_set`.
    """
    pairs = pairs_for_testing(options.adobe, options.voc)
    training = pairs_for_training(options.adobe, options.coco) if options.coco else []
    written = build_test_set(pairs, options.out)
    print(f"{options.out}: {len(pairs)} composites with alpha and trimaps, {written} files written; see {MANIFEST}")
    if training:
        write_training_list(training, options.out / "training.tsv")
        print(f"{options.out / 'training.tsv'}: {len(training)} pairs")
    return 0


def main() -> int:
    """The command on its own."""
    parser = argparse.ArgumentParser(
        prog="python -m cheapmatting.evaluation.compose1k", description="Build Composition-1K."
    )
    add_arguments(parser)
    return exit_status(lambda: run(parser.parse_args()))


if __name__ == "__main__":
    raise SystemExit(main())
