"""The kinds of pictures. A new kind is one function that draws a subject, and one line here."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from . import hair, things
from .strands import Subject

# The weight in a mixed set, and the function.
KINDS: dict[str, tuple[float, Callable[[np.random.Generator], Subject]]] = {
    "long_hair": (22, hair.long_hair),
    "curly_hair": (11, hair.curly_hair),
    "tied_hair": (8, hair.tied_hair),
    "short_hair": (9, hair.short_hair),
    "braids": (4, hair.braids),
    "pet_portrait": (14, hair.pet_portrait),
    "fur_animal": (9, hair.fur_animal),
    "fur_thing": (3, hair.fur_thing),
    "wiry": (2, hair.wiry),
    "yarn": (3, things.yarn),
    "tassels": (4, things.tassels),
    "flag": (2, things.flag),
    "knit": (2, things.knit),
    "lace": (2, things.lace),
    "grass": (2, things.grass),
    "feathers": (2, things.feathers),
    "seeds": (1, things.seeds),
}


def choose(rng: np.random.Generator, allowed: list[str]) -> str:
    """One of the allowed kinds, by weight."""
    weights = np.array([KINDS[name][0] for name in allowed], float)
    return allowed[int(rng.choice(len(allowed), p=weights / weights.sum()))]
