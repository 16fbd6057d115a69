"""Variants: a genotype with the network around its cells, from a genotype's file or from a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from atldas.common.config import from_dict
from atldas.genotype import Genotype

from . import weights
from .lookup import find_model
from .network import CheapMatting, NetworkConfig, require_cells


def variant(source: str | Path, **changes: Any) -> CheapMatting:
    """An untrained network; `changes` override settings of the genotype's `network:` section.

    Args:
        source: a genotype's file, a model's file, a run's folder, or a shipped name (see `lookup.find_model`).

    Raises:
        UserError: no such thing, or a fault in it.
    """
    path = find_model(source)
    genotype = weights.read_genotype(path) if weights.is_model(path) else Genotype.load(path)
    require_cells(genotype, str(path))
    settings = from_dict(NetworkConfig, {**genotype.network_dict(), **changes}, str(path), at="network")
    return CheapMatting(genotype, settings)
