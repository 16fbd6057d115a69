"""What a child decides: names, conditions, and the distribution of one variable."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from atldas.variables import Categorical, Condition, Variable, edge_variable, gumbel, node_variable

LOGITS = st.lists(st.floats(-20, 20), min_size=1, max_size=6)


def categorical(logits: list[float], allowed: list[bool] | None = None) -> Categorical:
    made = Categorical(Variable("v", tuple(range(len(logits)))))
    with torch.no_grad():
        made.logits.copy_(torch.tensor(logits))
        if allowed:
            made.allowed.copy_(torch.tensor(allowed))
    return made


def test_names() -> None:
    assert node_variable("normal", 2) == "normal.node_2"
    assert edge_variable("reduce", 3, 0) == "reduce.3_from_0"


def test_a_variable_counts_only_with_the_options_of_its_parent() -> None:
    dependent = Variable("b", ("x", "y"), Condition("a", frozenset({0, 2})))
    assert [dependent.counts({"a": index}) for index in range(3)] == [True, False, True]
    assert not dependent.counts({})
    assert Variable("a", (1, 2)).counts({})


def test_a_new_variable_is_uniform() -> None:
    new = Categorical(Variable("v", ("a", "b", "c", "d")))
    assert new.log_probabilities().exp().tolist() == [0.25] * 4
    assert new.entropy().item() == pytest.approx(math.log(4))


@given(LOGITS, st.data())
def test_probabilities_are_those_of_what_is_allowed(logits: list[float], data: st.DataObject) -> None:
    allowed = data.draw(st.lists(st.booleans(), min_size=len(logits), max_size=len(logits)))
    assume(any(allowed))
    made = categorical(logits, allowed)
    weights = [math.exp(logit) if kept else 0.0 for logit, kept in zip(logits, allowed, strict=True)]
    expected = [weight / sum(weights) for weight in weights]
    assert made.log_probabilities().exp().tolist() == pytest.approx(expected, abs=1e-5)
    assert made.entropy().item() == pytest.approx(-sum(p * math.log(p) for p in expected if p), abs=1e-4)
    uniform = made.log_uniform().exp().tolist()
    assert uniform == pytest.approx([kept / sum(allowed) for kept in allowed])


def test_the_entropy_has_a_finite_gradient_though_an_option_is_gone() -> None:
    made = categorical([0.3, -0.2, 1.0], [True, False, True])
    made.entropy().backward()
    assert made.logits.grad is not None and made.logits.grad.isfinite().all()
    assert made.logits.grad[1] == 0 and made.logits.grad[0] != 0


def test_gumbel_noise_follows_its_distribution() -> None:
    noise = gumbel(torch.Size([20_000]), torch.Generator().manual_seed(0)).double().sort().values
    foretold = torch.exp(-torch.exp(-noise))  # the cumulative distribution function
    found = torch.arange(1, len(noise) + 1) / len(noise)
    assert (foretold - found).abs().max() < 1.63 / len(noise) ** 0.5  # Kolmogorov and Smirnov, 1 in 100


def test_the_largest_logit_plus_noise_is_a_sample_of_the_softmax() -> None:
    logits = torch.tensor([0.0, 1.0, -1.0])
    drawn = (logits + gumbel(torch.Size([40_000, 3]), torch.Generator().manual_seed(1))).argmax(dim=1)
    shares = torch.bincount(drawn, minlength=3) / len(drawn)
    assert shares.tolist() == pytest.approx(logits.softmax(dim=0).tolist(), abs=0.01)
