"""Folders of images, of which some cannot be used."""

import logging

import numpy as np
import pytest
from pairs import cutouts, equal, synthetic, write_folders

from atldas.common.errors import UserError
from cheapmatting.data.augment import PLAIN
from cheapmatting.data.cutouts import Cutouts, cutout_folder
from cheapmatting.data.image_folder import image_files
from cheapmatting.data.lru_cache import LRUCache
from cheapmatting.data.photos import PhotoBackgrounds
from cheapmatting.data.sources import LayeredSource
from cheapmatting.images import write_image


@pytest.fixture
def folders(tmp_path):
    return write_folders(tmp_path)


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


def test_damaged_files_are_named_once_skipped_and_counted(folders, caplog):
    foregrounds, backgrounds = folders
    (foregrounds / "broken.png").write_bytes(b"\x89PNG broken")
    (backgrounds / "empty.jpg").write_bytes(b"")
    write_image(foregrounds / "opaque.png", np.full((9, 9, 4), 255, np.uint8))
    source = cutouts(foregrounds, backgrounds, 48, seed=0)
    with caplog.at_level(logging.WARNING):
        samples = [source[i] for i in range(25)]
    assert {path.name for path in source.foreground.folder.skipped} == {"broken.png", "opaque.png"}
    assert isinstance(source.background, PhotoBackgrounds)
    assert {path.name for path in source.background.photos.skipped} == {"empty.jpg"}
    for name in ("broken.png", "opaque.png", "empty.jpg"):
        assert sum(name in record.getMessage() for record in caplog.records) == 1
    fresh = cutouts(foregrounds, backgrounds, 48, seed=0)
    assert equal(fresh[24], samples[24])  # what was skipped before makes no difference


def test_folders_that_cannot_serve(tmp_path):
    with pytest.raises(UserError, match=r"none: expected a folder of images, which does not exist"):
        cutouts(tmp_path / "none", None, 48, 0)
    with pytest.raises(UserError, match=r"expected images in it or below it \(\.png"):
        synthetic(48, 0, backgrounds=str(tmp_path))
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"a\.png: expected a folder of images, got a file"):
        cutouts(tmp_path / "a.png", None, 48, 0)
    with pytest.raises(UserError, match="expected images that can be used, got 1 others"):
        cutouts(tmp_path, None, 48, 0)[0]


def test_a_cache_makes_no_difference(folders):
    for cache in (LRUCache(0), LRUCache(10_000), LRUCache(10**8)):
        foregrounds = Cutouts(cutout_folder(folders[0], cache=cache), PLAIN.geometry)
        source = LayeredSource(foregrounds, PhotoBackgrounds(folders[1], cache=cache), 48, 0, PLAIN)
        for i in range(12):
            assert equal(source[i], cutouts(*folders, 48, 0)[i])
    assert cache.held == 3 * 60 * 80 * 4 + (90 + 91 + 92) * 70 * 3
