"""benchmarks/peers.py: closed-form and KNN matting on the same pairs as networks."""

from collections.abc import Iterator
from types import ModuleType

import numpy as np
import pytest
import torch
from scripts import load_script

from cheapmatting.data.config import DataConfig, make_source


@pytest.fixture(scope="module")
def peers() -> Iterator[ModuleType]:
    threads = torch.get_num_threads()
    pytest.importorskip("pymatting", reason="PyMatting is not installed (pip install -e '.[peers]')")
    yield load_script("benchmarks/peers.py")
    torch.set_num_threads(threads)  # PyMatting's Numba sets OpenMP's number of threads for everybody


def test_closed_form_solves_an_easy_pair_and_is_kept(peers, tmp_path):
    image = np.zeros((24, 24, 3), np.uint8)
    image[:, 12:] = (250, 120, 10)
    truth = np.where(np.arange(24) < 12, 0, 255).astype(np.uint8)[None].repeat(24, axis=0)
    trimap = truth.copy()
    trimap[:, 6:18] = 128
    pairs = [peers.Pair(image, trimap, truth)]
    lines = peers.kept_or_scored(tmp_path / "cf.csv", peers.PEERS["closed-form"], pairs, "closed-form")
    assert lines[0]["SAD"] < 0.02 * 12 * 24 / 1000
    assert peers.score(peers.PEERS["all 0.5"], pairs, "half")[0]["SAD"] == pytest.approx(12 * 24 * 0.5 / 1000, rel=0.01)

    def never(image, trimap):
        raise AssertionError("the kept figures were not used")

    assert peers.kept_or_scored(tmp_path / "cf.csv", never, pairs, "closed-form") == lines
    assert "| as drawn | closed-form |" in peers.table({"as drawn": {"closed-form": lines}})


def test_pair_sets_share_their_pictures(peers):
    source = make_source(DataConfig(size=64), 0)
    sets, passed_over = peers.pair_sets(source, 3, [1, 4])
    assert list(sets) == ["as drawn", "1 px", "4 px"] and passed_over >= 0
    for drawn, narrow, wide in zip(*sets.values(), strict=True):
        assert drawn.image is not narrow.image
        np.testing.assert_array_equal(drawn.image, wide.image)
        assert set(np.unique(wide.trimap)) == {0, 128, 255}
        assert ((wide.trimap == 128) >= (narrow.trimap == 128)).all()


def test_photographs_have_a_line_each_and_a_mean(peers):
    results = {"narrow": {"a": [{"SAD": 1.0}, {"SAD": 3.0}], "b": [{"SAD": 0.5}, {"SAD": 0.25}]}}
    assert peers.photograph_table(["cat", "dog"], results).splitlines()[2:] == [
        "| narrow | cat | 1.00 | 0.50 |",
        "| narrow | dog | 3.00 | 0.25 |",
        "| narrow | mean | 2.00 | 0.38 |",
    ]


def test_crops_hold_what_is_unknown(peers):
    trimap = np.zeros((300, 400), np.uint8)
    trimap[20:60, 300:340] = 128
    trimap[250:260, 10:20] = 128
    (top, left, side), (top2, left2, _) = peers.crops(trimap)
    assert side == 88 and (trimap[top : top + side, left : left + side] == 128).sum() == 1600
    assert (trimap[top2 : top2 + side, left2 : left2 + side] == 128).sum() == 100
    assert peers.crops(np.zeros((50, 50), np.uint8)) == []
    assert len(peers.crops(np.full((20, 90), 128, np.uint8))) == 2
