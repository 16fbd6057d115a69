"""The network around the cells: its configuration, its shapes, its range, its gradients."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from small import edited, small_network

from atldas.builder import FixedBuilder
from atldas.cell import Cell, CellPlace
from atldas.common.errors import UserError
from atldas.cost import parameters
from atldas.genotype import CellGenotype, Edge, Genotype
from cheapmatting.model.blocks import GroupNorm, PyramidPooling, ResidualBlock
from cheapmatting.model.network import CheapMatting, NetworkConfig
from cheapmatting.model.variants import variant

ONE_INPUT = CellGenotype(1, ((Edge("skip_connect", 0),),), (1,))


@pytest.mark.parametrize(
    ("section", "key", "found", "expected"),
    [
        ("widht: 16", "network.widht", "unknown key (did you mean width?)", "width, cells, reductions, stem"),
        ("width: 15", "network.width", "15", "multiple of 2"),
        ("width: 0", "network.width", "0", "a multiple of 2 from 2 to 1024 (a factorized reduce makes two halves)"),
        ("width: '16'", "network.width", '"16" (text)', "an integer"),
        ("stem_mid: 12", "network.stem_mid", "12", "multiple of 8"),
        ("decoder_mid: [64, 64, 32, 20]", "network.decoder_mid[3]", "20", "multiple of 8"),
        ("decoder: [64, 64, 32]", "network.decoder[3]", "nothing", "expected an item"),
        ("width: 1000000000", "network.width", "1000000000", "a multiple of 2 from 2 to 1024"),
        ("stem: 1000000000", "network.stem", "1000000000", "4096"),
        (
            "decoder_mid: [64, 64, 32, 8000]",
            "network.decoder_mid[3]",
            "8000",
            "from 8 to 4096 (GroupNorm has 8 groups)",
        ),
        ("cells: 1000000", "network.cells", "1000000", "100"),
        ("pooling_windows: [1000]", "network.pooling_windows[0]", "1000", "999"),
        ("cells: 2", "network.cells", "2", "3 or more"),
        ("reductions: [9, 4]", "network", "[9, 4]", "two rising cell numbers under cells (14), not reductions (9, 4)"),
        ("reductions: [4, 4]", "network", "[4, 4]", "not reductions (4, 4)"),
        ("reductions: [4, 14]", "network", "[4, 14]", "under cells (14)"),
        ("reductions: [0, 4]", "network.reductions[0]", "0", "1 or more"),
        ("reductions: [4]", "network.reductions[1]", "nothing", "expected an item"),
        ("cells: 6", "network", '{"cells": 6}', "under cells (6), not reductions (4, 9)"),
        ("pooling_windows: []", "network.pooling_windows", "[]", "1 or more items"),
        ("pooling_windows: [5, 1]", "network.pooling_windows[1]", "1", "2 or more"),
        ("head: 16", "network.head", "16", "a list"),
        ("hints: 1", "network.hints", "1", "true or false"),
    ],
)
def test_a_fault_in_the_network_section_is_one_line_with_file_key_expected_and_found(
    tmp_path: Path, section: str, key: str, found: str, expected: str
) -> None:
    path = edited(tmp_path, section)
    with pytest.raises(UserError) as error:
        variant(path)
    text = str(error.value)
    assert text.startswith(f"{path}: {key}: ")
    assert found in text and expected in text and "\n" not in text


def test_defaults_are_the_published_network() -> None:
    published = NetworkConfig.of(Genotype.load("cheapmatting"))
    assert published == NetworkConfig()
    assert parameters(variant("cheapmatting")) == 5_924_593


def test_a_variant_is_an_edited_file(tmp_path: Path) -> None:
    path = edited(
        tmp_path,
        "{width: 6, cells: 5, reductions: [1, 3], stem: 10, pooling_windows: [2, 3, 7, 31], pooling_width: 11, "
        "pyramid: 13, decoder: [20, 18, 14, 12], decoder_mid: [8, 16, 24, 8], head: [5, 7]}",
    )
    network = variant(path).eval()
    seen: dict[str, tuple[int, ...]] = {}
    parts = dict(network.named_children()) | {f"cell {i}": cell for i, cell in enumerate(network.cells)}
    for name, part in parts.items():
        part.register_forward_hook(lambda module, inputs, output, name=name: seen.update({name: output.shape[1:]}))
    with torch.no_grad():
        assert network(torch.rand(1, 6, 128, 96)).shape == (1, 1, 128, 96)
    assert seen == {
        "hinted": (6, 128, 96),  # as it is: no hints
        "stem_half": (10, 64, 48),
        "stem_quarter": (6, 32, 24),
        "stem_eighth": (6, 16, 12),
        "cell 0": (4 * 6, 16, 12),
        "cell 1": (4 * 12, 8, 6),
        "cell 2": (4 * 12, 8, 6),
        "cell 3": (4 * 24, 4, 3),
        "cell 4": (4 * 24, 4, 3),
        "pyramid": (13, 4, 3),
        "decoder_16": (20, 8, 6),
        "decoder_8": (18, 16, 12),
        "decoder_4": (14, 32, 24),
        "decoder_2": (12, 64, 48),
        "head": (1, 128, 96),
    }
    assert network.taps == (0, 2, 4)
    assert [pool.kernel_size for pool in network.pyramid.pools] == [2, 3, 7, 31]
    assert [branch.out_channels for branch in network.pyramid.branches] == [11] * 4
    assert network.head[0].out_channels == 5 and network.head[2].out_channels == 7
    assert network.decoder_8[1].layers[0].out_channels == 16


def test_changes_override_the_file(tmp_path: Path) -> None:
    path = edited(tmp_path, "{width: 6, stem: 10}")
    assert variant(path, width=4).config == NetworkConfig(width=4, stem=10)
    with pytest.raises(UserError, match=r"mine\.yaml: network\.cell: unknown key"):
        variant(path, cell=4)


def test_a_genotype_without_the_cells_is_refused_with_its_file(tmp_path: Path) -> None:
    published = Genotype.load("cheapmatting")
    path = tmp_path / "half.yaml"
    Genotype("half", {"normal": published.cells["normal"]}).save(path)
    with pytest.raises(UserError, match=r"half\.yaml: cells: expected normal and reduce, got normal"):
        variant(path)
    Genotype("narrow", {"normal": ONE_INPUT, "reduce": published.cells["reduce"]}).save(path)
    with pytest.raises(UserError, match=r"half\.yaml: cells\.normal\.inputs: expected 2, got 1"):
        variant(path)


def test_a_factory_of_cells_with_other_inputs_is_refused() -> None:
    class OneInput(FixedBuilder):
        def cell(self, place: CellPlace) -> Cell:
            return Cell(ONE_INPUT, place)

    with pytest.raises(UserError, match="the normal cell: expected 2 inputs, as the network gives, got 1"):
        CheapMatting(Genotype.load("cheapmatting"), NetworkConfig(), OneInput(Genotype.load("cheapmatting")))


def test_the_factory_gets_the_published_places() -> None:
    genotype, places = Genotype.load("cheapmatting"), []

    class Spy(FixedBuilder):
        def cell(self, place: CellPlace) -> Cell:
            places.append(place)
            return super().cell(place)

    with torch.device("meta"):
        CheapMatting(genotype, NetworkConfig(), Spy(genotype))
    assert places[0] == CellPlace("normal", (48, 48), 48, 1, (2, 1))
    assert places[4] == CellPlace("reduce", (192, 192), 96, 2, (1, 1))
    assert places[5] == CellPlace("normal", (192, 384), 96, 1, (2, 1))
    assert places[9] == CellPlace("reduce", (384, 384), 192, 2, (1, 1))
    assert places[13] == CellPlace("normal", (768, 768), 192, 1, (1, 1))
    assert [index for index, place in enumerate(places) if place.kind == "reduce"] == [4, 9]


@settings(max_examples=15, deadline=None)
@given(height=st.integers(1, 130), width=st.integers(1, 130), seed=st.integers(0, 99))
@example(1, 1, 0)
@example(31, 97, 1)
@example(200, 33, 2)
@example(1, 161, 3)
def test_any_size_gives_an_alpha_of_that_size_in_range(height: int, width: int, seed: int) -> None:
    network = small_network(seed).eval()
    network.head[4].bias.data.fill_(0.5)
    network.head[4].weight.data.mul_(20)  # so that the clamp has something to do
    with torch.no_grad():
        alpha = network(torch.rand(2, 6, height, width, generator=torch.Generator().manual_seed(seed)))
    assert alpha.shape == (2, 1, height, width)
    assert alpha.isfinite().all() and alpha.min() >= 0 and alpha.max() <= 1


def test_the_clamp_passes_gradients_on_in_training_mode_alone() -> None:
    network = small_network()
    x = torch.rand(1, 6, 96, 96)
    network.head[4].weight.data.zero_()
    for answer, expected in ((3.0, 1.0), (-2.0, 0.0)):
        network.head[4].bias.data.fill_(answer)
        for training in (True, False):
            network.train(training).zero_grad()
            alpha = network(x)
            assert (alpha == expected).all()
            (alpha - 0.4).abs().mean().backward()
            gradient = network.head[4].bias.grad
            # Too large an answer must fall, too small a one rise, by the whole of the error's slope.
            assert gradient.item() == pytest.approx((1.0 if answer > 1 else -1.0) if training else 0.0, rel=1e-3)


def test_every_parameter_learns_and_no_gradient_is_nan() -> None:
    network = small_network().train()
    for scale in (1.0, 50.0):  # at 50 most answers lie outside the range
        network.zero_grad()
        network.head[4].weight.data.mul_(scale)
        network(torch.rand(2, 6, 96, 96)).square().mean().backward()
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None and parameter.grad.isfinite().all(), name
            assert parameter.grad.abs().sum() > 0 or "adapters" not in name, name
    assert not network.training or network(torch.rand(1, 6, 32, 32)).requires_grad


def test_channels_last_is_the_same() -> None:
    network = small_network().eval()
    x = torch.rand(2, 6, 70, 101)
    with torch.no_grad():
        plain = network(x)
        network = network.to(memory_format=torch.channels_last)
        last = network(x.contiguous(memory_format=torch.channels_last))
    assert (plain - last).abs().max() < 1e-5
    assert plain.std() > 0


@pytest.mark.parametrize(("mean", "deviation", "size"), [(1.0, 1.0, 1024), (3.0, 0.03, 256)])
def test_group_norm_is_exact_in_both_memory_orders(mean: float, deviation: float, size: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(1, 8, size, size) * deviation + mean
    truth = (x.double() - x.double().mean(dim=(2, 3), keepdim=True)) / (
        x.double().var(dim=(2, 3), correction=0, keepdim=True) + 1e-5
    ).sqrt()
    norm = GroupNorm(8, 8)
    for memory_order in (torch.contiguous_format, torch.channels_last):
        with torch.no_grad():
            assert (norm(x.contiguous(memory_format=memory_order)) - truth).abs().max() < 5e-5


def test_images_of_a_batch_do_not_touch_each_other_in_eval_mode() -> None:
    network = small_network().eval()
    x = torch.rand(3, 6, 96, 96)
    with torch.no_grad():
        together, alone = network(x), torch.cat([network(one[None]) for one in x])
    assert (together - alone).abs().max() < 1e-4  # other kernels for another batch, other orders of sums


def test_residual_block_adds_its_input() -> None:
    block = ResidualBlock(8, 16)
    for parameter in block.layers[-1].parameters():
        parameter.data.zero_()
    x = torch.randn(2, 8, 5, 7)
    assert torch.equal(block(x), torch.where(x > 0, x, 0.1 * x))


def test_pyramid_of_a_constant_is_that_constant_everywhere() -> None:
    # Padding is not counted in the averages: else borders would be darker.
    pyramid = PyramidPooling(1, (5, 13, 19, 25), 1, 1)
    for branch in (*pyramid.branches, pyramid.merge):
        branch.weight.data.fill_(1.0)
        branch.bias.data.zero_()
    answer = pyramid(torch.full((1, 1, 3, 6), 2.0))
    assert answer.shape == (1, 1, 3, 6)
    assert torch.allclose(answer, torch.tensor(5 * 2.0))
