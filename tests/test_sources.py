import logging
from pathlib import Path

import numpy as np
import pytest

from atldas.errors import UserError
from cheapmatting.foregrounds import FOREGROUNDS
from cheapmatting.images import write_image
from cheapmatting.sample import Sample, collate
from cheapmatting.sources import FolderSource, PhotoBackgrounds, SyntheticSource, cropped_cutout

DATA = Path(__file__).parents[2] / "shared" / "data"
ARRAYS = ("foreground", "background", "alpha", "trimap")


def equal(first: Sample, second: Sample) -> bool:
    return all(np.array_equal(getattr(first, name), getattr(second, name)) for name in ARRAYS)


def write_cutout(path: Path, seed: int, height: int = 60, width: int = 80) -> None:
    """An opaque coloured ellipse with a one-pixel soft edge; black where transparent."""
    ys, xs = np.mgrid[:height, :width]
    r = np.hypot((ys - height / 2) / (height * 0.4), (xs - width / 2) / (width * 0.4))
    alpha = np.clip((1 - r) * height * 0.4 + 0.5, 0, 1)
    colour = np.random.default_rng(seed).integers(100, 256, 3)
    rgb = np.where(alpha[..., None] > 0, colour, 0)
    write_image(path, np.dstack([rgb, alpha * 255]).astype(np.uint8))


@pytest.fixture
def folders(tmp_path):
    foregrounds, backgrounds = tmp_path / "foregrounds", tmp_path / "backgrounds"
    foregrounds.mkdir()
    backgrounds.mkdir()
    for i in range(3):
        write_cutout(foregrounds / f"cut{i}.png", i)
        noise = np.random.default_rng(i).integers(0, 256, (90 + i, 70, 3)).astype(np.uint8)
        write_image(backgrounds / f"photo{i}.jpg", noise)
    (foregrounds / "manifest.tsv").write_text("not an image")
    return foregrounds, backgrounds


def test_a_synthetic_sample_is_a_function_of_seed_and_index():
    source = SyntheticSource(48, seed=3)
    later = [source[i] for i in (5, 2, 9)]
    assert equal(source[5], later[0]) and equal(SyntheticSource(48, seed=3)[9], later[2])
    assert not equal(later[0], later[1]) and not equal(SyntheticSource(48, seed=4)[5], later[0])


def test_synthetic_kinds_can_be_chosen():
    source = SyntheticSource(48, 0, kinds=["smoke"])
    expected = FOREGROUNDS["smoke"]
    rng = np.random.default_rng([0, 7])
    rng.integers(1)
    np.testing.assert_array_equal(source[7].alpha, expected(48, rng)[1])
    with pytest.raises(UserError, match="unknown foregrounds hairs; allowed: hair, fur"):
        SyntheticSource(48, 0, kinds=["hair", "hairs"])


@pytest.mark.parametrize("make", [lambda f, b: SyntheticSource(64, 1, b), lambda f, b: FolderSource(f, b, 64, 1)])
def test_samples_have_unknown_pixels_and_true_known_ones(folders, make):
    source = make(*folders)
    for i in range(30):
        sample = source[i]
        assert sample.alpha.shape == (64, 64)
        assert (sample.trimap == 128).any()
        assert np.all(sample.alpha[sample.trimap == 255] > 253.5 / 255)
        assert np.all(sample.alpha[sample.trimap == 0] < 1.5 / 255)
        assert sample.image.min() >= 0 and sample.image.max() <= 1
    assert collate([source[0], source[1]]).inputs.shape == (2, 6, 64, 64)


def test_a_folder_sample_is_a_function_of_seed_and_index(folders):
    source = FolderSource(*folders, 64, seed=0)
    samples = [source[i] for i in range(6)]
    assert equal(FolderSource(*folders, 64, seed=0)[5], samples[5])
    assert not equal(FolderSource(*folders, 64, seed=1)[5], samples[5])
    assert not any(equal(samples[0], other) for other in samples[1:])


