"""Regions, windows and the bound of memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small import photograph, small_network

from atldas.common.errors import UserError
from cheapmatting.inference import windows
from cheapmatting.inference.engines.choice import ENGINES
from cheapmatting.inference.matte import Matter
from cheapmatting.inference.memory import COSTS, bytes_per_pixel, largest, needed
from cheapmatting.inference.options import parse_memory
from cheapmatting.inference.regions import SMALLEST_TILE, regions
from cheapmatting.inference.windows import alpha_in_windows, spans
from cheapmatting.model.blocks import FullHead, HalfHead
from cheapmatting.model.weights import load


@settings(max_examples=40, deadline=None)
@given(height=st.integers(1, 3000), width=st.integers(1, 3000), tile=st.integers(1, 1500))
def test_weights_of_regions_sum_to_one_and_tiles_are_small(height: int, width: int, tile: int) -> None:
    total = np.zeros((height, width), np.float32)
    for region in regions(np.full((height, width), 128, np.uint8), "exact", tile * tile):
        weights = region.row_weights[:, None] * region.column_weights
        assert weights.shape == total[region.box].shape
        assert weights.size <= max(tile, SMALLEST_TILE) ** 2
        total[region.box] += weights
    np.testing.assert_allclose(total, 1, atol=1e-5)


def test_near_is_what_is_unknown_with_context_and_tiles_without_unknown_pixels_are_left_out() -> None:
    trimap = np.zeros((2000, 3000), np.uint8)
    trimap[900:910, 1500:1520] = 128
    (region,) = regions(trimap, "near", float("inf"))
    assert (region.rows, region.columns) == (slice(640, 1184), slice(1216, 1792))
    assert [r.box for r in regions(trimap, "exact", 1e9)] == [(slice(0, 2000), slice(0, 3000))]
    assert 1 <= len(regions(trimap, "exact", 512 * 512)) <= 9  # of 7 x 11


@settings(max_examples=30, deadline=None)
@given(size=st.integers(48, 700).map(lambda half: 2 * half))
def test_windows_are_equal_even_and_have_a_halo_or_end_with_the_image(size: int) -> None:
    found = spans(size)
    assert [span.cell.start for span in found] == list(range(0, size, windows.CELL)) and found[-1].cell.stop == size
    assert len({span.window.stop - span.window.start for span in found}) == 1
    for cell, window in found:
        assert window.start % 2 == 0 and window.start >= 0 and window.stop <= size
        assert window.start == 0 or cell.start - window.start >= windows.HALO
        assert window.stop == size or window.stop - cell.stop >= windows.HALO


@pytest.mark.parametrize("head", ["full", "half"])
def test_the_head_on_windows_is_the_head_on_the_whole(head: str) -> None:
    torch.manual_seed(0)
    module = {"full": FullHead, "half": HalfHead}[head](5, 6, (7, 4)).eval()
    if isinstance(module, FullHead):
        module[4].bias.data.fill_(0.5)
    engine = Matter(small_network(), "cpu", engine="torch").engine
    batches: list[torch.Size] = []

    def counted(features: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        batches.append(x.shape)
        return module(features, x)

    engine.head = counted  # type: ignore[method-assign]
    features, x = torch.rand(1, 5, 80, 112), torch.rand(1, 6, 160, 224)
    unknown = torch.zeros(160, 224, dtype=torch.bool)
    unknown[:130, 150:] = unknown[150:, 3] = True
    with torch.inference_mode():
        expected = module(features, x).clamp(0, 1)
        alpha = alpha_in_windows(engine, features, x, unknown)
    assert (alpha - expected)[0, 0][unknown].abs().max() < 1e-6
    assert expected.std() > 0.005
    assert {shape[1:] for shape in batches} == {(6, windows.WINDOW, windows.WINDOW)}
    assert [shape[0] for shape in batches] == [11]  # of 4 x 5 windows


def test_a_bound_of_memory_makes_tiles_and_the_network_sees_no_more_than_fits() -> None:
    network = small_network().eval()
    image, trimap = photograph(700, 900)
    tight = Matter(network, "cpu", engine="torch", max_memory=parse_memory("440MiB"))
    seen: list[int] = []
    features = tight.engine.features

    def counted(x: torch.Tensor) -> torch.Tensor:
        seen.append(x.shape[2] * x.shape[3])
        return features(x)

    tight.engine.features = counted  # type: ignore[method-assign]
    alpha = tight.matte(image, trimap)
    assert len(seen) > 1 and max(seen) <= max(
        largest(network, "torch", tight.max_memory, trimap.size), SMALLEST_TILE**2
    )
    assert (alpha[trimap == 0] == 0).all() and (alpha[trimap == 255] == 1).all()
    whole = Matter(network, "cpu", engine="torch").matte(image, trimap)
    assert np.abs(alpha - whole).mean() < 0.1


def test_a_bound_that_is_exceeded_is_said_once_for_each_image(caplog: pytest.LogCaptureFixture) -> None:
    network, (image, trimap) = small_network(), photograph(40, 50)
    enough = needed(network, "torch", trimap.size, trimap.size)
    for bound in (None, enough):
        Matter(network, "cpu", engine="torch", max_memory=bound).matte(image, trimap)
    assert "max_memory" not in caplog.text
    Matter(network, "cpu", engine="torch", max_memory=50 * 2**20).matte(image, trimap)
    said = f"max_memory: too little for this image, and exceeded; it takes up to {enough / 2**20:.0f} MiB"
    assert [record.getMessage() for record in caplog.records] == [said]


# Not `ru_maxrss`, which a process takes over from the one that started it.
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's record of the peak")
@pytest.mark.parametrize("engine", COSTS)
def test_a_matte_takes_no_more_than_estimated(engine: str) -> None:
    pytest.importorskip(ENGINES[engine].package, reason=f"needs {engine}")
    if engine != "torch":
        pytest.importorskip("onnx", reason=f"{engine} reads the network as ONNX")
    code = """
