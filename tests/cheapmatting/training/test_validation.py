"""Measuring networks on fixed pairs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small import samples, small_network
from torch import Tensor, nn

from cheapmatting.data.sample import collate
from cheapmatting.evaluation.metrics import sad
from cheapmatting.training.validation import half_everywhere, mean_sad, network_sad, predict

CPU = torch.device("cpu")


class Knowing(nn.Module):
    """Answers with the red channel of its input, off by 0.2 in known pixels; counts its calls."""

    calls = 0

    def forward(self, x: Tensor) -> Tensor:
        assert not self.training and not torch.is_grad_enabled()
        self.calls += 1
        return x[:, :1] + 0.2 * (1 - x[:, 4:5])


def test_prediction_keeps_known_pixels() -> None:
    (sample,) = samples(1)
    alpha = predict(Knowing().eval(), sample, CPU)
    assert alpha.dtype == np.float32 and alpha.shape == sample.alpha.shape
    assert (alpha[sample.trimap == 0] == 0).all() and (alpha[sample.trimap == 255] == 1).all()
    unknown = sample.trimap == 128
    np.testing.assert_allclose(alpha[unknown], sample.image[..., 0][unknown], atol=1e-6)


def test_sad_is_the_mean_of_the_metric_over_pairs() -> None:
    pairs = samples(3)
    network = small_network()
    expected = [sad(predict(network.eval(), sample, CPU), sample.alpha, sample.trimap) for sample in pairs]
    for training in (True, False):
        assert network_sad(network.train(training), pairs, CPU) == pytest.approx(np.mean(expected), rel=1e-9)
        assert network.training is training


def test_sad_by_hand() -> None:
    pairs = samples(2)
    by_hand = []
    for sample in pairs:
        unknown = sample.trimap == 128
        alpha = np.floor(sample.image[..., 0][unknown] * 255 + 0.5) / 255
        truth = np.floor(sample.alpha[unknown] * 255 + 0.5) / 255
        by_hand.append(np.abs(alpha - truth).sum() / 1000)
    assert network_sad(Knowing(), pairs, CPU) == pytest.approx(np.mean(by_hand), rel=1e-5)


def test_the_truth_has_no_error_and_half_everywhere_has() -> None:
    pairs = samples(2)
    assert mean_sad(lambda sample: sample.alpha, pairs) == 0
    assert mean_sad(half_everywhere, pairs) > 0
    half = half_everywhere(pairs[0])
    assert set(np.unique(half)) <= {np.float32(0), np.float32(0.5), np.float32(1)}
    np.testing.assert_array_equal(half == 0.5, pairs[0].trimap == 128)


def test_gradients_are_left_alone() -> None:
    network = small_network()
    network(collate(samples(1)).inputs).sum().backward()
    before = [parameter.grad.clone() for parameter in network.parameters() if parameter.grad is not None]
    network_sad(network, samples(1), CPU)
    after = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True)) and before
