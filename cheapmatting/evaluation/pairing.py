"""Matching the files of an evaluation by their names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from atldas.common.errors import UserError

from ..data.cutouts import matched
from ..data.image_folder import image_files

SHOWN = 5  # names in a message


@dataclass(frozen=True)
class Entry:
    """The files of one image.

    Attributes:
        name: its path in its folder, without the suffix.
        truth, trimap: files.
        image, prediction: files, or None where there are none.
    """

    name: str
    truth: Path
    trimap: Path
    image: Path | None = None
    prediction: Path | None = None

    @property
    def files(self) -> list[Path]:
        """All files that a measurement depends on; the photograph of a ready prediction is only shown."""
        source = self.prediction or self.image
        return [self.truth, self.trimap, *([source] if source else [])]


@dataclass(frozen=True)
class Pairing:
    """The images with their files, sorted by name, and the names of the files without a partner.

    `unpaired` has an entry for each kind of missing partner, such as `predictions without a truth`.
    """

    entries: list[Entry]
    unpaired: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def messages(self) -> list[str]:
        """One line for each kind of missing partner."""
        return [f"{len(names)} {how}: {_shown(names)}" for how, names in self.unpaired.items()]


def pair_files(truths: Path, trimaps: Path, predictions: Path | None = None, images: Path | None = None) -> Pairing:
    """Match the files by the names of the predictions or, without predictions, of the images.

    Names must agree except for the suffix; they include the folders below. The image `cat_7` also matches the truth
    `cat`, as in Composition-1K (see `cutouts.matched`).

    Raises:
        UserError: a folder is missing or empty, a name is there twice, or no image has both a truth and a trimap.
    """
    what, folder = ("predictions", predictions) if predictions else ("images", images)
    assert folder is not None  # the command saw to it
    paths = image_files(folder)
    names = {path: path.relative_to(folder).with_suffix("").as_posix() for path in paths}
    _refuse_twins(folder, names)
    partners = {"truth": (truths, matched(paths, folder, truths)), "trimap": (trimaps, matched(paths, folder, trimaps))}
    unpaired: dict[str, list[str]] = {}
    for kind, (there, (matches, missing)) in partners.items():
        unpaired[f"{what} without a {kind}"] = [names[path] for path in missing]
        used = set(matches.values())
        unpaired[f"{kind}s without {what}"] = [_name(path, there) for path in image_files(there) if path not in used]
    of_truth, of_trimap = (partners[kind][1][0] for kind in ("truth", "trimap"))
    photos = {path: path for path in paths} if predictions is None else _photos(paths, folder, images)
    entries = [
        Entry(names[path], of_truth[path], of_trimap[path], photos.get(path), path if predictions else None)
        for path in paths
        if path in of_truth and path in of_trimap
    ]
    pairing = Pairing(
        sorted(entries, key=lambda entry: entry.name), {how: left for how, left in unpaired.items() if left}
    )
    if not entries:
        raise UserError(
            f"{folder}: expected {what} that have a truth in {truths} and a trimap in {trimaps}, of the same name up "
            f"to the suffix, got none of {len(paths)}. {'; '.join(pairing.messages())}"
        )
    return pairing


def _photos(paths: list[Path], folder: Path, images: Path | None) -> dict[Path, Path]:
    """The photographs of predictions; some may lack one, since they are only shown."""
    return {} if images is None else matched(paths, folder, images)[0]


def _refuse_twins(folder: Path, names: Mapping[Path, str]) -> None:
    counts = Counter(names.values())
    for name, count in counts.items():
        if count > 1:
            twins = ", ".join(str(path.relative_to(folder)) for path in names if names[path] == name)
            raise UserError(f"{folder}: expected one file of each name, got {count} of {name} ({twins})")


def _name(path: Path, folder: Path) -> str:
    return path.relative_to(folder).with_suffix("").as_posix()


def _shown(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
