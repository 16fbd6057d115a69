"""Trimaps as people draw them."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pairs import soft_disc

from atldas.common.config import from_dict
from atldas.common.errors import UserError
from cheapmatting.data.drawn_trimap import PLAIN_TRIMAPS, TrimapConfig, drawn_trimap
from cheapmatting.trimap import make_trimap


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_no_drawn_trimap_is_wrong_and_something_is_known(seed):
    alpha = soft_disc()
    often = TrimapConfig(wide=0.5, uneven=0.5, strokes=0.5, patches=0.5, pieces=0.5, unknown_foreground=0.3)
    trimap = drawn_trimap(alpha, np.random.default_rng(seed), often)
    assert trimap.dtype == np.uint8 and set(np.unique(trimap)) <= {0, 128, 255}
    assert np.all(alpha[trimap == 255] > 253.5 / 255) and np.all(alpha[trimap == 0] < 1.5 / 255)
    assert (trimap == 128).any() and (trimap != 128).any()


def straight_edge(height: int, width: int) -> np.ndarray:
    """Alpha float32 [H, W]: background on the left, foreground on the right."""
    alpha = np.zeros((height, width), np.float32)
    alpha[:, width // 2 :] = 1
    return alpha


def radii_of(settings: TrimapConfig, count: int = 300) -> np.ndarray:
    """Outer radii of trimaps for a straight edge, at 512 pixels."""
    alpha = straight_edge(4, 512)
    trimaps = [drawn_trimap(alpha, np.random.default_rng(seed), settings) for seed in range(count)]
    return np.array([256 - int((trimap[0] == 0).sum()) for trimap in trimaps])


def test_radii_are_log_even_with_a_wide_tail():
    plain = {"uneven": 0.0, "strokes": 0.0, "unknown_foreground": 0.0}
    narrow = radii_of(TrimapConfig(wide=0.0, **plain))
    assert narrow.min() == 1 and 24 <= narrow.max() <= 29
    assert 0.4 < (narrow < np.sqrt(29)).mean() < 0.6  # half below the geometric mean
    tail = radii_of(TrimapConfig(wide=1.0, **plain))
    assert tail.min() >= 29 and 75 < tail.max() <= 87


def test_radii_go_with_the_size_and_are_1_at_least():
    alpha = straight_edge(4, 128)
    plain = TrimapConfig(wide=0.0, uneven=0.0, strokes=0.0, unknown_foreground=0.0)
    radii = [64 - int((drawn_trimap(alpha, np.random.default_rng(i), plain)[0] == 0).sum()) for i in range(200)]
    assert min(radii) == 1 and max(radii) == 7  # 29 / 4


def test_alike_sides_have_one_radius():
    alpha = straight_edge(4, 512)
    plain = {"wide": 0.3, "uneven": 0.0, "strokes": 0.0, "unknown_foreground": 0.0}
    for alike in (0.0, 0.5, 1.0):
        settings = TrimapConfig(alike=alike, **plain)
        rows = [drawn_trimap(alpha, np.random.default_rng(seed), settings)[0] for seed in range(300)]
        same = np.mean([(row[:256] == 128).sum() == (row[256:] == 128).sum() for row in rows])
        assert abs(same - alike) < 0.1  # two radii are the same pixels by chance, too


def test_uneven_trimaps_vary_along_the_edge():
    alpha = straight_edge(256, 256)
    uneven = TrimapConfig(radii=(40.0, 40.0), wide=0.0, uneven=1.0, strokes=0.0, unknown_foreground=0.0)
    widths = (drawn_trimap(alpha, np.random.default_rng(0), uneven) == 128).sum(axis=1)
    assert widths.max() - widths.min() > 8


def test_strokes_and_unknown_foregrounds_only_add_unknown():
    alpha = soft_disc(128, 40, 2)
    base = {"wide": 0.0, "uneven": 0.0}
    for seed in range(10):
        plain, stroked, whole = (
            drawn_trimap(alpha, np.random.default_rng(seed), TrimapConfig(**base, **chances))
            for chances in (
                {"strokes": 0.0, "unknown_foreground": 0.0},
                {"strokes": 1.0, "unknown_foreground": 0.0},
                {"strokes": 0.0, "unknown_foreground": 1.0},
            )
        )
        assert np.all(stroked[plain == 128] == 128) and (stroked == 128).sum() > (plain == 128).sum()
        assert not (whole == 255).any() and np.array_equal(whole == 0, plain == 0)


def test_patches_reach_what_is_solid_and_plain():
    alpha = straight_edge(128, 128)
    base = TrimapConfig(wide=0.0, uneven=0.0, strokes=0.0, unknown_foreground=0.0, radii=(1.0, 2.0))
    shares = []
    for seed in range(40):
        plain, patched = (
            drawn_trimap(alpha, np.random.default_rng(seed), replace(base, patches=chance)) for chance in (0.0, 1.0)
        )
        added = (patched == 128) & (plain != 128)
        assert np.array_equal(patched[~added], plain[~added])
        shares.append((added[:, :60].mean(), added[:, 68:].mean()))
    background, foreground = np.mean(shares, axis=0)
    assert 0.05 < background < 0.5 and 0.05 < foreground < 0.5


def test_pieces_are_left_unknown_as_a_whole():
    alpha = np.zeros((64, 64), np.float32)
    alpha[8:24, 8:24] = alpha[40:56, 40:56] = 1
    base = TrimapConfig(wide=0.0, uneven=0.0, strokes=0.0, unknown_foreground=0.0, radii=(1.0, 1.0), pieces=1.0)
    kept = []
    for seed in range(80):
        trimap = drawn_trimap(alpha, np.random.default_rng(seed), base)
        shares = (trimap[10:22, 10:22] == 255).mean(), (trimap[42:54, 42:54] == 255).mean()
        assert set(shares) <= {0.0, 1.0}
        kept.append(shares)
    assert np.all(np.abs(np.mean(kept, axis=0) - 0.5) < 0.2) and {(0.0, 1.0), (1.0, 0.0)} <= set(kept)


def test_even_radii_are_whole_inclusive_and_drawn_apart():
    alpha = np.zeros((1, 100), np.float32)
    alpha[:, 50:] = 1
    settings = replace(PLAIN_TRIMAPS, radii=(2.0, 4.0))
    trimaps = [drawn_trimap(alpha, np.random.default_rng(i), settings) for i in range(60)]
    pairs = {(50 - int((t == 0).sum()), 50 - int((t == 255).sum())) for t in trimaps}
    assert pairs == {(a, b) for a in (2, 3, 4) for b in (2, 3, 4)}


def test_a_trimap_in_which_nothing_is_known_is_drawn_narrowly_if_wanted():
    alpha = soft_disc(32, 8, 2)
    wide = replace(PLAIN_TRIMAPS, radii=(40.0, 40.0))
    assert (drawn_trimap(alpha, np.random.default_rng(0), wide) == 128).all()
    narrow = drawn_trimap(alpha, np.random.default_rng(0), replace(wide, never_empty=True))
    np.testing.assert_array_equal(narrow, make_trimap(alpha, 1, 1))


@pytest.mark.parametrize("radii", [[20, 1], [0, 5], [1, 1e9]])
def test_radii_are_a_range(radii):
    with pytest.raises(UserError, match=r"a range \[low, high\] within 1 and 500, not"):
        from_dict(TrimapConfig, {"radii": radii}, "x")
    assert from_dict(TrimapConfig, {"radii": [0, 5], "spacing": "even"}, "x").radii == (0, 5)
