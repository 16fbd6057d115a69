"""Measuring networks on fixed pairs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small import samples, small_network, training_settings
from torch import Tensor, nn

from atldas.common.errors import UserError
from cheapmatting.data.sample import collate
from cheapmatting.evaluation.metrics import sad
from cheapmatting.images import write_image
from cheapmatting.training.recipe import TrainConfig
from cheapmatting.training.validation import columns, half_everywhere, held_out, judged, mean_sad, network_sad, predict

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


def photographs(folder: Path, shapes: Sequence[tuple[int, int]]) -> TrainConfig:
    """Settings with photographs of these sizes, the truth in their red channel, and two folders of trimaps."""
    rng = np.random.default_rng(0)
    for number, shape in enumerate(shapes):
        image = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
        trimaps = {"narrow": np.full(shape, 128, np.uint8), "wide": np.full(shape, 128, np.uint8)}
        trimaps["narrow"][: shape[0] // 2] = 0
        image[: shape[0] // 2, :, 0] = 0  # as the narrow trimap says
        for name, pixels in {"image": image, "truth": image[..., 0], **trimaps}.items():
            (folder / name).mkdir(exist_ok=True)
            write_image(folder / name / f"{number}.png", pixels)
    places = {"images": "image", "truths": "truth"}
    given: dict[str, Any] = {key: str(folder / name) for key, name in places.items()}
    given["trimaps"] = [str(folder / "narrow"), str(folder / "wide")]
    return training_settings(validation={"every": 1, "pairs": 2, "photographs": given})


def test_photographs_of_any_size_are_a_set_for_each_folder_of_trimaps(tmp_path: Path) -> None:
    settings = photographs(tmp_path, [(9, 14), (20, 6)])
    sets = held_out(settings)
    assert list(sets) == columns(settings) == ["SAD", "SAD narrow", "SAD wide"]
    assert [sample.alpha.shape for sample in sets["SAD narrow"]] == [(9, 14), (20, 6)] and len(sets["SAD"]) == 2
    figures = {name: network_sad(Knowing(), pairs, CPU) for name, pairs in sets.items()}
    assert figures["SAD"] > 0 and figures["SAD narrow"] == figures["SAD wide"] == 0
    for sample in sets["SAD wide"]:
        np.testing.assert_array_equal(sample.image[..., 0], sample.alpha)


def test_photographs_judge_where_there_are_some() -> None:
    assert judged({"SAD": 1.0}) == 1.0
    assert judged({"SAD": 1.0, "SAD narrow": 4.0, "SAD wide": 6.0}) == 5.0


def test_a_photograph_of_another_size_than_its_trimap_is_named(tmp_path: Path) -> None:
    settings = photographs(tmp_path, [(9, 14)])
    write_image(tmp_path / "wide" / "0.png", np.full((9, 13), 128, np.uint8))
    with pytest.raises(UserError, match=r"wide/0\.png: expected 14 x 9 pixels"):
        held_out(settings)


def test_folders_of_trimaps_of_one_name_are_refused(tmp_path: Path) -> None:
    folders = {"images": "a", "truths": "b", "trimaps": [str(tmp_path / "x" / "t"), str(tmp_path / "y" / "t")]}
    with pytest.raises(UserError, match=r"photographs: expected folders of trimaps whose names differ.*not t, t"):
        training_settings(validation={"every": 1, "photographs": folders})


def test_a_photograph_without_a_trimap_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    settings = photographs(tmp_path, [(9, 14), (20, 6)])
    (tmp_path / "wide" / "1.png").unlink()
    assert len(held_out(settings)["SAD wide"]) == 1
    assert "1 images without a trimap: 1" in caplog.text


def test_gradients_are_left_alone() -> None:
    network = small_network()
    network(collate(samples(1)).inputs).sum().backward()
    before = [parameter.grad.clone() for parameter in network.parameters() if parameter.grad is not None]
    network_sad(network, samples(1), CPU)
    after = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True)) and before
