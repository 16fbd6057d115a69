"""Pairs from ready composites."""

import numpy as np
import pytest
from pairs import equal, write_pair

from atldas.common.errors import UserError
from cheapmatting.data.augment import PLAIN, AugmentConfig
from cheapmatting.data.composed import ComposedSource, without_contradictions
from cheapmatting.images import read_alpha, write_image
from cheapmatting.trimap import make_trimap


@pytest.fixture
def composed(tmp_path):
    """Two images that share an alpha, and their trimaps; red is alpha, so that shifts would show."""
    write_pair(tmp_path, "cat", 0)
    alpha = read_alpha(tmp_path / "alphas" / "cat.png")
    for i in range(2):
        image = np.dstack([alpha, np.full_like(alpha, 50 + 100 * i), 255 - alpha])
        for folder in ("merged", "trimaps"):
            (tmp_path / folder).mkdir(exist_ok=True)
        write_image(tmp_path / "merged" / f"cat_{i}.png", image)
        write_image(tmp_path / "trimaps" / f"cat_{i}.png", make_trimap(alpha / np.float32(255), 6, 3))
    return tmp_path


@pytest.mark.parametrize("augment", [PLAIN, AugmentConfig(exposure=0.0)])
@pytest.mark.parametrize("trimaps", [True, False])
def test_composed_images_keep_alpha_trimap_and_image_together(composed, augment, trimaps):
    folder = composed / "trimaps" if trimaps else None
    source = ComposedSource(composed / "merged", composed / "alphas", folder, 48, 0, augment)
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
    assert equal(source[7], ComposedSource(composed / "merged", composed / "alphas", folder, 48, 0, augment)[7])


def test_composed_images_without_all_that_belongs_to_them(composed, caplog):
    (composed / "trimaps" / "cat_1.png").unlink()
    folders = (composed / "merged", composed / "alphas", composed / "trimaps")
    source = ComposedSource(*folders, 48, 0, PLAIN)
    assert [path.name for path in source.images.paths] == ["cat_0.png"]
    assert "1 images lack an alpha" in caplog.text and "cat_1.png" in caplog.text
    write_image(composed / "trimaps" / "cat_0.png", np.zeros((60, 80), np.uint8))
    with pytest.raises(UserError, match="expected images that can be used, got 1 others"):
        ComposedSource(*folders, 48, 0, PLAIN)[0]
    assert "nothing in it is unknown" in caplog.text
    (composed / "trimaps" / "cat_0.png").rename(composed / "trimaps" / "dog.png")
    with pytest.raises(UserError, match=r"expected images that have an alpha in .* and a trimap in .*trimaps"):
        ComposedSource(*folders, 48, 0, PLAIN)


def test_known_pixels_that_contradict_alpha_become_unknown():
    trimap = np.array([[0, 0, 128, 255, 255]], np.uint8)
    alpha = np.float32([[0, 0.1, 0.5, 0.9, 1]])
    assert without_contradictions(trimap, alpha).tolist() == [[0, 128, 128, 128, 255]]
