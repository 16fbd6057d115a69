"""Progressive pruning: after patience, never the last, never drawn again."""

from __future__ import annotations

import pytest
import torch
from toy import cell_space, random_distribution

from atldas.common.config import from_dict
from atldas.common.errors import UserError
from atldas.distribution import Distribution
from atldas.pruning import Pruner, PruningConfig
from atldas.samplers import EVALUATION_SAMPLERS, TRAINING_SAMPLERS
from atldas.space import Space

TOY = Space("toy", {"normal": cell_space(2, 2, 1)})  # 5 edges of 3 operations, 2 and 3 subsets


def with_probabilities(edge: int, probabilities: list[float]) -> Distribution:
    distribution = Distribution(TOY)
    with torch.no_grad():
        distribution.cell("normal").operation_logits[edge] = torch.tensor(probabilities).log()
    return distribution


def test_a_choice_goes_after_patience_checks_in_a_row() -> None:
    distribution = with_probabilities(2, [0.01, 0.09, 0.9])
    cell = distribution.cell("normal")
    pruner = Pruner(PruningConfig(threshold=0.05, patience=3), distribution)
    assert pruner.check() == [] and pruner.check() == []
    assert cell.operation_allowed.all()
    assert pruner.check() == ["normal node 3: skip_connect on input 0 (probability 0.010)"]
    assert cell.operation_allowed.tolist() == [[True] * 3] * 2 + [[False, True, True]] + [[True] * 3] * 2
    assert pruner.check() == []
    assert cell.log_operations()[2].exp().tolist() == pytest.approx([0, 0.0909, 0.909], abs=1e-3)


def test_one_check_above_the_threshold_begins_anew() -> None:
    distribution = with_probabilities(0, [0.01, 0.09, 0.9])
    pruner = Pruner(PruningConfig(threshold=0.05, patience=2), distribution)
    logits = distribution.cell("normal").operation_logits
    pruner.check()
    with torch.no_grad():
        logits[0, 0] += 5
    assert pruner.check() == []
    with torch.no_grad():
        logits[0, 0] -= 5
    assert pruner.check() == []
    assert len(pruner.check()) == 1


def test_topology_is_pruned_and_named() -> None:
    distribution = Distribution(TOY)
    with torch.no_grad():
        distribution.cell("normal").topology_logits[1].copy_(torch.tensor([0.5, 0.01, 0.49]).log())
    assert Pruner(PruningConfig(threshold=0.05, patience=1), distribution).check() == [
        "normal node 3: inputs (1,) (probability 0.010)"
    ]
    assert distribution.cell("normal").topology_allowed(1).tolist() == [True, False, True]


@pytest.mark.parametrize("probabilities", [[0.3, 0.4, 0.3], [0.5, 0.3, 0.2], [0.2, 0.3, 0.5]])
def test_the_most_probable_choice_always_stays(probabilities: list[float]) -> None:
    distribution = with_probabilities(1, probabilities)
    pruner = Pruner(PruningConfig(threshold=0.999, patience=1), distribution)
    for _ in range(5):
        pruner.check()
    allowed = distribution.cell("normal").operation_allowed
    assert allowed.sum(dim=1).tolist() == [1] * 5
    assert allowed[1].tolist() == [p == max(probabilities) for p in probabilities]
    assert all(distribution.cell("normal").topology_allowed(k).sum() == 1 for k in range(2))
    assert float(distribution.entropy().detach()) == pytest.approx(0, abs=1e-6)


def test_a_share_that_was_left_behind_saves_the_rest() -> None:
    """Of four equal choices under the threshold, three rise above it once the first is gone."""
    toy = Space("toy", {"normal": cell_space(1, 1, 1, ("none", "skip_connect", "nor_conv_1x1", "avg_pool_3x3"))})
    distribution = Distribution(toy)
    gone = Pruner(PruningConfig(threshold=0.3, patience=1), distribution).check()
    assert gone == ["normal node 1: none on input 0 (probability 0.250)"]


def pruned_everywhere() -> Distribution:
    """On every edge and node only the last choice but one and the last are left, or the last alone."""
    distribution = random_distribution(TOY, 0, scale=2.0)
    cell = distribution.cell("normal")
    cell.operation_allowed[:, 0] = False
    cell.operation_allowed[3, 1] = False
    cell.topology_allowed(0)[0] = False
    cell.topology_allowed(1)[1] = False
    return distribution


@pytest.mark.parametrize("sampler", [*TRAINING_SAMPLERS.values(), *EVALUATION_SAMPLERS.values()])
@pytest.mark.parametrize("setting", [0.1, 1.0])
def test_what_is_pruned_is_never_drawn(sampler: object, setting: float) -> None:
    distribution = pruned_everywhere()
    generator = torch.Generator().manual_seed(0)
    inputs, operations = set(), set()
    for _ in range(150):
        drawn = sampler(distribution, setting, generator)  # type: ignore[operator]
        child = getattr(drawn, "child", drawn)
        for node, edge in child.cells["normal"].edges():
            inputs.add((node, edge.input))
            operations.add((node, edge.input, edge.operation))
        assert distribution.log_prob(child).isfinite()
    assert inputs == {(2, 1), (3, 0), (3, 2)}
    assert not any(operation == "skip_connect" for _, _, operation in operations)


def test_gradients_stay_finite() -> None:
    distribution = pruned_everywhere()
    draw = EVALUATION_SAMPLERS["straight_through"](distribution, 0.1, torch.Generator().manual_seed(0))
    assert draw.gates is not None
    gates = draw.gates["normal"]
    total = sum([*gates.edges.values(), *gates.nodes.values()], torch.zeros(()))
    costs = {"normal": torch.rand(5, 3)}
    objective = total + distribution.entropy() + distribution.expected(costs) + distribution.log_prob(draw.child)
    objective.backward()
    assert objective.isfinite()
    for parameter in distribution.parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all()


def test_counts_survive_a_checkpoint() -> None:
    distribution = with_probabilities(2, [0.01, 0.09, 0.9])
    settings = PruningConfig(threshold=0.05, patience=2)
    first = Pruner(settings, distribution)
    first.check()
    second = Pruner(settings, distribution)
    second.load_state_dict(first.state_dict())
    assert len(second.check()) == 1


def test_settings_are_checked() -> None:
    for settings in ({"threshold": 1.0}, {"threshold": 0.0}, {"patience": 0}, {"every": 0}):
        with pytest.raises(UserError, match=r"p\.yaml: (threshold|patience|every): expected"):
            from_dict(PruningConfig, settings, "p.yaml")
