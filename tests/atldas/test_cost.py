"""Costs from shapes alone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from atldas.builder import FixedBuilder
from atldas.classification import ImageClassifier
from atldas.cost import cost, macs_by_part, operation_cost, parameters
from atldas.genotype import Genotype
from atldas.operations import OPERATIONS


class Pooled(nn.Module):
    """A pooled pixel through BatchNorm, which refuses it in training mode."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(8))
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(self.layers(x).flatten(1))
        return y


def test_convolutions_and_matrix_products_count_nothing_else_does() -> None:
    network = Pooled().train()
    assert cost(network, (1, 3, 6, 4)) == (3 * 8 * 9 + 8 + 16 + 8 * 5 + 5, 3 * 8 * 9 * 24 + 8 * 5)
    assert cost(network, (2, 3, 6, 4)).macs == 2 * cost(network, (1, 3, 6, 4)).macs
    assert macs_by_part(network, (1, 3, 6, 4)) == {"layers": 3 * 8 * 9 * 24, "head": 40}


def test_a_network_is_left_as_it_was() -> None:
    network = Pooled().train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    cost(network, (1, 3, 6, 4))
    macs_by_part(network, (1, 3, 6, 4))
    assert network.training and network.layers[2].training
    for name, tensor in network.state_dict().items():
        assert tensor.device.type == "cpu" and torch.equal(tensor, before[name])


def test_a_network_already_without_memory_can_be_counted() -> None:
    with torch.device("meta"):
        network = Pooled()
    assert cost(network, (1, 3, 6, 4)) == cost(Pooled(), (1, 3, 6, 4))


def test_grouped_strided_convolution() -> None:
    assert cost(nn.Conv2d(8, 16, 5, stride=2, padding=2, groups=4, bias=False), (1, 8, 9, 7)) == (800, 800 * 5 * 4)


def test_a_part_that_is_a_list_is_the_sum_of_its_members() -> None:
    network = ImageClassifier(FixedBuilder(Genotype.load("cheapmatting")), 4, 3, 10)
    parts = macs_by_part(network, (1, 3, 16, 16))
    assert list(parts) == ["stem", "cells", "classifier"]
    assert sum(parts.values()) == cost(network, (1, 3, 16, 16)).macs
    assert parts["stem"] == 27 * 12 * 256
    assert parameters(network) == sum(p.numel() for p in network.parameters())


def test_an_operation_put_in_anothers_place_is_counted_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    before = operation_cost("nor_conv_1x1", 4, 1, 8, 8)
    monkeypatch.setitem(OPERATIONS, "nor_conv_1x1", OPERATIONS["nor_conv_3x3"])
    after = operation_cost("nor_conv_1x1", 4, 1, 8, 8)
    assert before.macs == 16 * 64 and after.macs == 9 * before.macs
