"""Published checkpoints: every tensor's name in ours, without any of their files."""

from __future__ import annotations

import pytest
import torch

from atldas.genotype import Genotype
from cheapmatting.model.network import CheapMatting, NetworkConfig
from cheapmatting.model.published import rename_published

PUBLISHED = Genotype.load("cheapmatting")


@pytest.mark.parametrize(
    ("published", "ours"),
    [
        ("stem00.0.weight", "stem_half.0.weight"),
        ("stem05.0.bias", "stem_quarter.0.bias"),
        ("stem05.2.gn1.weight", "stem_quarter.2.layers.1.weight"),
        ("stem10.1.running_var", "stem_eighth.1.running_var"),
        ("cells.3.preprocess1.op.1.weight", "cells.3.adapters.1.1.weight"),
        ("cells.5.preprocess0.conv_2.weight", "cells.5.adapters.0.odd.weight"),
        ("cells.5.preprocess0.bn.bias", "cells.5.adapters.0.norm.bias"),
        # The second edge of the genotype's normal cell is dil_conv_5x5 from node 1 to node 2.
        ("cells.0._ops.1.op.1.weight", "cells.0.edges.2_from_1.dil_conv_5x5.1.weight"),
        # Cell 4 is a reduction cell; its second edge is sep_conv_3x3 from node 1 to node 2.
        ("cells.4._ops.1.op.5.weight", "cells.4.edges.2_from_1.sep_conv_3x3.5.weight"),
        ("ppm.conv.2.0.bias", "pyramid.branches.2.bias"),
        ("ppm.out.0.weight", "pyramid.merge.weight"),
        ("decoder_layer3.0.weight", "decoder_16.0.weight"),
        ("decoder_layer0.2.conv3.bias", "decoder_2.2.layers.6.bias"),
        ("pred.4.weight", "head.4.weight"),
        ("of.another.network", "of.another.network"),
    ],
)
def test_names(published: str, ours: str) -> None:
    assert list(rename_published({published: torch.zeros(1)}, PUBLISHED, NetworkConfig())) == [ours]
    if published != ours:
        assert ours in CheapMatting(PUBLISHED).state_dict()


def test_the_branch_that_no_computation_uses_is_left_out() -> None:
    tensors = {"ppm.conv.4.0.weight": torch.zeros(1), "ppm.conv.3.0.weight": torch.ones(1)}
    renamed = rename_published(tensors, PUBLISHED, NetworkConfig())
    assert list(renamed) == ["pyramid.branches.3.weight"] and renamed["pyramid.branches.3.weight"] == 1
