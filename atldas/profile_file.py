"""The file of a latency profile: what `atldas profile` writes, and a budget in milliseconds reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from .common.atomic import write_text
from .common.checksum import sha256_of_arrays
from .common.config import config, to_dict
from .common.errors import UserError
from .common.yaml_text import to_yaml
from .cost_tables import CostTables
from .distribution import Factor
from .latency import LatencyModel

HEAD = """\
# How long a child of the space takes, in milliseconds, measured by `atldas profile` on the device below.
# A child's time is `constant` and one entry of every table whose variables count in it.
"""


@config
class FactorFile:
    """A table over variables: nested lists in the order of their options."""

    variables: tuple[str, ...]
    table: list[Any]


@config
class Checked:
    """How well the tables foretell whole networks that they were not fitted to.

    Attributes:
        networks: how many; spearman: rank correlation; worst_error: the largest relative error.
    """

    networks: int
    spearman: float
    worst_error: float


@config
class LatencyProfile:
    """Milliseconds of every child of a space on one device.

    Attributes:
        network: a checksum of the multiply-adds of all its parts: equal spaces, widths and input sizes give equal ones.
        device: what was measured on, the load of the machine meanwhile, versions.
        fitted: on how many whole networks the sums were corrected.
    """

    schema: Literal[1]
    space: str
    network: str
    input_shape: tuple[int, ...]
    device: dict[str, Any]
    rounds: int
    fitted: int
    checked: Checked
    constant: float
    factors: tuple[FactorFile, ...] = field(default_factory=tuple)

    def tables(self, macs: CostTables, source: str) -> CostTables:
        """The cost in milliseconds, for the space that `macs` are of.

        Raises:
            UserError: the profile was measured on another network.
        """
        if self.network != fingerprint(macs):
            raise UserError(
                f"{source}: expected a profile of this space's network, got one of another space ({self.space}), other "
                f"sizes or another input (it has {list(self.input_shape)}); run atldas profile for this one"
            )
        factors = (Factor(f.variables, torch.tensor(f.table, dtype=torch.float64)) for f in self.factors)
        return CostTables(macs.space, self.constant, tuple(factors))

    def save(self, path: Path) -> None:
        """Write the profile as YAML."""
        write_text(path, HEAD + to_yaml(to_dict(self), short_lists=True))


def latency_profile(
    model: LatencyModel, macs: CostTables, input_shape: tuple[int, ...], device: Mapping[str, Any], rounds: int,
    fitted: int, checked: int,
) -> LatencyProfile:  # fmt: skip
    """The file's content for a measured model."""
    factors = tuple(
        FactorFile(variables=f.variables, table=np.round(f.table.numpy(), 6).tolist()) for f in model.tables.factors
    )
    return LatencyProfile(
        schema=1, space=macs.space.name, network=fingerprint(macs), input_shape=input_shape, device=dict(device),
        rounds=rounds, fitted=fitted,
        checked=Checked(networks=checked, spearman=round(model.spearman, 4), worst_error=round(model.worst, 4)),
        constant=round(model.tables.constant, 6), factors=factors,
    )  # fmt: skip


def fingerprint(macs: CostTables) -> str:
    """A checksum of the multiply-adds of every part, and of the variables that they depend on."""
    names = "|".join(f"{v.name}={list(v.options)}" for v in macs.space.variables)
    tables = [factor.table.numpy() for factor in macs.factors]
    return sha256_of_arrays(np.frombuffer(names.encode(), np.uint8), np.array([macs.constant]), *tables)[:16]
