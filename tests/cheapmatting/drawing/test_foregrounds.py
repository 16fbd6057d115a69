"""What all procedural foregrounds have in common."""

import numpy as np
import pytest

from cheapmatting.drawing.foregrounds import FOREGROUNDS

SIZE = 128


def alphas_of(kind, count=8, size=SIZE):
    """Alphas [count, S, S] of the first seeds."""
    return np.stack([FOREGROUNDS[kind](size, np.random.default_rng(seed))[1] for seed in range(count)])


@pytest.mark.parametrize("kind", FOREGROUNDS)
def test_foregrounds_are_in_range_and_seeded(kind):
    for seed in range(4):
        colours, alpha = FOREGROUNDS[kind](SIZE, np.random.default_rng(seed))
        assert colours.shape == (SIZE, SIZE, 3) and alpha.shape == (SIZE, SIZE)
        assert colours.dtype == alpha.dtype == np.float32
        for field in (colours, alpha):
            assert np.isfinite(field).all() and field.min() >= 0 and field.max() <= 1
        again = FOREGROUNDS[kind](SIZE, np.random.default_rng(seed))
        np.testing.assert_array_equal(colours, again[0])
        np.testing.assert_array_equal(alpha, again[1])
    assert not np.array_equal(alpha, FOREGROUNDS[kind](SIZE, np.random.default_rng(99))[1])


@pytest.mark.parametrize("kind", FOREGROUNDS)
def test_foregrounds_are_there_but_not_everywhere(kind):
    means = [FOREGROUNDS[kind](SIZE, np.random.default_rng(seed))[1].mean() for seed in range(20)]
    assert min(means) > 0.005 and max(means) < 0.9


@pytest.mark.parametrize(
    ("kind", "least"),
    [
        ("hair", 0.04),
        ("fur", 0.04),
        ("leaves", 0.04),
        ("lace", 0.2),
        ("net", 0.04),
        ("mesh", 0.15),
        ("wings", 0.08),
        ("smoke", 0.15),
        ("glass", 0.1),
        ("veil", 0.3),
        ("defocused", 0.08),
        ("moving", 0.08),
    ],
)
def test_alpha_is_truly_soft(kind, least):
    alphas = [FOREGROUNDS[kind](SIZE, np.random.default_rng(seed))[1] for seed in range(8)]
    shares = [((alpha > 0.05) & (alpha < 0.95)).mean() for alpha in alphas]
    assert np.mean(shares) > least and min(shares) > least / 4
    assert len(np.unique(np.rint(np.stack(alphas) * 255))) > 200


@pytest.mark.parametrize("kind", FOREGROUNDS)
def test_foreground_colour_varies(kind):
    """One plain colour would tell alpha away: visible pixels differ in brightness."""
    spreads = []
    for seed in range(6):
        colours, alpha = FOREGROUNDS[kind](SIZE, np.random.default_rng(seed))
        spreads.append(colours[alpha > 0.3].mean(axis=1).std() if (alpha > 0.3).any() else 0)
    assert np.median(spreads) > 0.01


@pytest.mark.parametrize("kind", FOREGROUNDS)
def test_colours_are_straight_and_defined_everywhere(kind):
    """Premultiplied colours would never be above alpha, and black where nothing is visible."""
    brighter, clear = 0.0, []
    for seed in range(12):
        colours, alpha = FOREGROUNDS[kind](SIZE, np.random.default_rng(seed))
        faint = (alpha > 0.02) & (alpha < 0.3)
        brighter = max(brighter, float((colours.max(axis=2) - alpha)[faint].max(initial=0)))
        clear.append(float(colours[alpha == 0].max(initial=0)))
    assert brighter > 0.3 and max(clear) > 0.3


@pytest.mark.parametrize("size", [32, 100, 161])
def test_any_size(size):
    for make in FOREGROUNDS.values():
        colours, alpha = make(size, np.random.default_rng(0))
        assert colours.shape == (size, size, 3) and alpha.shape == (size, size)


@pytest.mark.parametrize("kind", ["defocused", "moving"])
def test_blurred_kinds_have_wider_edges_than_sharp_ones(kind):
    """Steps of alpha between neighbours: sharp edges have the steepest."""

    def steepest(name):
        alphas = alphas_of(name, 12)
        return np.quantile(np.abs(np.diff(alphas, axis=1)).max(axis=(1, 2)), 0.75)

    assert steepest(kind) < 0.8 * steepest("sharp")
