"""The genotypes of the literature: sizes at the papers' width and depth, on CIFAR-10, without auxiliary head."""

from __future__ import annotations

import pytest
import torch

from atldas.builder import FixedBuilder
from atldas.classification import ImageClassifier
from atldas.cost import macs, parameters
from atldas.genotype import Genotype
from atldas.nasbench201 import code_of

# Millions of parameters and of multiply-adds with 36 channels and 20 cells. The papers say 3.3 (DARTS, both), 3.4
# (GDAS), 3.6 (PC-DARTS), 2.8 (SNAS) and, at other widths, 3.2 to 4.6 for the others.
SIZES = {
    "darts_v1": (3.17, 501),
    "darts_v2": (3.35, 528),
    "gdas": (3.37, 519),
    "pc_darts": (3.63, 557),
    "snas": (2.66, 422),
    "enas": (4.02, 622),
    "amoebanet": (3.15, 489),
    "nasnet": (3.83, 603),
}


@pytest.mark.parametrize("name", SIZES)
def test_sizes(name: str) -> None:
    genotype = Genotype.load(name)
    assert genotype.name == name and "20" in genotype.provenance["source"]
    with torch.device("meta"):
        network = ImageClassifier(FixedBuilder(genotype), 36, 20, 10)
    found = parameters(network) / 1e6, macs(network, lambda m: m(torch.empty(1, 3, 32, 32, device="meta"))) / 1e6
    assert found == (pytest.approx(SIZES[name][0], abs=0.01), pytest.approx(SIZES[name][1], abs=1))


def test_the_best_cell_of_nasbench201() -> None:
    assert code_of(Genotype.load("nasbench201_best").cells["normal"]) == "333132"
