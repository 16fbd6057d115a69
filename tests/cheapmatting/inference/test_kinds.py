"""`Matter.matte` takes every kind of image and gives back that kind; threads may share it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from image_files import encoded
from PIL import Image
from small import photograph, small_network

from atldas.common.errors import UserError
from cheapmatting.inference.foreground import cut_out
from cheapmatting.inference.matte import Matter

IMAGE, TRIMAP = photograph(40, 50)


@pytest.fixture(scope="module")
def matter() -> Matter:
    network = small_network().eval()
    network.head[4].weight.data.mul_(20)
    return Matter(network, torch.device("cpu"))


@pytest.fixture(scope="module")
def alpha(matter: Matter) -> np.ndarray:
    return matter.matte(IMAGE, TRIMAP)


def test_numpy_arrays_of_every_depth(matter: Matter, alpha: np.ndarray) -> None:
    floats = (IMAGE / np.float32(255), IMAGE / 255.0)
    trimaps = (TRIMAP, TRIMAP.astype(np.uint16) * 257, np.where(TRIMAP == 128, 0.5, TRIMAP / 255))
    for image in (IMAGE, IMAGE.astype(np.uint16) * 257, *floats):
        for trimap in trimaps:
            copies = image.copy(), trimap.copy()
            given = matter.matte(image, trimap)
            assert given.dtype == np.float32
            np.testing.assert_array_equal(given, alpha)
            np.testing.assert_array_equal(image, copies[0])
            np.testing.assert_array_equal(trimap, copies[1])


def test_paths(matter: Matter, alpha: np.ndarray, tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(encoded(IMAGE, "PNG"))
    (tmp_path / "trimap.png").write_bytes(encoded(TRIMAP, "PNG"))
    np.testing.assert_array_equal(matter.matte(tmp_path / "photo.png", str(tmp_path / "trimap.png")), alpha)
    np.testing.assert_array_equal(matter.matte(str(tmp_path / "photo.png"), Image.fromarray(TRIMAP)), alpha)
    with pytest.raises(UserError, match=r"trimap\.png: expected 49 x 30 pixels, as the image has, got 50 x 40"):
        matter.matte(IMAGE[:30, :49], tmp_path / "trimap.png")


def test_pil_images(matter: Matter, alpha: np.ndarray) -> None:
    image, trimap = Image.fromarray(IMAGE), Image.fromarray(TRIMAP)
    given = matter.matte(image, trimap)
    assert isinstance(given, Image.Image) and given.mode == "L"
    np.testing.assert_array_equal(np.asarray(given), np.rint(alpha * 255))
    cutout = cut_out(image, given)
    assert cutout.mode == "RGBA" and cutout.getchannel("A").tobytes() == given.tobytes()
    np.testing.assert_array_equal(np.asarray(image), IMAGE)
    rgba = image.copy()
    rgba.putalpha(128)
    for other in (rgba, image.quantize(256).convert("RGB").convert("CMYK").convert("RGB")):
        assert matter.matte(other, trimap).size == (50, 40)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float16, torch.float64])
def test_tensors(matter: Matter, alpha: np.ndarray, dtype: torch.dtype) -> None:
    image = torch.from_numpy(IMAGE).permute(2, 0, 1)
    trimap = torch.from_numpy(TRIMAP)
    if dtype.is_floating_point:
        image, trimap = (image / 255).to(dtype), torch.where(trimap == 128, 0.5, trimap / 255).to(dtype)
    given = matter.matte(image, trimap)
    assert isinstance(given, torch.Tensor) and given.shape == (1, 40, 50)
    assert given.dtype == (dtype if dtype.is_floating_point else torch.float32)
    np.testing.assert_allclose(given[0].float(), alpha, atol=1e-3)
    batch = matter.matte(torch.stack([image, image.flip(2)]), torch.stack([trimap, trimap.flip(1)])[:, None])
    assert batch.shape == (2, 1, 40, 50)
    torch.testing.assert_close(batch[0], given)
    assert (batch[1] != batch[0]).any()


def test_batches_of_arrays_and_lists(matter: Matter, alpha: np.ndarray) -> None:
    both = matter.matte(np.stack([IMAGE, IMAGE[::-1]]), np.stack([TRIMAP, TRIMAP[::-1]]))
    assert both.shape == (2, 40, 50)
    np.testing.assert_array_equal(both[0], alpha)
    np.testing.assert_array_equal(both[1], matter.matte(IMAGE[::-1], TRIMAP[::-1]))
    listed = matter.matte([IMAGE, Image.fromarray(IMAGE[:20])], [TRIMAP, Image.fromarray(TRIMAP[:20])])
    np.testing.assert_array_equal(listed[0], alpha)
    assert listed[1].size == (50, 20)


def test_rough_trimaps_are_mended(matter: Matter, alpha: np.ndarray) -> None:
    labels = (TRIMAP // 127).astype(np.uint8)
    assert set(np.unique(labels)) == {0, 1, 2}
    np.testing.assert_array_equal(matter.matte(IMAGE, labels), alpha)
    np.testing.assert_array_equal(matter.matte(IMAGE, np.where(TRIMAP == 128, 131, TRIMAP).astype(np.uint8)), alpha)


def test_nothing_unknown_is_told(matter: Matter, caplog: pytest.LogCaptureFixture) -> None:
    mask = np.where(TRIMAP == 128, 255, TRIMAP).astype(np.uint8)
    np.testing.assert_array_equal(matter.matte(IMAGE, mask), mask / np.float32(255))
    assert "nothing in it is unknown" in caplog.text


def test_threads_share_one_matter(matter: Matter) -> None:
    pairs = [photograph(30 + size, 41, size) for size in range(8)]
    alone = [matter.matte(*pair) for pair in pairs]
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(lambda pair: matter.matte(*pair), pairs * 2))
    for expected, given in zip(alone * 2, together, strict=True):
        np.testing.assert_allclose(given, expected, atol=1e-6)