import re, sys
from atldas.common.machine import prepare
prepare()
import numpy as np
from cheapmatting import Matter
matter = Matter(device="cpu", engine=sys.argv[1], precision="fp32")
trimap = np.zeros((1024, 1024), np.uint8)
trimap[300:500], trimap[500:] = 128, 255
matter.matte(np.random.default_rng(0).integers(0, 256, (1024, 1024, 3)).astype(np.uint8), trimap)
print(re.search(r"VmHWM:\\s*(\\d+) kB", open("/proc/self/status").read())[1])
"""
    done = subprocess.run([sys.executable, "-c", code, engine], check=True, capture_output=True, text=True)
    peak, estimate = int(done.stdout) * 1024, needed(load("cheapmatting-light"), engine, 2**20, 2**20)
    assert 0.6 * estimate < peak < estimate


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's record of the peak")
@pytest.mark.parametrize("what", ["cutout", "composite"])
def test_a_photograph_of_12_megapixels_stays_within_its_bound(what: str, tmp_path: Path) -> None:
    trimap = np.zeros((3000, 4000), np.uint8)
    trimap[:10, :300], trimap[1500:] = 128, 255
    cv2.imwrite(str(tmp_path / "photo.jpg"), np.full((3000, 4000, 3), 90, np.uint8))
    cv2.imwrite(str(tmp_path / "trimap.png"), trimap)
    code = """
import re, sys
from pathlib import Path
from atldas.common.machine import prepare
prepare()
from cheapmatting.inference.files import Wanted, matte_files
from cheapmatting.inference.matte import Matter
matter = Matter(device="cpu", engine="torch", max_memory=700 * 2**20)
matte_files(matter, Path("photo.jpg"), Path("trimap.png"), Path("made.png"), Wanted(sys.argv[1], "white"))
print(re.search(r"VmHWM:\\s*(\\d+) kB", open("/proc/self/status").read())[1])
"""
    done = subprocess.run([sys.executable, "-c", code, what], check=True, capture_output=True, text=True, cwd=tmp_path)
    assert int(done.stdout) * 1024 < 700 * 2**20 < needed(load("cheapmatting-light"), "torch", 12 * 10**6, 10**6)


def test_of_12_megapixels_with_ten_unknown_rows_the_network_sees_little_at_once() -> None:
    trimap = np.zeros((3000, 4000), np.uint8)
    trimap[1495:1505] = 128
    network = load("cheapmatting-light")
    (strip,) = regions(trimap, "near", float("inf"))
    seen = trimap[strip.box].size
    assert seen == 4000 * 576
    assert (
        needed(network, "torch", trimap.size, seen)
        < 920 * 2**20
        < 1900 * 2**20
        < needed(network, "torch", *2 * [trimap.size])
    )
    tiles = regions(trimap, "exact", largest(network, "torch", 768 * 2**20, trimap.size))
    assert len(tiles) == 10 and max(trimap[tile.box].size for tile in tiles) <= 1024**2


def test_sizes_of_memory() -> None:
    assert [parse_memory(t) for t in ("2GiB", "1500 mb", "0.5gib", "700000000")] == [
        2**31,
        15 * 10**8,
        2**29,
        7 * 10**8,
    ]
    for text in ("", "2 apples", "0", "-1GB", "1e9"):
        with pytest.raises(UserError, match=r"--max-memory: expected a size such as 2GiB"):
            parse_memory(text)
    network = small_network()
    assert largest(network, "torch", None, 100) == float("inf")
    assert largest(network, "torch", 2**31, 10**6) < 2**31 / bytes_per_pixel(network, "torch")
    assert largest(network, "openvino", needed(network, "openvino", 10**6, 5000), 10**6) == pytest.approx(5000, abs=1)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 2000), (31, 31)])
@pytest.mark.parametrize("region", ["exact", "near"])
def test_odd_sizes_with_nothing_known_have_sensible_alphas(height: int, width: int, region: str) -> None:
    image, trimap = photograph(height, width)
    alpha = Matter(small_network(), "cpu", engine="torch", region=region).matte(image, np.full_like(trimap, 128))
    assert alpha.shape == (height, width) and np.isfinite(alpha).all() and 0 <= alpha.min() <= alpha.max() <= 1


def test_other_regions() -> None:
    with pytest.raises(UserError, match="region: expected exact or near, got far"):
        Matter(small_network(), "cpu", region="far")
