"""How a search learns: one file and one line for each strategy."""

from __future__ import annotations

from typing import Any

from .atldas import Atldas
from .darts import Darts
from .drnas import Drnas
from .evolution import Evolution
from .gdas import Gdas
from .largest import Largest
from .random import Random
from .surrogate import Surrogate
from .zero_cost import ZeroCost

STRATEGIES: dict[str, Any] = {
    "atldas": Atldas,
    "darts": Darts,
    "gdas": Gdas,
    "drnas": Drnas,
    "random": Random,
    "evolution": Evolution,
    "zero_cost": ZeroCost,
    "surrogate": Surrogate,
    "largest": Largest,
}
