"""Which file is meant by a path, a run's folder or the name of something that ships."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from atldas.common.errors import UserError
from atldas.genotype import SHIPPED

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable  # from Python 3.11 on

DEFAULT_WEIGHTS = "cheapmatting-light"  # the name of the shipped weights; pretrained/README.md is their model card
MODEL = "model.safetensors"  # what a training leaves in its folder
GENOTYPES = ("genotype.yaml", "variant.yaml")  # what a search leaves, and what `cheapmatting run` does


def find_weights(source: str | Path) -> Path:
    """The file of weights that `source` means: a file, a training's folder, or the name of shipped weights.

    Raises:
        UserError: none of them.
    """
    return _find(source, (MODEL,), shipped_weights())


def find_model(source: str | Path) -> Path:
    """As `find_weights`, or the file of a genotype: a file, a search's folder, or the name of a shipped one.

    Raises:
        UserError: none of them.
    """
    return _find(source, (MODEL, *GENOTYPES), {**shipped_genotypes(), **shipped_weights()})


def shipped_weights() -> dict[str, Path]:
    """The files of the shipped weights by name."""
    return _files(resources.files("cheapmatting") / "pretrained", ".safetensors")


def shipped_genotypes() -> dict[str, Path]:
    """The files of the shipped genotypes by name: the published network and our variants of it."""
    return {**_files(SHIPPED, ".yaml"), **_files(resources.files("cheapmatting.experiments") / "variants", ".yaml")}


def _find(source: str | Path, in_folder: tuple[str, ...], shipped: dict[str, Path]) -> Path:
    path = Path(source)
    # A file comes before a shipped name, but a folder does not: `cheapmatting` is also the folder of our sources.
    if path.is_file():
        return path
    if str(source) in shipped:
        return shipped[str(source)]
    if not path.is_dir():
        raise UserError(f"{source}: expected a file, a run's folder or a shipped name ({', '.join(shipped)}), got none")
    for name in in_folder:
        if (path / name).is_file():
            return path / name
    raise UserError(f"{source}: expected a run's folder with {' or '.join(in_folder)}, got a folder without")


def _files(folder: Traversable, suffix: str) -> dict[str, Path]:
    paths = (Path(str(entry)) for entry in folder.iterdir())
    return {path.stem: path for path in sorted(paths) if path.suffix == suffix}
