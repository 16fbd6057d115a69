"""From a source to batches."""

from itertools import islice

import pytest
import torch
from pairs import equal, mix_of, synthetic

from atldas.common.config import from_dict
from cheapmatting.data.config import DataConfig, make_source
from cheapmatting.data.loader import Pool, batches
from cheapmatting.data.sample import Batch


@pytest.fixture
def mix(tmp_path):
    return mix_of(tmp_path)


def same(first: Batch, second: Batch) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("workers", [1, 2])
def test_batches_are_the_same_from_any_number_of_workers(mix, workers):
    source = make_source(from_dict(DataConfig, mix, "x"), seed=4)
    expected = list(islice(batches(source, 3), 6))
    fresh = make_source(from_dict(DataConfig, mix, "x"), seed=4)
    found = list(islice(batches(fresh, 3, workers=workers), 6))
    assert all(same(*pair) for pair in zip(expected, found, strict=True))
    later = next(batches(fresh, 3, start=4, workers=workers))
    assert same(later, expected[4]) and not same(later, expected[3])


def test_a_pool_makes_each_sample_once():
    class Counted:
        made = 0

        def __getitem__(self, index: int):
            Counted.made += 1
            return synthetic(32, 0)[index]

    pool = Pool(Counted(), 2)
    assert equal(pool[0], pool[2]) and equal(pool[1], pool[3]) and Counted.made == 2
