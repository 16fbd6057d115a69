"""Chances and ranges in configurations."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Le

from ..arrays import Rng

Chance = Annotated[float, Ge(0), Le(1)]
Range = tuple[float, float]


def happens(rng: Rng, chance: float) -> bool:
    """True with this chance.

    A chance of 0 draws no random number: what is switched off has no influence on what is drawn afterwards.
    """
    return chance > 0 and rng.random() < chance


def check_range(found: Range, lowest: float, highest: float) -> None:
    """For configuration classes: low <= high, both within limits.

    Raises:
        ValueError: otherwise, worded for the configuration's errors.
    """
    if not lowest <= found[0] <= found[1] <= highest:
        raise ValueError(f"a range [low, high] within {lowest:g} and {highest:g}, not [{found[0]:g}, {found[1]:g}]")
