"""Augmentation: what each function changes, by how much, and what it must leave alone."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from pairs import SIZE, a_photograph, a_sample, soft_disc

from atldas.common.config import from_dict
from atldas.common.errors import UserError
from cheapmatting.data.augment import COLOURS, PLAIN, AugmentConfig, augmented, combined
from cheapmatting.data.camera import CAMERA, CameraConfig
from cheapmatting.data.drawn_trimap import drawn_trimap
from cheapmatting.data.sample import composite

# Two foregrounds in one.


def test_combined_by_hand():
    red, blue = (np.full((1, 4, 3), colour, np.float32) for colour in ([1, 0, 0], [0, 0, 1]))
    a1, a2 = np.float32([[0.5, 1, 0, 0.25]]), np.float32([[0.5, 0.5, 0, 0.8]])
    colours, alpha = combined((red, a1), (blue, a2))
    np.testing.assert_allclose(alpha, [[0.75, 1, 0, 0.85]], atol=1e-6)
    np.testing.assert_allclose(colours[0, 0], [0.5 / 0.75, 0, 0.25 / 0.75], atol=1e-5)
    np.testing.assert_allclose(colours[0, 1], [1, 0, 0], atol=1e-5)
    np.testing.assert_allclose(colours[0, 2], [0.5, 0, 0.5], atol=1e-5)
    np.testing.assert_allclose(colours[0, 3], [0.25 / 0.85, 0, 0.6 / 0.85], atol=1e-5)


def test_combined_looks_like_one_on_the_other():
    rng = np.random.default_rng(0)
    (f1, f2, background), (a1, a2) = rng.random((3, 9, 9, 3), np.float32), rng.random((2, 9, 9), np.float32)
    picture = composite(*combined((f1, a1), (f2, a2))[:1], background, 1 - (1 - a1) * (1 - a2))
    np.testing.assert_allclose(picture, composite(f1, composite(f2, background, a2), a1), atol=1e-5)


def test_a_second_foreground_that_fills_the_picture_is_dropped():
    first = (np.zeros((SIZE, SIZE, 3), np.float32), soft_disc())
    full = (np.ones((SIZE, SIZE, 3), np.float32), np.ones((SIZE, SIZE), np.float32))
    assert combined(first, full) is first


# Colours.


@pytest.mark.parametrize("name", COLOURS)
def test_colours_leave_alpha_and_the_compositing_equation(name):
    before = a_sample()
    copy = replace(before, foreground=before.foreground.copy(), background=before.background.copy())
    after = COLOURS[name](before, np.random.default_rng(3), AugmentConfig())
    assert after.alpha is before.alpha and after.trimap is before.trimap
    np.testing.assert_array_equal(after.image, composite(after.foreground, after.background, after.alpha))
    assert np.abs(after.image - before.image).max() > 1e-3
    for layer in (after.foreground, after.background):
        assert layer.dtype == np.float32 and layer.min() >= 0 and layer.max() <= 1
    np.testing.assert_array_equal(before.foreground, copy.foreground)  # pure: what was given is as it was
    np.testing.assert_array_equal(before.background, copy.background)


def test_only_what_changes_the_whole_picture_is_done_to_one_without_layers():
    for name, change in COLOURS.items():
        before = a_photograph()
        after = change(before, np.random.default_rng(3), AugmentConfig())
        assert not after.layered
        assert (name == "exposure") != np.array_equal(after.image, before.image)


def test_jitter_turns_hues_and_keeps_grey():
    sample = a_sample()
    colours = np.zeros((SIZE, SIZE, 3), np.float32)
    colours[: SIZE // 2] = 0.5
    colours[SIZE // 2 :] = [0.8, 0.2, 0.2]
    sample = replace(sample, foreground=colours)
    only_hue = AugmentConfig(hue=90.0, saturation=0.0, brightness=0.0)
    for seed in range(5):
        after = COLOURS["jitter"](sample, np.random.default_rng(seed), only_hue)
        angle = np.random.default_rng(seed).uniform(-90, 90, 3)[0] % 360
        hsv = cv2.cvtColor(after.foreground, cv2.COLOR_RGB2HSV)
        np.testing.assert_allclose(hsv[-1, 0], [angle, 0.75, 0.8], atol=0.05)
        np.testing.assert_allclose(after.foreground[0], 0.5, atol=1e-5)
        np.testing.assert_array_equal(after.background, sample.background)


def test_exposure_is_one_gamma_and_three_gains_for_both_layers():
    sample = a_sample()
    after = COLOURS["exposure"](sample, np.random.default_rng(1), AugmentConfig())
    rng = np.random.default_rng(1)
    gamma, gains = np.exp(rng.uniform(*np.log((0.7, 1.5)))), 1 + rng.uniform(-0.12, 0.12, 3)
    for layer, was in ((after.foreground, sample.foreground), (after.background, sample.background)):
        np.testing.assert_allclose(layer, np.clip(was**gamma * gains, 0, 1), atol=1e-5)


def test_defocus_blurs_the_background_alone():
    sample = a_sample()
    after = COLOURS["defocus"](sample, np.random.default_rng(1), AugmentConfig())
    assert after.foreground is sample.foreground
    assert np.abs(np.diff(after.background, axis=1)).mean() < np.abs(np.diff(sample.background, axis=1)).mean()
    np.testing.assert_allclose(after.background.mean(), sample.background.mean(), atol=0.02)


# Together.


def test_no_augmentation_leaves_all_but_the_trimap_and_some_backgrounds():
    sample, changed = a_sample(), 0
    for seed in range(100):
        after = augmented(sample, np.random.default_rng(seed), PLAIN)
        assert after.foreground is sample.foreground and after.alpha is sample.alpha and after.degraded is None
        changed += after.background is not sample.background
    assert 10 <= changed <= 30


def test_steps_go_in_their_order_and_those_not_named_are_left_out():
    sample, chances = a_sample(), {"jitter": 0.0, "defocus": 0.0, "camouflage": 1.0, "exposure": 1.0}
    rng, same = np.random.default_rng(1), np.random.default_rng(1)
    settings = AugmentConfig(**chances, order=("exposure", "trimap"))
    found = augmented(sample, rng, settings)
    same.random()
    expected = COLOURS["exposure"](sample, same, settings)
    np.testing.assert_array_equal(found.background, expected.background)
    np.testing.assert_array_equal(found.trimap, drawn_trimap(sample.alpha, same, settings.trimap))
    assert augmented(sample, np.random.default_rng(1), replace(settings, order=("exposure",))).trimap is sample.trimap


# Configuration.


def test_settings_are_read_and_faults_named():
    settings = from_dict(
        AugmentConfig, {"real_world": True, "camera": {"jpeg": 1.0}, "geometry": {"zoom": [1, 2]}}, "x"
    )
    assert settings.real_world and settings.camera.jpeg == 1 and settings.geometry.zoom == (1, 2)
    for mapping, message in (
        ({"combine": 1.5}, "x: combine: expected 1 or less, got 1.5"),
        ({"jiter": 0.5}, r"x: jiter: unknown key \(did you mean jitter\?\)"),
        ({"gamma": [2, 1]}, r"a range \[low, high\] within 0.1 and 10, not \[2, 1\]"),
        ({"camera": {"qualities": [0, 90]}}, "x: camera.qualities"),
        ({"trimap": {"radii": [0, 5]}}, r"a range \[low, high\] within 1 and 500"),
        ({"geometry": {"crop_scales": []}}, "x: geometry.crop_scales"),
        ({"order": ["trimap", "jiter"]}, r"x: order\[1\]: .*one of trimap, jitter, defocus, camouflage, exposure"),
        ({"order": ["jitter", "jitter"]}, "each step of `order` once"),
    ):
        with pytest.raises(UserError, match=message):
            from_dict(AugmentConfig, mapping, "x")


@pytest.mark.parametrize("names", [COLOURS, CAMERA])
def test_every_augmentation_has_a_chance(names):
    holder = AugmentConfig() if names is COLOURS else CameraConfig()
    assert all(0 < getattr(holder, name) < 1 for name in names)
