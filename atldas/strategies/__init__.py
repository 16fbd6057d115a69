"""How a search learns: one file and one line for each strategy."""

from __future__ import annotations

from typing import Any

from .atldas import Atldas
from .gdas import Gdas
from .random import Random

STRATEGIES: dict[str, Any] = {
    "atldas": Atldas,
    "gdas": Gdas,
    "random": Random,
}
