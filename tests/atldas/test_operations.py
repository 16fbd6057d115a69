"""The candidate operations: sizes, and numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from atldas.cell import Cell, CellPlace
from atldas.cost import cost, operation_cost
from atldas.genotype import CellGenotype, Edge
from atldas.operations import OPERATIONS, FactorizedReduce, conv_bn

RAMP = torch.arange(16, dtype=torch.float32).reshape(1, 1, 4, 4)


def plain(module: nn.Module, weight: float | None = None) -> nn.Module:
    """Eval mode, so that untouched BatchNorm divides by sqrt(1 + eps) only; all convolution weights = `weight`."""
    if weight is not None:
        for part in module.modules():
            if isinstance(part, nn.Conv2d):
                nn.init.constant_(part.weight, weight)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.eps = 0.0
    return module.eval()


@pytest.mark.parametrize("size", [(6, 8), (7, 5), (7, 8), (3, 3)])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("name", OPERATIONS)
def test_output_size_is_the_input_size_over_the_stride_rounded_up(
    name: str, stride: int, size: tuple[int, int]
) -> None:
    H, W = size
    y = OPERATIONS[name](4, stride)(torch.randn(2, 4, H, W))
    assert y.shape == (2, 4, -(-H // stride), -(-W // stride))


@pytest.mark.parametrize("name", OPERATIONS)
def test_no_convolution_has_a_bias_and_every_one_is_normalised(name: str) -> None:
    for stride in (1, 2):
        modules = list(OPERATIONS[name](4, stride).modules())
        assert all(m.bias is None for m in modules if isinstance(m, nn.Conv2d))
        norms = [m for m in modules if isinstance(m, nn.BatchNorm2d)]
        assert all(m.affine and m.track_running_stats for m in norms)
        assert bool(norms) == any(isinstance(m, nn.Conv2d) for m in modules)


def test_none_is_zeros_and_skip_is_its_input() -> None:
    x = torch.randn(1, 2, 4, 4)
    assert torch.equal(OPERATIONS["none"](2, 1)(x), torch.zeros(1, 2, 4, 4))
    assert torch.equal(OPERATIONS["none"](2, 2)(x), torch.zeros(1, 2, 2, 2))
    assert OPERATIONS["skip_connect"](2, 1)(x) is x


def test_pools_do_not_count_their_padding() -> None:
    average = OPERATIONS["avg_pool_3x3"](1, 1)(RAMP)[0, 0]
    assert average[0, 0] == (0 + 1 + 4 + 5) / 4
    assert average[0, 1] == (0 + 1 + 2 + 4 + 5 + 6) / 6
    assert average[1, 1] == 5
    largest = OPERATIONS["max_pool_3x3"](1, 2)(RAMP - 20)[0, 0]
    assert largest.tolist() == [[5 - 20, 7 - 20], [13 - 20, 15 - 20]]


def test_1x1_convolution_by_hand() -> None:
    module = plain(conv_bn(2, 2))
    with torch.no_grad():
        module[1].weight.copy_(torch.tensor([[1.0, 2.0], [0.5, -1.0]])[:, :, None, None])
        module[2].bias.copy_(torch.tensor([10.0, 20.0]))
    x = torch.tensor([3.0, -4.0])[None, :, None, None]  # the ReLU makes the second 0
    assert module(x).flatten().tolist() == [10 + 3, 20 + 1.5]


def test_3x3_convolution_sums_its_window() -> None:
    y = plain(OPERATIONS["nor_conv_3x3"](1, 1), 1.0)(RAMP)[0, 0]
    assert y[0, 0] == 0 + 1 + 4 + 5
    assert y[1, 1] == 9 * 5
    strided = plain(OPERATIONS["nor_conv_3x3"](1, 2), 1.0)(RAMP)[0, 0]
    assert torch.equal(strided, y[::2, ::2])


def test_separable_convolution_layer_by_layer() -> None:
    torch.manual_seed(0)
    module = plain(OPERATIONS["sep_conv_5x5"](3, 2))
    x = torch.randn(2, 3, 9, 8)
    w = [p for p in module.parameters() if p.dim() == 4]
    assert [tuple(p.shape) for p in w] == [(3, 1, 5, 5), (3, 3, 1, 1), (3, 1, 5, 5), (3, 3, 1, 1)]
    y = F.conv2d(F.conv2d(x.relu(), w[0], stride=2, padding=2, groups=3), w[1])
    y = F.conv2d(F.conv2d(y.relu(), w[2], padding=2, groups=3), w[3])
    assert torch.allclose(module(x), y, atol=1e-6)


def test_dilated_convolution_reads_every_second_pixel() -> None:
    module = plain(OPERATIONS["dil_conv_3x3"](1, 1), 1.0)
    x = torch.zeros(1, 1, 7, 7)
    x[0, 0, 3, 3] = 1.0
    expected = torch.zeros(7, 7)
    expected[1::2, 1::2] = 1.0
    assert torch.equal(module(x)[0, 0], expected)


def test_factorised_7x7_is_a_row_and_a_column() -> None:
    x = torch.zeros(1, 1, 9, 9)
    x[0, 0, 4, 4] = 1.0
    y = plain(OPERATIONS["conv_7x1_1x7"](1, 1), 1.0)(x)[0, 0]
    expected = torch.zeros(9, 9)
    expected[1:8, 1:8] = 1.0
    assert torch.equal(y, expected)


@pytest.mark.parametrize("size", [4, 5])
def test_factorized_reduce_takes_even_pixels_then_odd_ones(size: int) -> None:
    x = torch.rand(1, 1, size, size)
    y: Tensor = plain(FactorizedReduce(1, 2), 1.0)(x)[0]
    padded = F.pad(x, (0, size % 2, 0, size % 2))[0, 0]
    assert torch.equal(y[0], padded[::2, ::2])
    assert torch.equal(y[1], padded[1::2, 1::2])


def test_factorized_reduce_refuses_an_odd_number_of_channels() -> None:
    with pytest.raises(ValueError, match="expected an even number of channels for a factorized reduce, got 3"):
        FactorizedReduce(4, 3)


def test_an_operation_of_ones_own_is_one_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    class Twice(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return 2 * x

    monkeypatch.setitem(OPERATIONS, "twice", lambda channels, stride: Twice())
    genotype = CellGenotype(1, ((Edge("twice", 0),), (Edge("twice", 0), Edge("skip_connect", 1))), (1, 2))
    cell = plain(Cell(genotype, CellPlace("normal", (3,), 3, 1, (1,))))
    x = torch.randn(1, 3, 4, 4)
    adapted = cell.adapters[0](x)
    assert torch.equal(cell(x), torch.cat([2 * adapted, 4 * adapted], dim=1))
    assert operation_cost("twice", 3, 1, 4, 4) == (0, 0)


# Weights of each convolution by hand, for 6 channels: depthwise 6 k^2, pointwise 36, dense 36 k^2.
CONVOLUTIONS = {
    "sep_conv_3x3": [54, 36, 54, 36], "sep_conv_5x5": [150, 36, 150, 36], "sep_conv_7x7": [294, 36, 294, 36],
    "dil_conv_3x3": [54, 36], "dil_conv_5x5": [150, 36], "conv_7x1_1x7": [252, 252],
    "nor_conv_1x1": [36], "nor_conv_3x3": [324],
}  # fmt: skip


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("name", OPERATIONS)
def test_cost_equals_the_weights_counted_by_hand(name: str, stride: int) -> None:
    H, W = 10, 7
    outputs = (H // stride) * -(-W // stride)
    weights = CONVOLUTIONS.get(name, [])
    macs = sum(weights) * outputs
    norms = 2 if name.startswith("sep") else len(weights) > 0
    if name == "conv_7x1_1x7":
        macs = 252 * H * -(-W // stride) + 252 * outputs  # the row comes first, at full height
    if name == "skip_connect" and stride == 2:
        weights, norms, macs = [18, 18], 1, 36 * outputs
    assert operation_cost(name, 6, stride, H, W) == (sum(weights) + 12 * norms, macs)
    assert cost(OPERATIONS[name](6, stride), (1, 6, H, W)) == operation_cost(name, 6, stride, H, W)


def test_results_are_the_same_on_float64_numpy() -> None:
    x = np.random.default_rng(0).random((1, 2, 5, 5))
    y = OPERATIONS["avg_pool_3x3"](2, 1)(torch.from_numpy(x)).numpy()
    assert y[0, 1, 2, 2] == pytest.approx(x[0, 1, 1:4, 1:4].mean(), abs=1e-12)
