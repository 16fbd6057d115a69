"""Foregrounds from files."""

import numpy as np
import pytest
from pairs import cutouts, write_cutout, write_folders, write_pair

from atldas.common.errors import UserError
from cheapmatting.data.augment import AugmentConfig
from cheapmatting.data.cutouts import Cutouts, cropped_cutout, pair_folder, read_cutout
from cheapmatting.data.geometry import GeometryConfig
from cheapmatting.data.sources import LayeredSource
from cheapmatting.drawing.backgrounds import procedural_background
from cheapmatting.images import write_image


@pytest.fixture
def folders(tmp_path):
    return write_folders(tmp_path)


def test_cutouts_keep_their_colour_without_a_fringe(folders):
    """The cut-outs are of one colour over transparent black: no pixel of the foreground may be darker."""
    source = cutouts(*folders, 64, seed=0)
    for i in range(12):
        sample = source[i]
        inside = sample.foreground[sample.alpha == 1].mean(axis=0)
        np.testing.assert_allclose(sample.foreground, np.broadcast_to(inside, (64, 64, 3)), atol=0.01)


def test_a_crop_always_shows_an_edge():
    rgba = np.zeros((300, 200, 4), np.uint8)
    rgba[250:270, 20:30] = 255  # a small thing in a large transparent picture
    for seed in range(40):
        layer = cropped_cutout(rgba, 64, np.random.default_rng(seed))
        assert layer.shape == (64, 64, 4)
        assert 0 < layer[..., 3].mean() < 1


def test_a_subject_cut_off_by_its_frame_stays_at_the_border():
    rgba = np.zeros((40, 40, 4), np.uint8)
    rgba[10:, 5:35] = 255  # like a portrait, cut off below
    for seed in range(20):
        layer = cropped_cutout(rgba, 64, np.random.default_rng(seed))
        assert layer[-1, :, 3].max() > 0.9


@pytest.mark.parametrize("mode", ["grey", "rgb", "rgba"])
def test_pairs_are_one_cutout_each(tmp_path, mode):
    write_pair(tmp_path, "a", 0, mode)
    folder = pair_folder(tmp_path / "colours", tmp_path / "alphas")
    rgba = folder.pick(np.random.default_rng(0))
    write_cutout(tmp_path / "whole.png", 0)
    expected = read_cutout(tmp_path / "whole.png")
    np.testing.assert_array_equal(rgba[..., 3], expected[..., 3])
    solid = expected[..., 3] == 255
    assert np.abs(rgba[solid].astype(int) - expected[solid]).max() <= 24  # JPEG


def test_pairs_have_no_fringe_of_what_lies_under_alpha_0(tmp_path):
    """The colour file is white where alpha is 0: no foreground pixel may be whiter than the rest."""
    write_pair(tmp_path, "a", 5, suffix=".png")
    cutouts = Cutouts(pair_folder(tmp_path / "colours", tmp_path / "alphas"), GeometryConfig())
    unchanged = AugmentConfig(combine=0.0, jitter=0.0, exposure=0.0)
    source = LayeredSource(cutouts, procedural_background, 64, 0, augment=unchanged)
    for i in range(12):
        sample = source[i]
        inside = sample.foreground[sample.alpha == 1].mean(axis=0)
        np.testing.assert_allclose(sample.foreground, np.broadcast_to(inside, (64, 64, 3)), atol=0.02)


def test_unmatched_pairs_are_reported(tmp_path, caplog):
    write_pair(tmp_path, "a", 0)
    write_pair(tmp_path, "b_7", 1)
    (tmp_path / "alphas" / "b_7.png").rename(tmp_path / "alphas" / "b.png")  # one alpha for b_0, b_1, ...
    write_image(tmp_path / "colours" / "lonely.jpg", np.zeros((9, 9, 3), np.uint8))
    folder = pair_folder(tmp_path / "colours", tmp_path / "alphas")
    assert [path.name for path in folder.paths] == ["a.jpg", "b_7.jpg"]
    assert "1 images have no alpha" in caplog.text and "lonely.jpg" in caplog.text
    names = tmp_path / "names.txt"
    names.write_text("lonely")
    with pytest.raises(UserError, match="expected named images that have an alpha"):
        pair_folder(tmp_path / "colours", tmp_path / "alphas", include=names)
    for path in (tmp_path / "alphas").iterdir():
        path.rename(path.with_name("other_" + path.name))
    with pytest.raises(UserError, match=r"expected images that have an alpha .* got none \(the first: a\.jpg\)"):
        pair_folder(tmp_path / "colours", tmp_path / "alphas")


def test_pairs_of_two_sizes_are_skipped(tmp_path, caplog):
    write_pair(tmp_path, "a", 0)
    write_image(tmp_path / "alphas" / "a.png", np.eye(7, dtype=np.uint8) * 255)
    folder = pair_folder(tmp_path / "colours", tmp_path / "alphas")
    with pytest.raises(UserError, match="expected images that can be used, got 1 others"):
        folder.pick(np.random.default_rng(0))
    assert "expected 80 x 60 pixels, as" in caplog.text and "got 7 x 7" in caplog.text
