"""From an image and a trimap to a matte, in Python and in files."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from small import photograph, small_network

from atldas.common.errors import UserError
from cheapmatting.images import read_image, read_rgba, write_image
from cheapmatting.inference.engines.choice import ENGINES
from cheapmatting.inference.files import Wanted, matte_files
from cheapmatting.inference.foreground import estimate_foreground
from cheapmatting.inference.matte import Matter
from cheapmatting.inference.memory import COSTS, needed
from cheapmatting.inference.pair import read_pair
from cheapmatting.model import weights
from cheapmatting.model.network import CheapMatting
from cheapmatting.model.padding import padded_size

Mirror = Callable[[np.ndarray], np.ndarray]


def bright_network(seed: int = 0) -> CheapMatting:
    """A network whose answers spread over 0..1."""
    network = small_network(seed).eval()
    network.head[4].weight.data.mul_(20)
    network.head[4].bias.data.fill_(0.5)
    return network


def counted(matter: Matter) -> list[tuple[int, ...]]:
    """A list that grows by the input's shape whenever the network runs."""
    calls: list[tuple[int, ...]] = []
    features = matter.engine.features

    def counting(x: torch.Tensor) -> torch.Tensor:
        calls.append(tuple(x.shape))
        return features(x)

    matter.engine.features = counting  # type: ignore[method-assign]
    return calls


@pytest.fixture(scope="module")
def matter() -> Matter:
    return Matter(bright_network(), "cpu")


@settings(max_examples=15, deadline=None)
@given(height=st.integers(1, 130), width=st.integers(1, 130), seed=st.integers(0, 99))
@example(1, 1, 0)
@example(31, 97, 0)
@example(200, 33, 0)
def test_any_size_and_known_pixels_exactly_kept(matter: Matter, height: int, width: int, seed: int) -> None:
    image, trimap = photograph(height, width, seed)
    before = image.copy(), trimap.copy()
    alpha = matter.matte(image, trimap)
    assert alpha.shape == (height, width) and alpha.dtype == np.float32
    assert (alpha[trimap == 0] == 0).all() and (alpha[trimap == 255] == 1).all()
    assert np.isfinite(alpha).all() and alpha.min() >= 0 and alpha.max() <= 1
    np.testing.assert_array_equal(image, before[0])
    np.testing.assert_array_equal(trimap, before[1])


def test_unknown_pixels_are_the_networks(matter: Matter) -> None:
    image, trimap = photograph(70, 90)
    one_hot = np.stack([trimap == level for level in (0, 128, 255)])
    planes = np.concatenate([image.transpose(2, 0, 1) / 255, one_hot]).astype(np.float32)
    with torch.no_grad():
        answer = matter.network(torch.from_numpy(planes)[None])[0, 0].numpy()
    unknown = trimap == 128
    np.testing.assert_allclose(matter.matte(image, trimap)[unknown], answer[unknown], atol=1e-4)
    assert answer[unknown].std() > 0.1


def test_the_network_does_not_run_where_nothing_is_unknown() -> None:
    matter = Matter(small_network(), "cpu")
    calls = counted(matter)
    image, trimap = photograph(20, 30)
    matter.matte(image, trimap)
    assert len(calls) == 1
    trimap[trimap == 128] = 255
    np.testing.assert_array_equal(matter.matte(image, trimap), (trimap == 255).astype(np.float32))
    assert len(calls) == 1


@pytest.mark.parametrize(("views", "mirrors"), [(2, [np.fliplr]), (4, [np.fliplr, np.flipud])])
def test_with_views_a_mirror_image_has_the_mirrored_alpha(views: Literal[2, 4], mirrors: list[Mirror]) -> None:
    network = bright_network()
    one, several = Matter(network, "cpu"), Matter(network, "cpu", views)
    calls = counted(several)
    image, trimap = photograph(50, 61)
    alpha = several.matte(image, trimap)
    assert len(calls) == views
    for mirror in mirrors:
        np.testing.assert_allclose(several.matte(mirror(image), mirror(trimap)), mirror(alpha), atol=1e-5)
        assert np.abs(one.matte(mirror(image), mirror(trimap)) - mirror(one.matte(image, trimap))).max() > 1e-3
    assert (alpha[trimap == 0] == 0).all() and (alpha[trimap == 255] == 1).all()


