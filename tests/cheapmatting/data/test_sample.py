import numpy as np
import pytest
import torch

from cheapmatting.data.sample import Sample, collate
from cheapmatting.trimap import make_trimap


def random_sample(seed: int, size: tuple[int, int] = (8, 12)) -> Sample:
    rng = np.random.default_rng(seed)
    alpha = np.clip(rng.normal(0.5, 1, size), 0, 1).astype(np.float32)
    foreground, background = rng.random((2, *size, 3), np.float32)
    return Sample(foreground, background, alpha, make_trimap(alpha, 0, 0))


def test_image_is_the_compositing_equation():
    sample = random_sample(0)
    y, x = np.argwhere((sample.alpha > 0.2) & (sample.alpha < 0.8))[0]
    a = float(sample.alpha[y, x])
    expected = a * sample.foreground[y, x].astype(float) + (1 - a) * sample.background[y, x]
    np.testing.assert_allclose(sample.image[y, x], expected, atol=1e-6)
    np.testing.assert_array_equal(sample.image[sample.alpha == 1], sample.foreground[sample.alpha == 1])
    np.testing.assert_array_equal(sample.image[sample.alpha == 0], sample.background[sample.alpha == 0])
    assert sample.image.dtype == np.float32 and sample.image.min() >= 0 and sample.image.max() <= 1


@pytest.mark.parametrize("name", ["foreground", "background", "alpha", "trimap"])
def test_wrong_arrays_are_named(name):
    sample = random_sample(0)
    arrays = {key: getattr(sample, key) for key in ("foreground", "background", "alpha", "trimap")}
    with pytest.raises(ValueError, match=f"{name} must be"):
        Sample(**{**arrays, name: arrays[name].astype(np.float64)})
    if name != "alpha":  # an alpha of another size makes the first of the others wrong
        with pytest.raises(ValueError, match=f"{name} must be .* got"):
            Sample(**{**arrays, name: arrays[name][1:]})


def test_collate_stacks_image_and_one_hot_trimap():
    samples = [random_sample(i) for i in range(3)]
    batch = collate(samples)
    assert batch.inputs.shape == (3, 6, 8, 12)
    assert batch.alpha.shape == batch.unknown.shape == (3, 1, 8, 12)
    assert batch.foreground.shape == batch.background.shape == (3, 3, 8, 12)
    assert {tensor.dtype for tensor in batch} == {torch.float32}
    for i, sample in enumerate(samples):
        np.testing.assert_array_equal(batch.inputs[i, :3].permute(1, 2, 0).numpy(), sample.image)
        np.testing.assert_array_equal(batch.inputs[i, 3:].argmax(0).numpy(), np.searchsorted([0, 128], sample.trimap))
        np.testing.assert_array_equal(batch.unknown[i, 0].numpy(), sample.trimap == 128)
    torch.testing.assert_close(batch.inputs[:, 3:].sum(dim=1), torch.ones(3, 8, 12))
    torch.testing.assert_close(batch.inputs[:, 4:5], batch.unknown)
    assert (batch.loss_weights == 1).all() and torch.equal(batch.counted, batch.unknown)
    composite = batch.alpha * batch.foreground + (1 - batch.alpha) * batch.background
    torch.testing.assert_close(batch.inputs[:, :3], composite)


def test_a_degraded_image_is_what_the_network_sees():
    plain = random_sample(0)
    sample = Sample(plain.foreground, plain.background, plain.alpha, plain.trimap, plain.background)
    assert sample.image is plain.background
    np.testing.assert_array_equal(collate([sample]).inputs[0, :3].permute(1, 2, 0).numpy(), plain.background)
    with pytest.raises(ValueError, match="degraded must be"):
        Sample(plain.foreground, plain.background, plain.alpha, plain.trimap, plain.background[1:])


def test_of_an_image_the_layers_are_the_image():
    plain = random_sample(0)
    sample = Sample.of_image(plain.image, plain.alpha, plain.trimap)
    assert plain.layered and not sample.layered
    np.testing.assert_array_equal(sample.image, plain.image)
    batch = collate([sample])
    np.testing.assert_array_equal(batch.foreground, batch.background)
    np.testing.assert_array_equal(batch.inputs[:, :3], batch.foreground)


def test_moving_a_batch_makes_inputs_channels_last():
    batch = collate([random_sample(0), random_sample(1)])
    moved = batch.to("cpu")
    assert moved.inputs.is_contiguous(memory_format=torch.channels_last)
    assert moved._fields == batch._fields
    for before, after in zip(batch, moved, strict=True):
        torch.testing.assert_close(before, after)


def test_sizes_must_agree():
    with pytest.raises(ValueError, match="samples of one size, got"):
        collate([random_sample(0), random_sample(1, (8, 8))])
    with pytest.raises(ValueError, match="samples of one size"):
        collate([])
