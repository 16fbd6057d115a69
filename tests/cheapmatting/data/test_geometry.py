"""How foregrounds are turned and cropped."""

import cv2
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from pairs import SIZE, soft_disc

from cheapmatting.data.augment import turned
from cheapmatting.data.cutouts import turned_cutout
from cheapmatting.data.geometry import GeometryConfig, moved, random_turn, reach, seen, seen_part, view


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_turns_stay_within_their_limits_and_keep_areas(seed):
    limits = GeometryConfig(affine=1.0, mirror=0.0, upside_down=0.0, shear=0.0)
    turn, zoom = random_turn(np.random.default_rng(seed), limits)
    np.testing.assert_allclose(turn @ turn.T, np.eye(2), atol=1e-9)  # without shear: a rotation
    assert abs(np.degrees(np.arctan2(turn[1, 0], turn[0, 0]))) <= 30
    assert 0.8 <= zoom <= 1.25
    sheared, _ = random_turn(np.random.default_rng(seed), GeometryConfig(affine=1.0))
    np.testing.assert_allclose(abs(np.linalg.det(sheared)), 1)


def test_views_by_hand():
    picture = np.arange(48, dtype=np.float32).reshape(6, 8) / 100
    same = view(np.eye(2), 1.0, (3.5, 2.5), 4)  # the middle 4 x 4 pixels
    np.testing.assert_allclose(seen(picture, same, 4, cv2.INTER_LINEAR, cv2.BORDER_CONSTANT), picture[1:5, 2:6])
    mirrored = view(np.diag([-1.0, 1.0]), 1.0, (3.5, 2.5), 4)
    shown = seen(picture, mirrored, 4, cv2.INTER_LINEAR, cv2.BORDER_CONSTANT)
    np.testing.assert_allclose(shown, picture[1:5, 2:6][:, ::-1])
    coarse = view(np.eye(2), 2.0, (3.5, 2.5), 3)  # the middle 6 x 6 pixels by twos: averages
    expected = picture[:, 1:7].reshape(3, 2, 3, 2).mean(axis=(1, 3))
    np.testing.assert_allclose(seen(picture, coarse, 3, cv2.INTER_LINEAR, cv2.BORDER_CONSTANT), expected, atol=1e-2)
    assert reach(np.eye(2), 2.0, 3) == (3.0, 3.0)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), scale=st.floats(0.5, 1.0))
def test_a_view_of_the_seen_part_is_the_view_of_the_whole(seed, scale):
    rng = np.random.default_rng(seed)
    picture = rng.random((90, 110), np.float32)
    matrix = view(random_turn(rng, GeometryConfig(affine=1.0))[0], scale, tuple(rng.uniform(20, 80, 2)), 32)
    whole = seen(picture, matrix, 32, cv2.INTER_LANCZOS4, cv2.BORDER_CONSTANT)
    rows, columns = seen_part(matrix, 32, picture.shape)
    part = seen(picture[rows, columns], moved(matrix, rows, columns), 32, cv2.INTER_LANCZOS4, cv2.BORDER_CONSTANT)
    np.testing.assert_allclose(part, whole, atol=0.02)  # warpAffine rounds places to 1/32 pixel


def test_colours_and_alpha_move_together():
    """Colours that spell out alpha do so still after any turn: red is alpha, and green is 1 - alpha."""
    alpha = np.rint(soft_disc(150, 50, 20) * 255).astype(np.uint8)
    for seed in range(10):
        rng = np.random.default_rng(seed)
        rgba = np.dstack([alpha, 255 - alpha, np.full_like(alpha, 99), alpha])
        layer = turned_cutout(rgba, SIZE, rng, GeometryConfig(affine=1.0))
        solid = layer[..., 3] > 0.3
        straight_red = layer[..., 0][solid] / layer[..., 3][solid]
        np.testing.assert_allclose(straight_red, layer[..., 3][solid], atol=0.08)
    grey_colours = np.repeat(soft_disc()[..., None], 3, axis=2)
    for seed in range(10):
        colours, turned_alpha = turned(grey_colours, soft_disc(), SIZE, np.random.default_rng(seed), GeometryConfig())
        np.testing.assert_allclose(colours[..., 0], turned_alpha, atol=1e-6)


def test_turned_cutouts_show_something_and_not_all():
    rgba = np.zeros((400, 300, 4), np.uint8)
    rgba[100:300, 80:220] = 255
    means = []
    for seed in range(40):
        layer = turned_cutout(rgba, SIZE, np.random.default_rng(seed), GeometryConfig())
        assert layer.shape == (SIZE, SIZE, 4) and layer.dtype == np.float32
        assert layer.min() >= 0 and layer.max() <= 1 and np.all(layer[..., :3] <= layer[..., 3:])
        assert layer[..., 3].max() > 0.5 and layer[..., 3].min() < 0.5
        means.append(layer[..., 3].mean())
    assert min(means) < 0.4 and max(means) > 0.6  # many scales and places


def test_crop_scales_are_the_width_of_the_crop():
    """A square of 120 pixels in a large picture seen at 2 picture pixels each is 60 wide; at 1, 120."""
    rgba = np.zeros((800, 800, 4), np.uint8)
    rgba[340:460, 340:460] = 255
    for scale in (1.0, 2.0):
        upright = GeometryConfig(affine=0.0, whole=0.0, crop_scales=(scale,))
        widths = []
        for seed in range(8):
            layer = turned_cutout(rgba, 256, np.random.default_rng(seed), upright)
            widths.append(layer[..., 3].sum(axis=1).max())
        np.testing.assert_allclose(max(widths), 120 / scale, atol=1.5)


def test_a_subject_cut_off_below_stays_at_the_border():
    rgba = np.zeros((200, 160, 4), np.uint8)
    rgba[60:, 20:140] = 255
    for seed in range(30):
        layer = turned_cutout(rgba, 96, np.random.default_rng(seed), GeometryConfig(upside_down=0.0, affine=0.0))
        assert layer[-1, :, 3].max() > 0.9
