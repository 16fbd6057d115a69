"""The proof, on random spaces: a child of the supernet is its fixed network, to the bit, and costs what that costs.

For every kind of variable: cells, named choices, choices and cells inside choices, widths, flags, one name twice.
"""

from __future__ import annotations

from functools import partial

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from spaces import CHOICES, INPUT_SHAPE, AnyNetwork, spaces
from torch import nn
from torch.nn import functional as F
from toy import cell_space

from atldas.builder import FixedBuilder
from atldas.cost import cost
from atldas.cost_tables import mac_tables, parameter_tables
from atldas.distribution import Distribution
from atldas.genotype import Genotype
from atldas.space import Space
from atldas.supernet import Supernet, child_tensors

pytestmark = pytest.mark.usefixtures("one_thread")
few = settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
WHOLE = Space("whole", {"normal": cell_space(1, 2, None), "reduce": cell_space(2, 1, 1)}, CHOICES)
IMAGES = torch.randn(6, *INPUT_SHAPE[1:], generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 1, 2, 2, 1, 0])


def supernet_of(space: Space, seed: int = 0) -> Supernet:
    torch.manual_seed(seed)
    return Supernet(space, partial(AnyNetwork, space=space)).to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def children(space: Space, count: int, seed: int) -> list[Genotype]:
    generator = torch.Generator().manual_seed(seed)
    return [Distribution(space).sample(generator, uniform=True) for _ in range(count)]


def step(network: nn.Module) -> torch.Tensor:
    """One step of plain SGD; returns the logits before it."""
    for parameter in network.parameters():
        parameter.grad = None
    logits: torch.Tensor = network(IMAGES)
    F.cross_entropy(logits, LABELS).backward()
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.grad is not None:
                parameter -= 0.1 * parameter.grad
    return logits.detach()


def same(a: nn.Module, supernet: Supernet) -> None:
    mine = dict(child_tensors(supernet.network))
    for name, tensor in a.state_dict().items():
        assert torch.equal(tensor, mine[name]), name


def prove(space: Space, seed: int) -> None:
    """After some training steps: equal in eval mode, equal in training mode, equal after one more step."""
    supernet = supernet_of(space, seed)
    for child in children(space, 4, seed):
        supernet.train().select(child)
        step(supernet)
    for child in children(space, 3, seed + 1):
        supernet.select(child)
        fixed = supernet.fixed(child)
        same(fixed, supernet)
        with torch.no_grad():
            assert torch.equal(fixed.eval()(IMAGES), supernet.eval()(IMAGES))
        assert torch.equal(step(fixed.train()), step(supernet.train()))
        same(fixed, supernet)  # weights by equal gradients, statistics of the same batch


@few
@given(spaces(), st.integers(0, 99))
def test_a_child_of_the_supernet_is_its_fixed_network_to_the_bit(space: Space, seed: int) -> None:
    prove(space, seed)


def test_so_it_is_where_everything_is_chosen_at_once() -> None:
    prove(WHOLE, 1)


@few
@given(spaces(), st.integers(0, 99))
def test_a_fixed_network_shows_no_trace_of_the_search(space: Space, seed: int) -> None:
    supernet = supernet_of(space)
    (child,) = children(space, 1, seed)
    fixed = supernet.fixed(child)
    alone = AnyNetwork(FixedBuilder(child), space)
    assert list(fixed.state_dict()) == list(alone.state_dict())
    assert not any(word in name for name in fixed.state_dict() for word in ("option", "largest", "skeleton"))
    assert {type(module).__module__ for module in fixed.modules()}.isdisjoint({"atldas.builder", "atldas.widths"})
    for a, b in zip(fixed.parameters(), alone.parameters(), strict=True):
        assert a.shape == b.shape and a.requires_grad


@settings(few, max_examples=8)
@given(spaces(), st.integers(0, 99))
def test_tables_give_what_a_fixed_network_costs(space: Space, seed: int) -> None:
    supernet = supernet_of(space)
    macs, parameters = mac_tables(supernet, INPUT_SHAPE), parameter_tables(supernet)
    for child in children(space, 4, seed):
        counted = cost(AnyNetwork(FixedBuilder(child), space), INPUT_SHAPE)
        assert macs.of(child) == counted.macs
        assert parameters.of(child) == counted.parameters


def test_so_they_do_where_everything_is_chosen_at_once() -> None:
    supernet = supernet_of(WHOLE)
    macs, parameters = mac_tables(supernet, INPUT_SHAPE), parameter_tables(supernet)
    drawn = children(WHOLE, 12, 0)
    counted = [cost(AnyNetwork(FixedBuilder(child), WHOLE), INPUT_SHAPE) for child in drawn]
    assert [macs.of(child) for child in drawn] == [found.macs for found in counted]
    assert [parameters.of(child) for child in drawn] == [found.parameters for found in counted]
    assert len(set(counted)) > 9


def test_every_width_has_statistics_of_its_own() -> None:
    space = Space("s", {}, {"width": (2, 4), "stem": ("deep",), "middle": (2, 4)})
    supernet = supernet_of(space)
    narrow, wide = (Genotype("g", {}, choices={"width": w, "stem": "deep", "middle": 4}) for w in (2, 4))
    before = {name: tensor.clone() for name, tensor in supernet.fixed(wide).state_dict().items()}
    supernet.select(narrow)
    supernet(IMAGES + 5)
    after = supernet.fixed(wide).state_dict()
    # The stem's first layer gives `middle` channels, of which both have four; its second gives `width`.
    assert all(torch.equal(tensor, before[name]) for name, tensor in after.items() if not name.startswith("stem.0."))
    tracked = [int(t) for n, t in supernet.fixed(narrow).state_dict().items() if n.endswith("num_batches_tracked")]
    assert tracked == [1, 1]
    assert [int(t) for n, t in after.items() if n.endswith("num_batches_tracked")] == [1, 0]


def test_a_narrow_child_has_the_leading_channels_of_the_wide_one() -> None:
    space = Space("s", {}, {"width": (2, 6)})
    supernet = supernet_of(space)
    narrow, wide = (supernet.fixed(Genotype("g", {}, choices={"width": w})) for w in (2, 6))
    for (name, a), b in zip(narrow.named_parameters(), wide.parameters(), strict=True):
        assert torch.equal(a, b[tuple(slice(n) for n in a.shape)]), name
    assert next(narrow.parameters()).shape[0] == 2 and next(wide.parameters()).shape[0] == 6
