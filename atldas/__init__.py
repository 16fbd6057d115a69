"""ATLDAS: architecture search whose network topology is learned explicitly.

from atldas import Genotype, Space, search

print(Space.load("darts").size(), Genotype.load("darts_v2").to_yaml())
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .experiment import Experiment
    from .genotype import Genotype
    from .searching import search
    from .space import Space
    from .training import train

__version__ = "0.9.0"
__all__ = ["Experiment", "Genotype", "Space", "search", "train"]

# Where each name is; imported when it is first used, since PyTorch takes a second to import.
_HOMES = {
    "Experiment": ".experiment",
    "Genotype": ".genotype",
    "Space": ".space",
    "search": ".searching",
    "train": ".training",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name], __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