def batch_of(number: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Images [N, H, W, 3] and trimaps [N, H, W]."""
    images, trimaps = zip(*(photograph(height, width, seed) for seed in range(number)), strict=True)
    return np.stack(images), np.stack(trimaps)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("views", [1, 2])
def test_a_batch_is_one_call_and_has_the_alphas_of_single_calls(engine: str, views: Literal[1, 2]) -> None:
    pytest.importorskip(ENGINES[engine].package, reason=f"needs {engine}")
    if engine != "torch":
        pytest.importorskip("onnx", reason=f"{engine} reads the network as ONNX")
    matter = Matter(bright_network(), "cpu", views, engine=engine, precision="fp32")
    images, trimaps = batch_of(4, 70, 110)
    trimaps[1][trimaps[1] == 128] = 0  # nothing in it is unknown
    singles = [matter.matte(*pair) for pair in zip(images, trimaps, strict=True)]
    calls = counted(matter)
    alphas = matter.matte(images, trimaps)
    assert calls == [(3, 6, 96, 128)] * views
    for alpha, single in zip(alphas, singles, strict=True):
        np.testing.assert_allclose(alpha, single, rtol=0, atol=1e-6)
        assert engine != "torch" or (alpha == single).all()
    assert np.abs(alphas[0] - alphas[2]).max() > 0.1


def test_large_batches_are_divided_and_those_of_regions_are_not_formed(monkeypatch: pytest.MonkeyPatch) -> None:
    images, trimaps = batch_of(5, 40, 50)
    network = bright_network()
    matter, near = Matter(network, "cpu", engine="torch"), Matter(network, "cpu", engine="torch", region="near")
    expected = matter.matte(images, trimaps)
    monkeypatch.setattr("cheapmatting.inference.matte.BATCH", 2 * 96 * 96 + 5)
    assert (matter.together(40, 50), matter.together(97, 50), near.together(40, 50)) == (2, 1, 1)
    for each, sizes in ((matter, [2, 2, 1]), (near, [1] * 5)):
        calls = counted(each)
        np.testing.assert_array_equal(each.matte(images, trimaps), expected)
        assert [shape[0] for shape in calls] == sizes


@pytest.mark.parametrize("engine", COSTS)
def test_a_batch_needs_no_more_memory_than_allowed(engine: str) -> None:
    network = small_network()
    enough = needed(network, engine, 3 * 320 * 512, 3 * 320 * 512)
    for bound, number in ((enough, 3), (enough - 1000, 2), (enough // 100, 1), (None, 3)):
        matter = Matter(network, "cpu", engine="torch", max_memory=bound)
        matter.engine.name = engine
        assert matter.together(320, 500) == number


def test_a_call_of_several_images_needs_little_more_memory_than_one_of_them(matter: Matter) -> None:
    """So a server's memory does not depend on which requests meet; the sizes are those of its load test."""
    sizes = [(48, 64), (240, 320), (299, 401), (360, 480), (473, 631), (512, 512), (513, 512)]
    assert [matter.together(*size) for size in sizes] == [56, 6, 3, 2, 1, 2, 1]
    of_calls = [matter.together(*size) * padded_size(size[0]) * padded_size(size[1]) for size in sizes]
    assert max(of_calls) == 2**19 < 2 * padded_size(473) * padded_size(631)


def test_other_numbers_of_views() -> None:
    with pytest.raises(UserError, match="views: expected 1, 2 or 4, got 3"):
        Matter(small_network(), "cpu", 3)  # type: ignore[arg-type]


def test_strided_images_and_the_same_image_again_give_the_same(matter: Matter) -> None:
    image, trimap = photograph(64, 80)
    alpha = matter.matte(image, trimap)
    large = np.zeros((128, 160, 3), np.uint8)
    large[::2, ::2] = image
    np.testing.assert_array_equal(matter.matte(large[::2, ::2], np.asfortranarray(trimap)), alpha)


def test_a_network_in_training_mode_is_put_into_eval_mode() -> None:
    network = small_network().train()
    image, trimap = photograph(40, 40)
    first = Matter(network, "cpu")
    np.testing.assert_array_equal(first.matte(image, trimap), first.matte(image, trimap))
    assert not network.training


IMAGE, TRIMAP = photograph(8, 9)


@pytest.mark.parametrize(
    ("image", "trimap", "message"),
    [
        (
            IMAGE[..., :2],
            TRIMAP,
            "expected RGB [H, W, 3] of uint8, uint16 or floats in 0..1, got uint8 [8, 9, 2]",
        ),
        (np.dstack([IMAGE, TRIMAP]), TRIMAP, "image: expected RGB [H, W, 3] of uint8, uint16 or floats in 0..1, got"),
        (IMAGE[..., 0], TRIMAP, "floats in 0..1, got uint8 [8, 9]"),
        (IMAGE.astype(np.float32), TRIMAP, "image: expected floats in 0..1, got 0 to 255; divide levels by 255"),
        (IMAGE / np.float32("nan"), TRIMAP, "image: expected floats in 0..1, got nan to nan"),
        (IMAGE.astype(np.int32), TRIMAP, "image: expected uint8, uint16 or floats in 0..1, got int32 [8, 9, 3]"),
        (IMAGE[:0], TRIMAP[:0], "floats in 0..1, got uint8 [0, 9, 3]"),
        (IMAGE, TRIMAP[:-1], "trimap: expected 9 x 8 pixels, as the image has, got 9 x 7"),
        (
            IMAGE,
            TRIMAP[None, None],
            "trimap: expected [H, W] of uint8, uint16 or floats in 0..1, got uint8",
        ),
        (IMAGE, np.stack([TRIMAP] * 2), "trimap: expected one for each of the 1 images, got 2"),
        (IMAGE, TRIMAP.astype(np.int64), "trimap: expected uint8, uint16 or floats in 0..1, got int64 [8, 9]"),
        (IMAGE, TRIMAP == 128, "trimap: expected uint8, uint16 or floats in 0..1, got bool [8, 9]"),
        (IMAGE, TRIMAP.astype(np.float32), "trimap: expected floats in 0..1, got 0 to 255"),
        (IMAGE, [TRIMAP], "trimap: expected a path, a PIL image, an array or a tensor, got list"),
        ([IMAGE], TRIMAP, "trimap: expected a list of 1 trimaps, one for each image"),
    ],
)
def test_other_arrays_are_refused(matter: Matter, image: Any, trimap: Any, message: str) -> None:
    with pytest.raises(UserError) as error:
        matter.matte(image, trimap)
    assert message in str(error.value) and "\n" not in str(error.value)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    image, trimap = photograph(50, 61)
    write_image(tmp_path / "image.png", image)
    write_image(tmp_path / "trimap.png", trimap)
    return tmp_path / "image.png", tmp_path / "trimap.png"


def test_files_hold_what_python_gives(matter: Matter, files: tuple[Path, Path], tmp_path: Path) -> None:
    image, trimap = photograph(50, 61)
    alpha = np.rint(matter.matte(image, trimap) * 255).astype(np.uint8)
    matte_files(matter, *files, tmp_path / "cutout.png")
    matte_files(matter, *files, tmp_path / "alpha.png", Wanted("alpha"))
    assert cv2.imread(str(tmp_path / "alpha.png"), cv2.IMREAD_UNCHANGED).shape == (50, 61)
    np.testing.assert_array_equal(read_image(tmp_path / "alpha.png")[..., 0], alpha)
    colours, cutout_alpha = read_rgba(tmp_path / "cutout.png")
    np.testing.assert_array_equal(np.rint(cutout_alpha * 255), alpha)
    expected = estimate_foreground(image / np.float32(255), matter.matte(image, trimap))
    visible = alpha > 0
    np.testing.assert_array_equal(colours[visible], np.rint(expected * 255)[visible])
    np.testing.assert_array_equal(colours[alpha == 255], image[alpha == 255])
    assert sorted(os.listdir(tmp_path)) == ["alpha.png", "cutout.png", "image.png", "trimap.png"]


def test_weights_from_a_file_are_the_network(files: tuple[Path, Path], tmp_path: Path) -> None:
    network = bright_network(3)
    weights.save(network, tmp_path / "m.safetensors")
    image, trimap = photograph(50, 61)
    expected = Matter(network, "cpu").matte(image, trimap)
    np.testing.assert_array_equal(Matter(tmp_path / "m.safetensors", "cpu").matte(image, trimap), expected)
    np.testing.assert_array_equal(Matter(str(tmp_path / "m.safetensors"), "auto").matte(image, trimap), expected)


def test_sizes_that_differ_are_named(files: tuple[Path, Path], tmp_path: Path) -> None:
    write_image(tmp_path / "narrow.png", np.zeros((50, 60), np.uint8))
    with pytest.raises(UserError) as error:
        read_pair(files[0], tmp_path / "narrow.png")
    assert str(error.value) == (f"{tmp_path / 'narrow.png'}: expected 61 x 50 pixels, as {files[0]} has, got 60 x 50")


def test_a_trimap_with_small_errors_is_mended(matter: Matter, files: tuple[Path, Path], tmp_path: Path) -> None:
    image, trimap = photograph(50, 61)
    rough = np.where(trimap == 128, 127, np.where(trimap == 255, 250, 3)).astype(np.uint8)
    write_image(tmp_path / "rough.png", rough)
    matte_files(matter, files[0], tmp_path / "rough.png", tmp_path / "out.png", Wanted("alpha"))
    expected = np.rint(matter.matte(image, trimap) * 255)
    np.testing.assert_array_equal(read_image(tmp_path / "out.png")[..., 0], expected)


def test_unknown_devices() -> None:
    with pytest.raises(UserError, match="--device: expected one of auto, cpu, cuda, mps, got gpu"):
        Matter(small_network(), "gpu")


def test_a_device_of_pytorch_is_taken_as_its_name_is() -> None:
    image, trimap = photograph(40, 50)
    matter = Matter(small_network(), device=torch.device("cpu"))
    assert matter.device == torch.device("cpu") and ", on cpu;" in matter.computed_by
    np.testing.assert_array_equal(matter.matte(image, trimap), Matter(small_network(), "cpu").matte(image, trimap))
