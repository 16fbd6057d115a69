"""Judging: losses as in training, and nothing moves."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from spaces import AnyNetwork
from texture import wired_space
from torch import Tensor, nn
from trained_texture import children, of, snapshot, task, trained_supernet, unchanged

from atldas.judging import judge, still_statistics
from atldas.space import Space
from atldas.supernet import Supernet

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def supernet() -> Supernet:
    return trained_supernet()


def test_judging_moves_no_weight_no_statistic_and_leaves_no_gradient(supernet: Supernet) -> None:
    batch = next(task().held_out_batches(0))
    before = snapshot(supernet)
    assert any("num_batches_tracked" in name and int(tensor) > 0 for name, tensor in before.items())
    losses = judge(supernet, task(), children(wired_space(), 5), batch)
    assert losses.shape == (5,) and losses.isfinite().all() and not losses.requires_grad
    assert unchanged(supernet, before)
    assert all(p.grad is None for p in supernet.parameters())
    supernet(batch[0])  # and afterwards, in training, statistics move again
    assert not unchanged(supernet, before)


def test_so_it_is_with_widths() -> None:
    space = Space("s", {}, {"width": (2, 4), "stem": ("deep",), "middle": (2, 4)})
    supernet = Supernet(space, partial(AnyNetwork, space=space)).train()

    class Task:
        def loss(self, network: nn.Module, batch: Tensor) -> Tensor:
            y: Tensor = network(batch).square().mean()
            return y

    before = snapshot(supernet)
    losses = judge(supernet, Task(), list(space.enumerate()), torch.randn(4, 3, 9, 8))  # type: ignore[arg-type]
    assert unchanged(supernet, before) and len(set(losses.tolist())) == 4


def test_a_child_is_judged_as_in_training_on_its_own_statistics(supernet: Supernet) -> None:
    batch = next(task().held_out_batches(3))
    child = of("nor_conv_3x3")
    found = judge(supernet, task(), [child], batch)
    fixed = supernet.fixed(child).train()
    assert float(found) == float(task().loss(fixed, batch).detach())
    assert float(found) != float(task().loss(fixed.eval(), batch).detach())


def test_statistics_move_again_after_an_error() -> None:
    norm = nn.BatchNorm2d(2)
    with pytest.raises(RuntimeError), still_statistics(norm):
        raise RuntimeError
    norm(torch.randn(4, 2, 3, 3) + 1)
    assert int(norm.num_batches_tracked) == 1  # type: ignore[arg-type]
