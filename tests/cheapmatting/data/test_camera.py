"""What lenses, sensors and file formats do to pictures, by numbers."""

import numpy as np
import pytest
import torch
from pairs import SIZE, a_photograph, a_sample, soft_disc

from cheapmatting.data.augment import AugmentConfig, augmented
from cheapmatting.data.camera import CAMERA, CameraConfig, photographed
from cheapmatting.data.sample import Sample, collate
from cheapmatting.training.losses import composition
from cheapmatting.trimap import make_trimap


@pytest.mark.parametrize("name", CAMERA)
@pytest.mark.parametrize("make", [a_sample, a_photograph])
def test_the_camera_degrades_the_image_alone(name, make):
    before = make()
    image = before.image.copy()
    after = CAMERA[name](before, np.random.default_rng(3), CameraConfig())
    for array in ("foreground", "background", "alpha", "trimap"):
        assert getattr(after, array) is getattr(before, array)
    assert after.degraded is not None and after.image is after.degraded
    assert after.image.dtype == np.float32 and after.image.min() >= 0 and after.image.max() <= 1
    assert 0 < np.abs(after.image - image).mean() < 0.2
    np.testing.assert_array_equal(before.image, image)
    again = CAMERA[name](before, np.random.default_rng(3), CameraConfig())
    np.testing.assert_array_equal(after.image, again.image)


def grey(level: float, size: int = 128) -> Sample:
    picture, alpha = np.full((size, size, 3), level, np.float32), soft_disc(size)
    return Sample.of_image(picture, alpha, make_trimap(alpha, 1, 1))


@pytest.mark.parametrize("level", [0.2, 0.8])
def test_noise_has_the_variance_of_its_model(level):
    limits = CameraConfig(shot_noise=(1e-3, 1e-3), read_noise=(5e-3, 5e-3))
    for seed in range(4):  # fine and coarse grain
        degraded = CAMERA["noise"](grey(level), np.random.default_rng(seed), limits).image
        np.testing.assert_allclose(degraded.var(), 1e-3 * level + 5e-3**2, rtol=0.05)
        np.testing.assert_allclose(degraded.mean(), level, atol=1e-3)


def test_jpeg_of_lower_quality_is_further_away():
    sample = CAMERA["noise"](a_sample(), np.random.default_rng(0), CameraConfig(read_noise=(0.02, 0.02)))
    errors = []
    for quality in (95, 70, 30):
        after = CAMERA["jpeg"](sample, np.random.default_rng(0), CameraConfig(qualities=(quality, quality)))
        errors.append(float(np.abs(after.image - sample.image).mean()))
    assert 0.001 < errors[0] < errors[1] < errors[2] < 0.05


def test_sharpening_overshoots_at_an_edge_and_blur_flattens_it():
    step = np.full((SIZE, SIZE, 3), 0.3, np.float32)
    step[:, SIZE // 2 :] = 0.6
    sample = Sample.of_image(step, soft_disc(), make_trimap(soft_disc(), 1, 1))
    sharp = CAMERA["sharpening"](sample, np.random.default_rng(0), CameraConfig()).image
    assert sharp.max() > 0.62 and sharp.min() < 0.28
    np.testing.assert_allclose(sharp[:, :10], 0.3, atol=1e-3)
    soft = CAMERA["blur"](sample, np.random.default_rng(0), CameraConfig(blur_radius=(1.0, 1.0))).image
    assert np.diff(soft[0, :, 0]).max() < 0.15 and soft.min() >= 0.3 - 1e-5 and soft.max() <= 0.6 + 1e-5


def test_resampling_loses_what_is_finer_than_the_smaller_picture():
    stripes = np.zeros((SIZE, SIZE, 3), np.float32)
    stripes[:, ::2] = 1
    sample = Sample.of_image(stripes, soft_disc(), make_trimap(soft_disc(), 1, 1))
    after = CAMERA["resampling"](sample, np.random.default_rng(4), CameraConfig(scales=(0.5, 0.5))).image
    assert after.std() < 0.1 and abs(after.mean() - 0.5) < 0.05


def test_a_vignette_darkens_by_as_much_as_it_says():
    after = CAMERA["vignette"](grey(0.5), np.random.default_rng(0), CameraConfig(darkening=(0.4, 0.4))).image
    np.testing.assert_allclose([after.min() / 0.5, after.max() / 0.5], [0.6, 1], atol=0.15)
    np.testing.assert_allclose(after.min() / 0.5, 0.6, atol=1e-4)


def test_photographs_have_256_levels():
    always = CameraConfig(**dict.fromkeys(CAMERA, 1.0))
    levels = photographed(a_sample(), np.random.default_rng(0), always).image * 255
    np.testing.assert_allclose(levels, np.rint(levels), atol=1e-3)
    never = photographed(a_sample(), np.random.default_rng(0), CameraConfig(**dict.fromkeys(CAMERA, 0.0)))
    np.testing.assert_allclose(never.image, a_sample().image, atol=0.5 / 255 + 1e-6)


def test_real_world_is_off_unless_asked_for():
    for seed in range(5):
        assert augmented(a_sample(), np.random.default_rng(seed), AugmentConfig()).degraded is None
        assert augmented(a_sample(), np.random.default_rng(seed), AugmentConfig(real_world=True)).degraded is not None


def test_composition_does_not_ask_for_the_cameras_errors():
    """With the true alpha there is nothing to be learnt; the batch's image is the degraded one all the same."""
    always = CameraConfig(**dict.fromkeys(CAMERA, 1.0))
    samples = [photographed(make(), np.random.default_rng(0), always) for make in (a_sample, a_photograph)]
    batch = collate(samples)
    np.testing.assert_array_equal(batch.inputs[0, :3].permute(1, 2, 0).numpy(), samples[0].degraded)
    assert composition(batch.alpha, batch) == 0
    alpha = torch.full_like(batch.alpha, 0.5, requires_grad=True)
    loss = composition(alpha, batch)
    loss.backward()
    layered, photograph = alpha.grad.abs().sum(dim=(1, 2, 3))
    assert layered > 0 and photograph == 0
    inside = samples[0].trimap == 128
    error = np.abs((0.5 - samples[0].alpha)[..., None] * (samples[0].foreground - samples[0].background))
    np.testing.assert_allclose(loss.item(), error[inside].mean() * inside.sum() / batch.unknown.sum().item(), rtol=1e-5)
