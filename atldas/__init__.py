"""ATLDAS: architecture search whose network topology is learned explicitly.

from atldas import Genotype, Space, search

print(Space.load("darts").size(), Genotype.load("darts_v2").to_yaml())
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .common.lazy import lazy_exports

if TYPE_CHECKING:
    from .experiment import Experiment
    from .genotype import Genotype
    from .searching import search
    from .space import Space
    from .training import train

__version__ = "0.10.0"
__all__ = ["Experiment", "Genotype", "Space", "search", "train"]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "Experiment": ".experiment",
        "Genotype": ".genotype",
        "Space": ".space",
        "search": ".searching",
        "train": ".training",
    },
)
