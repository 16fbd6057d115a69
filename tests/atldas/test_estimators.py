"""What moves the logits against the exact gradient, by enumeration, in the regime in which it runs.

A supernet that SGD trained, judged in training mode with BatchNorm behind every cell. Straight-through gates are
measured in the same regime: their bias is why `gdas` is only a baseline.
"""

from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
import torch
from texture import TextureOptions, TextureTask, wired_space
from torch import Tensor
from torch.nn import functional as F
from toy import random_distribution, space

from atldas.distribution import Distribution
from atldas.estimators import Regression, leave_one_out
from atldas.genotype import Genotype
from atldas.judging import judge, still_statistics
from atldas.space import Space
from atldas.strategies.gdas import Gdas, GdasOptions
from atldas.supernet import Supernet
from atldas.training import Sgd, SgdConfig
from atldas.variables import Choices

pytestmark = pytest.mark.usefixtures("one_thread")
K = 4  # children judged on one batch
BATCHES = 5


class Judged(NamedTuple):
    """A trained supernet and the loss of all its children on held-out batches, [batches, children]."""

    task: TextureTask
    supernet: Supernet
    batches: list[Any]
    children: list[Genotype]
    losses: Tensor

    def drawn(self, distribution: Distribution, generator: torch.Generator) -> tuple[list[Choices], Tensor]:
        """K children and their losses on one batch."""
        row = int(torch.randint(len(self.batches), (), generator=generator))
        children = [distribution.sample(generator) for _ in range(K)]
        losses = torch.stack([self.losses[row, self.children.index(child)] for child in children])
        return [self.supernet.space.choices_of(child) for child in children], losses


@pytest.fixture(scope="module")
def judged(one_thread: None) -> Judged:
    of = wired_space()
    torch.manual_seed(2)
    task = TextureTask(TextureOptions(), 2, torch.device("cpu"))
    supernet, uniform = Supernet(of, task.build).train(), Distribution(of)
    generator = torch.Generator().manual_seed(2)
    weights = Sgd(supernet, SgdConfig(lr=0.05), 150)
    for step, batch in enumerate(itertools.islice(task.training_batches(0), 150)):
        supernet.select(uniform.sample(generator, uniform=True))
        weights.step(task, batch, step)
    batches = list(itertools.islice(task.held_out_batches(0), BATCHES))
    children = list(of.enumerate())
    return Judged(task, supernet, batches, children, torch.stack([judge(supernet, task, children, b) for b in batches]))


def gradient(distribution: Distribution, objective: Tensor) -> Tensor:
    """[logits], float64."""
    parameters = list(distribution.parameters())
    found = torch.autograd.grad(objective, parameters, allow_unused=True)
    pairs = zip(found, parameters, strict=True)
    return torch.cat([torch.zeros_like(p) if g is None else g for g, p in pairs]).double()


def exact(distribution: Distribution, children: list[Genotype], losses: Tensor) -> Tensor:
    """The gradient of the expected loss."""
    log_p = torch.stack([distribution.log_prob(child) for child in children])
    possible = log_p.isfinite()
    return gradient(distribution, (log_p[possible].exp() * losses[possible]).sum())


def cosine(a: Tensor, b: Tensor) -> float:
    return float(F.cosine_similarity(a, b, dim=0))


def test_the_supernet_tells_its_children_apart(judged: Judged) -> None:
    """Else what follows would be a statement about noise."""
    mean = judged.losses.mean(dim=0)
    assert float(mean.std()) > 0.1 and float(mean.min()) < 0.4
    best = judged.children[int(mean.argmin())].cells["normal"]
    assert "nor_conv_3x3" in {edge.operation for _, edge in best.edges()}


@pytest.mark.parametrize("scale", [0.0, 0.7])
def test_leave_one_out_agrees_with_the_exact_gradient_within_its_standard_error(judged: Judged, scale: float) -> None:
    distribution = random_distribution(wired_space(), 5, scale)
    generator = torch.Generator().manual_seed(0)
    samples = torch.stack(
        [
            gradient(distribution, leave_one_out(distribution, *judged.drawn(distribution, generator)))
            for _ in range(400)
        ]
    )
    truth = exact(distribution, judged.children, judged.losses.mean(dim=0))
    error = samples.std(dim=0) / len(samples) ** 0.5
    assert ((samples.mean(dim=0) - truth).abs() <= 4 * error + 1e-7).all()
    assert float(truth.norm()) > 5 * float(error.norm())
    assert cosine(samples.mean(dim=0), truth) > 0.9


def test_leave_one_out_after_pruning() -> None:
    toy = space()
    distribution = random_distribution(toy, 2)
    distribution["normal.3_from_0"].allowed[1] = False
    distribution["normal.node_3"].allowed[2] = False
    children = [child for child in toy.enumerate() if distribution.log_prob(child).isfinite()]
    table = dict(zip(children, torch.rand(len(children), generator=torch.Generator().manual_seed(3)), strict=True))
    generator = torch.Generator().manual_seed(4)
    samples = []
    for _ in range(600):
        drawn = [distribution.sample(generator) for _ in range(3)]
        losses = torch.stack([table[child] for child in drawn])
        choices = [toy.choices_of(child) for child in drawn]
        samples.append(gradient(distribution, leave_one_out(distribution, choices, losses)))
    error = torch.stack(samples).std(dim=0) / len(samples) ** 0.5
    truth = exact(distribution, children, torch.stack(list(table.values())))
    difference = (torch.stack(samples).mean(dim=0) - truth).abs()
    assert (difference <= 4 * error + 1e-7).all() and float(truth.norm()) > 5 * float(error.mean())


