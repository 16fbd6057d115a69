"""Which genotype is meant by a path, a run's folder, a model's file or the name of something that ships."""

from __future__ import annotations

from pathlib import Path

import safetensors

from .common.errors import UserError
from .genotype import Genotype, shipped_names

IN_FOLDER = ("genotype.yaml", "variant.yaml")


def find_genotype(source: str | Path) -> Genotype:
    """A genotype from its file, a run's folder, a model file whose metadata hold it, or a shipped name.

    Raises:
        UserError: none of them, or a fault in it.
    """
    path = Path(source)
    if path.suffix == ".safetensors" and path.is_file():
        return _of_model(path)
    if path.is_dir() and str(source) not in shipped_names():
        for name in IN_FOLDER:
            if (path / name).is_file():
                return Genotype.load(path / name)
        if (path / "model.safetensors").is_file():
            return _of_model(path / "model.safetensors")
        raise UserError(f"{path}: expected a run's folder with {' or '.join(IN_FOLDER)}, got a folder without")
    return Genotype.load(source)


def _of_model(path: Path) -> Genotype:
    try:
        with safetensors.safe_open(path, "pt") as file:
            text = (file.metadata() or {}).get("genotype")
    except safetensors.SafetensorError as error:
        raise UserError(f"{path}: expected a whole safetensors file, got a damaged one ({error})") from error
    if text is None:
        raise UserError(f"{path}: expected a model with its genotype in the metadata, got one without")
    return Genotype.parse(text, f"{path} (metadata)")