def test_procedural_backgrounds_serve_a_folder_of_cutouts(folders):
    sample = FolderSource(folders[0], None, 64, 0)[0]
    assert sample.background.std() > 0.005


def test_cutouts_keep_their_colour_without_a_fringe(folders):
    """The cut-outs are of one colour over transparent black: no pixel of the foreground may be darker."""
    source = FolderSource(*folders, 64, seed=0)
    for i in range(12):
        sample = source[i]
        inside = sample.foreground[sample.alpha == 1].mean(axis=0)
        np.testing.assert_allclose(sample.foreground, np.broadcast_to(inside, (64, 64, 3)), atol=0.01)


def test_a_crop_always_shows_an_edge():
    alpha = np.zeros((300, 200), np.float32)
    alpha[250:270, 20:30] = 1  # a small thing in a large transparent picture
    colours = np.full((300, 200, 3), 200, np.uint8)
    for seed in range(40):
        layer = cropped_cutout(colours, alpha, 64, np.random.default_rng(seed))
        assert layer.shape == (64, 64, 4)
        assert 0 < layer[..., 3].mean() < 1


def test_a_subject_cut_off_by_its_frame_stays_at_the_border():
    alpha = np.zeros((40, 40), np.float32)
    alpha[10:, 5:35] = 1  # like a portrait, cut off below
    for seed in range(20):
        layer = cropped_cutout(np.full((40, 40, 3), 200, np.uint8), alpha, 64, np.random.default_rng(seed))
        assert layer[-1, :, 3].max() > 0.9


def test_damaged_files_are_named_once_skipped_and_counted(folders, caplog):
    foregrounds, backgrounds = folders
    (foregrounds / "broken.png").write_bytes(b"\x89PNG broken")
    (backgrounds / "empty.jpg").write_bytes(b"")
    write_image(foregrounds / "opaque.png", np.full((9, 9, 4), 255, np.uint8))
    source = FolderSource(foregrounds, backgrounds, 48, seed=0)
    with caplog.at_level(logging.WARNING):
        samples = [source[i] for i in range(25)]
    assert {path.name for path in source.foregrounds.skipped} == {"broken.png", "opaque.png"}
    assert isinstance(source.background, PhotoBackgrounds)
    assert {path.name for path in source.background.photos.skipped} == {"empty.jpg"}
    for name in ("broken.png", "opaque.png", "empty.jpg"):
        assert sum(name in record.getMessage() for record in caplog.records) == 1
    fresh = FolderSource(foregrounds, backgrounds, 48, seed=0)
    assert equal(fresh[24], samples[24])  # what was skipped before makes no difference


def test_folders_that_cannot_serve(tmp_path):
    with pytest.raises(UserError, match=r"none: does not exist; a folder of images is needed"):
        FolderSource(tmp_path / "none", None, 48, 0)
    with pytest.raises(UserError, match=r"holds no images; put files of \.png"):
        SyntheticSource(48, 0, backgrounds=tmp_path)
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"a\.png: is a file"):
        FolderSource(tmp_path / "a.png", None, 48, 0)
    with pytest.raises(UserError, match="none of the 1 images can be used"):
        FolderSource(tmp_path, None, 48, 0)[0]


def test_photographs_smaller_than_the_sample_are_enlarged(tmp_path):
    write_image(tmp_path / "tiny.png", np.full((5, 9, 3), 51, np.uint8))
    crop = PhotoBackgrounds(tmp_path)(32, np.random.default_rng(0))
    assert crop.shape == (32, 32, 3)
    np.testing.assert_allclose(crop, 0.2, atol=1e-6)


@pytest.mark.skipif(not DATA.is_dir(), reason=f"needs the cut-outs and photographs in {DATA}")
def test_real_folders():
    source = FolderSource(DATA / "foregrounds", DATA / "backgrounds", 128, seed=0)
    for i in range(8):
        sample = source[i]
        assert (sample.trimap == 128).any()
        assert sample.foreground.std() > 0.01 and sample.background.std() > 0.01
    assert not source.foregrounds.skipped