def test_a_loss_that_all_children_share_moves_nothing() -> None:
    distribution = random_distribution(space(), 0)
    children = [distribution.space.choices_of(child) for child in list(distribution.space.enumerate())[:4]]
    assert not gradient(distribution, leave_one_out(distribution, children, torch.full((4,), 3.7))).any()
    regression = Regression(distribution, 100, 1.0, True)
    for difficulty in (0.0, 5.0):
        regression.add(children, [difficulty] * 4)
    assert gradient(distribution, regression.expected()).norm() < 1e-9


@pytest.mark.parametrize("pairs", [False, True])
@pytest.mark.parametrize("scale", [0.0, 0.7])
def test_the_regression_points_the_right_way_with_less_variance(judged: Judged, scale: float, pairs: bool) -> None:
    """Measured: cosines of 0.98 and more; a variance of 0.03 to 0.3 of leave-one-out's at 200 judged children."""
    distribution = random_distribution(wired_space(), 5, scale)
    generator = torch.Generator().manual_seed(1)
    truth = exact(distribution, judged.children, judged.losses.mean(dim=0))
    regressions, means = [], []
    for _ in range(6):
        regression = Regression(distribution, 200, ridge=1.0, pairs=pairs)
        total = torch.zeros_like(truth)
        for _ in range(50):
            children, losses = judged.drawn(distribution, generator)
            regression.add(children, losses.tolist())
            total += gradient(distribution, leave_one_out(distribution, children, losses)) / 50
        regressions.append(gradient(distribution, regression.expected()))
        means.append(total)
    a, b = torch.stack(regressions), torch.stack(means)
    assert min(cosine(found, truth) for found in a) > 0.9
    assert float(a.var(dim=0).sum()) < 0.6 * float(b.var(dim=0).sum())
    assert float((a - truth).square().sum(1).mean()) < 0.6 * float((b - truth).square().sum(1).mean())


def test_a_regression_recovers_additive_losses_and_with_pairs_conditional_ones() -> None:
    of = Space("s", {}, {"a": (1, 2, 3), "b": (1, 2), "c": (1, 2)})
    distribution = random_distribution(of, 1)
    children = list(of.enumerate())
    generator = torch.Generator().manual_seed(0)
    main = {name: torch.randn(len(options), generator=generator) for name, options in of.choices.items()}
    pair = torch.randn(3, 2, generator=generator)
    for with_pair in (False, True):
        losses = torch.stack(
            [
                sum((main[n][k] for n, k in of.choices_of(child).items()), torch.zeros(()))
                + (pair[of.choices_of(child)["a"], of.choices_of(child)["b"]] if with_pair else 0.0)
                for child in children
            ]
        )
        truth = exact(distribution, children, losses)
        for pairs in (False, True):
            regression = Regression(distribution, 1000, ridge=1e-6, pairs=pairs)
            for number in range(20):  # every batch has its own difficulty
                regression.add([of.choices_of(child) for child in children], (losses + number).tolist())
            found = gradient(distribution, regression.expected())
            close = torch.allclose(found, truth, atol=1e-4)
            assert close == (pairs or not with_pair), (with_pair, pairs)


def test_the_spread_is_that_of_losses_on_one_batch_in_memory() -> None:
    of = wired_space()
    children = [of.choices_of(child) for child in of.enumerate()]
    regression = Regression(Distribution(of), 12, 1.0, True)
    for start in range(0, 40, 4):
        regression.add(children[start : start + 4], [float(n * n) for n in range(start, start + 4)])
    # Squares of four consecutive numbers spread more the larger they are: only the last three batches count.
    variances = [torch.tensor([float(n * n) for n in range(s, s + 4)]).var() for s in (28, 32, 36)]
    assert regression.spread() == pytest.approx(float(torch.stack(variances).mean().sqrt()), rel=1e-5)


def test_straight_through_gates_are_biased_here(judged: Judged) -> None:
    """A gate asks what scaling would do. BatchNorm undoes scaling: on edges the gates hear nearly nothing.

    At the choice of pooling, which no BatchNorm follows, scale is all that they hear, and it rules the whole gradient.
    Two halves of the samples agree: this is no noise. (On edges the direction of what is left is often right here.)
    """
    of, batch = wired_space(), judged.batches[0]
    distribution = Distribution(of)
    context = SimpleNamespace(distribution=distribution, generator=torch.Generator().manual_seed(0), space=of)
    gdas = Gdas(GdasOptions(), context)  # type: ignore[arg-type]
    samples = []
    for _ in range(200):
        child, gates = gdas.draw(1.0)
        judged.supernet.train().select(child, gates)
        with still_statistics(judged.supernet):
            found = gradient(distribution, judged.task.loss(judged.supernet, batch))
        samples.append(found / max(1.0, float(found.norm()) / 5.0))  # clipped as the search clips it
    judged.supernet.select(child)
    straight = torch.stack(samples)
    truth = exact(distribution, judged.children, judged.losses[0])
    assert of.variables[-1].name == "pooling"
    assert float(straight.mean(dim=0)[:-2].norm()) < 0.02 * float(truth[:-2].norm())
    assert cosine(straight[:100].mean(dim=0), straight[100:].mean(dim=0)) > 0.9
    assert cosine(straight.mean(dim=0), truth) < 0.3
