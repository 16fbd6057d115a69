"""Progressive pruning: after patience, never the last, never drawn again."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from toy import cell_space, random_distribution

from atldas.common.config import from_dict
from atldas.common.errors import UserError
from atldas.distribution import Distribution
from atldas.pruning import Pruner, PruningConfig
from atldas.samplers import TRAINING_SAMPLERS
from atldas.space import Space
from atldas.strategies.gdas import Gdas, GdasOptions

# 5 edges of 3 operations, 2 and 3 subsets, and a choice of 4
TOY = Space("toy", {"normal": cell_space(2, 2, 1)}, {"width": (2, 4, 6, 8)})


def with_probabilities(name: str, probabilities: list[float]) -> Distribution:
    distribution = Distribution(TOY)
    with torch.no_grad():
        distribution[name].logits.copy_(torch.tensor(probabilities).log())
    return distribution


def test_an_option_goes_after_patience_checks_in_a_row() -> None:
    distribution = with_probabilities("normal.3_from_0", [0.01, 0.09, 0.9])
    pruner = Pruner(PruningConfig(share=0.2, patience=3), distribution)  # under 0.2 / 3
    assert pruner.check() == [] and pruner.check() == []
    assert distribution["normal.3_from_0"].allowed.all()
    assert pruner.check() == ["normal.3_from_0: skip_connect (probability 0.010)"]
    left = {variable.name: c.allowed.tolist() for variable, c in distribution.items()}
    assert left.pop("normal.3_from_0") == [False, True, True] and all(all(allowed) for allowed in left.values())
    assert pruner.check() == []
    p = distribution["normal.3_from_0"].log_probabilities().exp().tolist()
    assert p == pytest.approx([0, 0.0909, 0.909], abs=1e-3)


def test_the_limit_is_a_share_of_what_is_left() -> None:
    """0.06 is under 0.2 / 3; once one option of three is gone, 0.0606 is under 0.2 / 2."""
    distribution = with_probabilities("normal.2_from_0", [0.01, 0.06, 0.93])
    pruner = Pruner(PruningConfig(share=0.15, patience=1), distribution)
    assert len(pruner.check()) == 1 and len(pruner.check()) == 1
    assert distribution["normal.2_from_0"].allowed.tolist() == [False, False, True]


def test_one_check_above_the_limit_begins_anew() -> None:
    distribution = with_probabilities("normal.2_from_0", [0.01, 0.09, 0.9])
    pruner = Pruner(PruningConfig(share=0.2, patience=2), distribution)
    logits = distribution["normal.2_from_0"].logits
    pruner.check()
    with torch.no_grad():
        logits[0] += 5
    assert pruner.check() == []
    with torch.no_grad():
        logits[0] -= 5
    assert pruner.check() == []
    assert len(pruner.check()) == 1


@pytest.mark.parametrize(
    ("name", "probabilities", "said"),
    [
        ("normal.node_3", [0.5, 0.01, 0.49], "normal.node_3: (1,) (probability 0.010)"),
        ("width", [0.5, 0.24, 0.01, 0.25], "width: 6 (probability 0.010)"),
    ],
)
def test_inputs_and_choices_are_pruned_and_named(name: str, probabilities: list[float], said: str) -> None:
    distribution = with_probabilities(name, probabilities)
    assert Pruner(PruningConfig(share=0.2, patience=1), distribution).check() == [said]
    assert distribution[name].allowed.tolist() == [p > 0.01 for p in probabilities]


@pytest.mark.parametrize("probabilities", [[0.3, 0.4, 0.3], [0.5, 0.3, 0.2], [0.2, 0.3, 0.5]])
def test_the_most_probable_option_always_stays(probabilities: list[float]) -> None:
    distribution = with_probabilities("normal.2_from_1", probabilities)
    pruner = Pruner(PruningConfig(share=0.999, patience=1), distribution)
    for _ in range(6):
        pruner.check()
    assert distribution["normal.2_from_1"].allowed.tolist() == [p == max(probabilities) for p in probabilities]
    assert all(int(c.allowed.sum()) >= 1 for _, c in distribution.items())
    assert distribution["width"].allowed.all()  # four equal options: none is under its share


def test_several_options_go_at_once() -> None:
    distribution = with_probabilities("width", [0.24, 0.23, 0.27, 0.26])
    gone = Pruner(PruningConfig(share=0.99, patience=1), distribution).check()
    assert gone == ["width: 2 (probability 0.240)", "width: 4 (probability 0.230)"]


def pruned_everywhere() -> Distribution:
    """Of every variable only the last option but one and the last are left, or the last alone."""
    distribution = random_distribution(TOY, 0, scale=2.0)
    for number, (_, categorical) in enumerate(distribution.items()):
        categorical.allowed[: -1 - number % 2] = False
    return distribution


@pytest.mark.parametrize("name", TRAINING_SAMPLERS)
@pytest.mark.parametrize("share", [0.1, 1.0])
def test_what_is_pruned_is_never_drawn_for_training(name: str, share: float) -> None:
    distribution = pruned_everywhere()
    generator = torch.Generator().manual_seed(0)
    sampler = TRAINING_SAMPLERS[name](distribution, generator)
    for _ in range(100):
        child = sampler.child(lambda uniform: distribution.sample(generator, uniform), share)
        assert distribution.log_prob(child).isfinite()


def test_what_is_pruned_is_never_drawn_for_judging_and_gradients_stay_finite() -> None:
    distribution = pruned_everywhere()
    context = SimpleNamespace(distribution=distribution, generator=torch.Generator().manual_seed(0), space=TOY)
    gdas = Gdas(GdasOptions(), context)  # type: ignore[arg-type]
    for _ in range(50):
        child, gates = gdas.draw(0.1)
        assert distribution.log_prob(child).isfinite()
    objective = sum(gates.values(), torch.zeros(())) + distribution.entropy() + distribution.log_prob(child)
    objective.backward()
    assert objective.isfinite()
    for _, categorical in distribution.items():
        gradient = categorical.logits.grad
        assert gradient is None or (gradient.isfinite().all() and not gradient[~categorical.allowed].any())


def test_counts_survive_a_checkpoint() -> None:
    distribution = with_probabilities("width", [0.01, 0.33, 0.33, 0.33])
    settings = PruningConfig(share=0.2, patience=2)
    first = Pruner(settings, distribution)
    first.check()
    second = Pruner(settings, distribution)
    second.load_state_dict(first.state_dict())
    assert len(second.check()) == 1


def test_settings_are_checked() -> None:
    for settings in ({"share": 1.0}, {"share": 0.0}, {"patience": 0}, {"every": 0}):
        with pytest.raises(UserError, match=r"p\.yaml: (share|patience|every): expected"):
            from_dict(PruningConfig, settings, "p.yaml")
