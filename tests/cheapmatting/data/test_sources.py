import logging
from pathlib import Path

import numpy as np
import pytest
from pairs import equal, write_cutout, write_pair

from atldas.common.errors import UserError
from cheapmatting.data.augment import AugmentConfig
from cheapmatting.data.composed import ComposedSource, without_contradictions
from cheapmatting.data.cutouts import Cutouts, cropped_cutout, cutout_folder, pair_folder, read_cutout
from cheapmatting.data.geometry import GeometryConfig
from cheapmatting.data.image_folder import image_files
from cheapmatting.data.lru_cache import LRUCache
from cheapmatting.data.photos import PhotoBackgrounds
from cheapmatting.data.sample import collate
from cheapmatting.data.sources import FolderSource, LayeredSource, ProceduralForegrounds, SyntheticSource
from cheapmatting.drawing.backgrounds import procedural_background
from cheapmatting.drawing.foregrounds import FOREGROUNDS
from cheapmatting.images import decode, write_image
from cheapmatting.trimap import make_trimap

DATA = Path(__file__).parents[4] / "shared" / "data"


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


def test_close_ups_are_drawn_larger_and_show_where_alpha_changes(monkeypatch):
    """A line four pixels wide in a large picture is as wide in its close-up, and not at its edge."""
    sides = []

    def line(size, rng):
        sides.append(size)
        alpha = np.zeros((size, size), np.float32)
        alpha[:, size // 3 : size // 3 + 4] = 1
        return np.zeros((size, size, 3), np.float32), alpha

    monkeypatch.setitem(FOREGROUNDS, "line", line)
    upright = GeometryConfig(affine=0.0, mirror=0.0, upside_down=0.0, close_up=1.0, closest=4.0)
    draw = ProceduralForegrounds(["line"], upright)
    for seed in range(40):
        colours, alpha = draw(64, np.random.default_rng(seed))
        assert colours.shape == (64, 64, 3) and alpha.shape == (64, 64)
        np.testing.assert_allclose(alpha.sum(axis=1), 4, atol=0.5)  # cubic kernels overshoot
        if sides[-1] > 100:
            assert 10 <= alpha[0].argmax() <= 54
    assert min(sides) < 80 and max(sides) > 200 and min(sides) >= 64 and max(sides) <= 256


@pytest.mark.parametrize("kind", FOREGROUNDS)
def test_every_kind_has_close_ups_with_something_to_learn(kind):
    draw = ProceduralForegrounds([kind], GeometryConfig(close_up=1.0))
    shown = [draw(64, np.random.default_rng(seed))[1] for seed in range(6)]
    assert sum(float(alpha.max() - alpha.min()) > 0.2 for alpha in shown) >= 4


@pytest.mark.parametrize("augment", [None, AugmentConfig(real_world=True)])
@pytest.mark.parametrize(
    "make",
    [lambda f, b, a: SyntheticSource(64, 1, b, augment=a), lambda f, b, a: FolderSource(f, b, 64, 1, augment=a)],
)
def test_samples_have_unknown_pixels_and_true_known_ones(folders, make, augment):
    source = make(*folders, augment)
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


def test_folders_are_read_with_those_below_and_linked_ones_once(folders, tmp_path):
    _, backgrounds = folders
    below = backgrounds / "more" / "deep"
    below.mkdir(parents=True)
    write_image(below / "a.png", np.zeros((9, 9, 3), np.uint8))
    (backgrounds / "._photo0.jpg").write_bytes(b"what macOS leaves behind")
    (below / "up").symlink_to(backgrounds)  # a circle
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    write_image(elsewhere / "b.png", np.zeros((9, 9, 3), np.uint8))
    (backgrounds / "linked").symlink_to(elsewhere)
    found = [path.relative_to(backgrounds).as_posix() for path in image_files(backgrounds)]
    assert found == ["linked/b.png", "more/deep/a.png", "photo0.jpg", "photo1.jpg", "photo2.jpg"]


def test_names_choose_and_leave_out(folders, tmp_path, caplog):
    foregrounds, _ = folders
    write_cutout(foregrounds / "dog [1].png", 9)
    names = tmp_path / "names.txt"

    def left(text: str, key: str = "include") -> list[str]:
        names.write_text(text)
        return [path.name for path in cutout_folder(foregrounds, **{key: names}).paths]

    assert left("cut1.png\n\n# cut2.png\n  dog [1]\n") == ["cut1.png", "dog [1].png"]
    assert left("cut1\n", "exclude") == ["cut0.png", "cut2.png", "dog [1].png"]
    assert left("cut?.png", "exclude") == ["dog [1].png"]
    assert left("dog [1]*") == ["dog [1].png"]
    assert not caplog.records
    assert left("cut1\ncat.png") == ["cut1.png"]
    assert "1 of 2 names are not in" in caplog.text and "cat.png" in caplog.text
    include, exclude = (tmp_path / name for name in ("include.txt", "exclude.txt"))
    include.write_text("cut0\ncut1")
    exclude.write_text("cut1\ncut2")
    assert [path.name for path in cutout_folder(foregrounds, include, exclude).paths] == ["cut0.png"]
    include.write_text("cut1")
    with pytest.raises(UserError, match="leave none of the 4 images"):
        cutout_folder(foregrounds, include, exclude)


def test_lists_that_cannot_serve(folders, tmp_path):
    names = tmp_path / "names.txt"
    for content, message in (
        (None, r"names\.txt: cannot be read \(No such file or directory\); a list of file names is needed"),
        (b"# nothing\n", "names no files"),
        (b"\xff\xfe\x00", "is not a text file"),
        (b"cut7\ncut8\n", r"not one of its 2 names is in .*foregrounds \(the first: cut7\)"),
    ):
        if content is not None:
            names.write_bytes(content)
        with pytest.raises(UserError, match=message):
            cutout_folder(folders[0], exclude=names)


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
    with pytest.raises(UserError, match="not one of the named images has an alpha"):
        pair_folder(tmp_path / "colours", tmp_path / "alphas", include=names)
    for path in (tmp_path / "alphas").iterdir():
        path.rename(path.with_name("other_" + path.name))
    with pytest.raises(UserError, match=r"not one of its images has an alpha .* \(the first: a\.jpg\)"):
        pair_folder(tmp_path / "colours", tmp_path / "alphas")


def test_pairs_of_two_sizes_are_skipped(tmp_path, caplog):
    write_pair(tmp_path, "a", 0)
    write_image(tmp_path / "alphas" / "a.png", np.eye(7, dtype=np.uint8) * 255)
    folder = pair_folder(tmp_path / "colours", tmp_path / "alphas")
    with pytest.raises(UserError, match="none of the 1 images can be used"):
        folder.pick(np.random.default_rng(0))
    assert "expected 80 x 60 pixels, as" in caplog.text and "got 7 x 7" in caplog.text


@pytest.fixture
def composed(tmp_path):
    """Two images that share an alpha, and their trimaps; red is alpha, so that shifts would show."""
    write_pair(tmp_path, "cat", 0)
    alpha = decode(tmp_path / "alphas" / "cat.png", 0)
    for i in range(2):
        image = np.dstack([alpha, np.full_like(alpha, 50 + 100 * i), 255 - alpha])
        for folder in ("merged", "trimaps"):
            (tmp_path / folder).mkdir(exist_ok=True)
        write_image(tmp_path / "merged" / f"cat_{i}.png", image)
        write_image(tmp_path / "trimaps" / f"cat_{i}.png", make_trimap(alpha / np.float32(255), 6, 3))
    return tmp_path


@pytest.mark.parametrize("augment", [None, AugmentConfig(exposure=0.0)])
@pytest.mark.parametrize("trimaps", [True, False])
def test_composed_images_keep_alpha_trimap_and_image_together(composed, augment, trimaps):
    folder = composed / "trimaps" if trimaps else None
    source = ComposedSource(composed / "merged", composed / "alphas", folder, 48, 0, (1, 5), augment)
    seen = set()
    for i in range(25):
        sample = source[i]
        assert not sample.layered and (sample.trimap == 128).any()
        np.testing.assert_allclose(sample.image[..., 0], sample.alpha, atol=1e-6)
        np.testing.assert_allclose(sample.image[..., 2], 1 - sample.alpha, atol=1e-6)
        assert np.all(sample.alpha[sample.trimap == 255] > 253.5 / 255)
        assert np.all(sample.alpha[sample.trimap == 0] < 1.5 / 255)
        seen.add(round(float(sample.image[..., 1].mean() * 255)))
    assert seen == {50, 150}
    assert equal(source[7], ComposedSource(composed / "merged", composed / "alphas", folder, 48, 0, (1, 5), augment)[7])


def test_composed_images_without_all_that_belongs_to_them(composed, caplog):
    (composed / "trimaps" / "cat_1.png").unlink()
    folders = (composed / "merged", composed / "alphas", composed / "trimaps")
    source = ComposedSource(*folders, 48, 0, (1, 5))
    assert [path.name for path in source.images.paths] == ["cat_0.png"]
    assert "1 images lack an alpha" in caplog.text and "cat_1.png" in caplog.text
    write_image(composed / "trimaps" / "cat_0.png", np.zeros((60, 80), np.uint8))
    with pytest.raises(UserError, match="none of the 1 images can be used"):
        ComposedSource(*folders, 48, 0, (1, 5))[0]
    assert "nothing in it is unknown" in caplog.text
    (composed / "trimaps" / "cat_0.png").rename(composed / "trimaps" / "dog.png")
    with pytest.raises(UserError, match=r"not one of its images has an alpha in .* and a trimap in .*trimaps"):
        ComposedSource(*folders, 48, 0, (1, 5))


def test_known_pixels_that_contradict_alpha_become_unknown():
    trimap = np.array([[0, 0, 128, 255, 255]], np.uint8)
    alpha = np.float32([[0, 0.1, 0.5, 0.9, 1]])
    assert without_contradictions(trimap, alpha).tolist() == [[0, 128, 128, 128, 255]]


def test_a_cache_makes_no_difference(folders):
    for cache in (LRUCache(0), LRUCache(10_000), LRUCache(10**8)):
        cutouts = cutout_folder(folders[0], cache=cache)
        photos = PhotoBackgrounds(folders[1], cache=cache)
        source = LayeredSource(Cutouts(cutouts), photos, 48, 0)
        for i in range(12):
            assert equal(source[i], FolderSource(*folders, 48, 0)[i])
    assert cache.held == 3 * 60 * 80 * 4 + (90 + 91 + 92) * 70 * 3


@pytest.mark.skipif(not DATA.is_dir(), reason=f"needs the cut-outs and photographs in {DATA}")
def test_real_folders():
    source = FolderSource(DATA / "foregrounds", DATA / "backgrounds", 128, seed=0)
    for i in range(8):
        sample = source[i]
        assert (sample.trimap == 128).any()
        assert sample.foreground.std() > 0.01 and sample.background.std() > 0.01
    assert not source.foregrounds.skipped
