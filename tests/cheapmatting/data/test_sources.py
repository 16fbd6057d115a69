"""Sources of pairs: procedural foregrounds, and layers over one another."""

from pathlib import Path

import numpy as np
import pytest
from pairs import cutouts, equal, synthetic, write_folders

from cheapmatting.data.augment import PLAIN, AugmentConfig
from cheapmatting.data.geometry import GeometryConfig
from cheapmatting.data.sample import collate
from cheapmatting.data.sources import ProceduralForegrounds
from cheapmatting.drawing.foregrounds import FOREGROUNDS

DATA = Path(__file__).parents[4] / "shared" / "data"


@pytest.fixture
def folders(tmp_path):
    return write_folders(tmp_path)


def test_a_synthetic_sample_is_a_function_of_seed_and_index():
    source = synthetic(48, seed=3)
    later = [source[i] for i in (5, 2, 9)]
    assert equal(source[5], later[0]) and equal(synthetic(48, seed=3)[9], later[2])
    assert not equal(later[0], later[1]) and not equal(synthetic(48, seed=4)[5], later[0])


def test_synthetic_kinds_can_be_chosen():
    source = synthetic(48, 0, kinds=("smoke",))
    expected = FOREGROUNDS["smoke"]
    rng = np.random.default_rng([0, 7])
    rng.integers(1)
    np.testing.assert_array_equal(source[7].alpha, expected(48, rng)[1])


def test_close_ups_are_drawn_larger_and_show_where_alpha_changes(monkeypatch):
    """A line four pixels wide in a large picture is as wide in its close-up, and not at its edge."""
    sides = []

    def line(size, rng):
        sides.append(size)
        alpha = np.zeros((size, size), np.float32)
        alpha[:, size // 3 : size // 3 + 4] = 1
        return np.zeros((size, size, 3), np.float32), alpha

    monkeypatch.setitem(FOREGROUNDS, "line", line)
    upright = GeometryConfig(affine=0.0, mirror=0.0, upside_down=0.0, close_up=1.0, closest=4.0)
    draw = ProceduralForegrounds(["line"], upright)
    for seed in range(40):
        colours, alpha = draw(64, np.random.default_rng(seed))
        assert colours.shape == (64, 64, 3) and alpha.shape == (64, 64)
        np.testing.assert_allclose(alpha.sum(axis=1), 4, atol=0.5)  # cubic kernels overshoot
        if sides[-1] > 100:
            assert 10 <= alpha[0].argmax() <= 54
    assert min(sides) < 80 and max(sides) > 200 and min(sides) >= 64 and max(sides) <= 256


def test_foregrounds_that_are_never_turned_are_as_they_are_drawn():
    """Interpolation would soften them, and a mirror image's random numbers would change what follows."""
    draw = ProceduralForegrounds(["hair"], PLAIN.geometry)
    rng, same = np.random.default_rng(5), np.random.default_rng(5)
    colours, alpha = draw(64, rng)
    same.integers(1)
    for found, expected in zip((colours, alpha), FOREGROUNDS["hair"](64, same), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert rng.random() == same.random()


@pytest.mark.parametrize("kind", FOREGROUNDS)
def test_every_kind_has_close_ups_with_something_to_learn(kind):
    draw = ProceduralForegrounds([kind], GeometryConfig(close_up=1.0))
    shown = [draw(64, np.random.default_rng(seed))[1] for seed in range(6)]
    assert sum(float(alpha.max() - alpha.min()) > 0.2 for alpha in shown) >= 4


@pytest.mark.parametrize("augment", [PLAIN, AugmentConfig(real_world=True)])
@pytest.mark.parametrize(
    "make",
    [lambda f, b, a: synthetic(64, 1, a, backgrounds=str(b)), lambda f, b, a: cutouts(f, b, 64, 1, augment=a)],
)
def test_samples_have_unknown_pixels_and_true_known_ones(folders, make, augment):
    source = make(*folders, augment)
    for i in range(30):
        sample = source[i]
        assert sample.alpha.shape == (64, 64)
        assert (sample.trimap == 128).any()
        assert np.all(sample.alpha[sample.trimap == 255] > 253.5 / 255)
        assert np.all(sample.alpha[sample.trimap == 0] < 1.5 / 255)
        assert sample.image.min() >= 0 and sample.image.max() <= 1
    assert collate([source[0], source[1]]).inputs.shape == (2, 6, 64, 64)


def test_a_folder_sample_is_a_function_of_seed_and_index(folders):
    source = cutouts(*folders, 64, seed=0)
    samples = [source[i] for i in range(6)]
    assert equal(cutouts(*folders, 64, seed=0)[5], samples[5])
    assert not equal(cutouts(*folders, 64, seed=1)[5], samples[5])
    assert not any(equal(samples[0], other) for other in samples[1:])


def test_procedural_backgrounds_serve_a_folder_of_cutouts(folders):
    sample = cutouts(folders[0], None, 64, 0)[0]
    assert sample.background.std() > 0.005


@pytest.mark.skipif(not DATA.is_dir(), reason=f"needs the cut-outs and photographs in {DATA}")
def test_real_folders():
    source = cutouts(DATA / "foregrounds", DATA / "backgrounds", 128, seed=0)
    for i in range(8):
        sample = source[i]
        assert (sample.trimap == 128).any()
        assert sample.foreground.std() > 0.01 and sample.background.std() > 0.01
    assert not source.foreground.folder.skipped
