"""The page that computes in the browser, in headless Chromium: its numbers are those of the Python engine."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from npm import NEEDS_RUNTIME, RUNTIME
from PIL import Image
from small import photograph

pytest.importorskip("starlette", reason="the extra web is not installed")
pytest.importorskip("onnx", reason="the extra onnx is not installed")
pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")

from in_chromium import (
    NEEDS_CHROMIUM,
    browser,
    cut_out_in,
    downloaded,
    drag,
    page_with,
    playwright,
)
from serving import serving

from cheapmatting.images import read_image
from cheapmatting.inference import matte
from cheapmatting.inference.foreground import cut_out
from cheapmatting.inference.matte import Matter
from cheapmatting.masks.trimap_from_mask import trimap_from_mask
from cheapmatting.masks.width import parse_width
from cheapmatting.model.lookup import DEFAULT_WEIGHTS
from cheapmatting.pipeline import example
from cheapmatting.server.app import make_app
from cheapmatting.server.site import write_site

pytestmark = [NEEDS_CHROMIUM, NEEDS_RUNTIME, pytest.mark.end_to_end]
PHOTO, TRIMAP = example("chelsea.jpg"), example("chelsea_trimap.png")
TILE = 512  # pixels, instead of 1024, which takes longer


@pytest.fixture(scope="module")
def matter() -> Matter:
    return Matter(device="cpu", engine="torch", precision="fp32")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("static") / "site"
    write_site(folder, DEFAULT_WEIGHTS, RUNTIME)
    return folder


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as started:
        yield started


@contextmanager
def static_host(folder: Path) -> Iterator[str]:
    """Python's server of files, which sends no header of ours."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def static_page(site: Path, chromium: Any) -> Iterator[Any]:
    """The static page with the bundled photograph; it loads the network once for all tests."""
    with static_host(site) as address, page_with(chromium, address, PHOTO) as page:
        yield page
        assert {method for method, _ in page.asked} == {"GET"}


def test_the_static_page_gives_the_alpha_and_the_colours_of_the_command_line(
    static_page: Any, matter: Matter, tmp_path: Path
) -> None:
    page = static_page
    page.set_input_files("#trimap", str(TRIMAP))
    assert page.locator("#backend").evaluate("menu => menu.options[0].value") == "wasm"
    assert not page.evaluate("crossOriginIsolated")  # one thread
    cut_out_in(page)
    alpha, cutout = downloaded(page, "alpha", tmp_path)[..., 0], downloaded(page, "cutout", tmp_path)
    expected = matter.matte(PHOTO, TRIMAP)
    assert np.abs(alpha / 255 - expected).max() <= 0.5 / 255 + 1e-3
    colours = cut_out(read_image(PHOTO), expected)
    assert (cutout[..., 3] == alpha).all()
    assert np.abs(cutout[..., :3].astype(int) - colours[..., :3])[alpha > 0].max() <= 1


def test_a_drawn_trimap_gives_the_alpha_of_the_command_line(static_page: Any, matter: Matter, tmp_path: Path) -> None:
    page = static_page
    page.locator("label[title=R]").click()
    drag(page, (0.3, 0.4), (0.7, 0.8))
    said = page.locator("#status")
    playwright.expect(said).to_have_text(re.compile("^All inside is unknown"))  # there is no GrabCut
    page.locator("label[title=F]").click()
    drag(page, (0.4, 0.5), (0.6, 0.6))
    cut_out_in(page)
    trimap, alpha = (downloaded(page, what, tmp_path)[..., 0] for what in ("trimap", "alpha"))
    rows, columns = np.nonzero(trimap)
    assert np.abs([rows.min() - 120, rows.max() - 239, columns.min() - 135, columns.max() - 315]).max() <= 2
    assert len(rows) == (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
    assert 24 * 90 < (trimap == 255).sum() < 24 * 150
    assert np.abs(alpha / 255 - matter.matte(read_image(PHOTO), trimap)).max() <= 0.5 / 255 + 1e-3


def test_webgpu_is_not_replaced_by_something_else(static_page: Any) -> None:
    page = static_page
    if page.evaluate("navigator.gpu ? navigator.gpu.requestAdapter().then(Boolean) : true"):
        pytest.skip("this Chromium has no WebGPU at all, or a device for it")
    page.set_input_files("#trimap", str(TRIMAP))
    page.locator("#backend").select_option("webgpu")
    page.locator("#run").click()
    playwright.expect(page.locator("#status")).to_have_text(re.compile("^WebGPU: this browser has no graphics"))
    page.locator("#backend").select_option("wasm")


def test_a_mask_gives_the_trimap_of_the_command_line(static_page: Any) -> None:
    rng = np.random.default_rng(0)
    soft = cv2.GaussianBlur(rng.random((141, 196), np.float32), (0, 0), 12)
    mask = np.rint(np.clip((soft - soft.mean()) * 9000 + 128, 0, 255)).astype(np.uint8)
    for width in ("0", "1", "7px", "2%", "5.5%"):
        found = static_page.evaluate(
            """async ([levels, size, band]) => {
                const { trimapOfMask } = await import("./mask.js");
                const image = new ImageData(size.width, size.height);
                levels.forEach((level, index) => image.data.set([level, level, level, 255], 4 * index));
                return [...trimapOfMask(await createImageBitmap(image), size, band)];
            }""",
            [mask.ravel().tolist(), {"width": 196, "height": 141}, width],
        )
        expected = trimap_from_mask(mask, parse_width(width))
        assert (np.reshape(found, expected.shape) == expected).all()
        assert len(np.unique(expected)) == 3


def test_colours_are_those_of_the_command_line_also_across_bands(static_page: Any) -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (300, 21, 4)).astype(np.uint8)
    alpha = np.clip(rng.random((300, 21)) * 1.6 - 0.3, 0, 1).astype(np.float32)
    found = static_page.evaluate(
        """async ([data, alpha, width, height]) => {
            const { withForeground } = await import("./foreground.js");
            const image = { data: Uint8ClampedArray.from(data), width, height };
            return [...withForeground(image, Float32Array.from(alpha), 150 * width).data];
        }""",
        [image.ravel().tolist(), alpha.ravel().tolist(), 21, 300],
    )
    expected = cut_out(image[..., :3], alpha)
    assert np.abs(np.reshape(found, expected.shape) - expected.astype(int)).max() <= 1


NOTE_MEMORIES = """
self.memories = [];
const Memory = WebAssembly.Memory;
WebAssembly.Memory = function (wanted) {
    self.memories.push(new Memory(wanted));
    return self.memories.at(-1);
};
"""


@pytest.fixture(scope="module")
def served_page(site: Path, matter: Matter, chromium: Any) -> Iterator[Any]:
    """The page of `cheapmatting web --runtime`."""
    with serving(make_app(matter, with_page=True, site=site)) as address, page_with(chromium, address) as page:
        yield page


@pytest.fixture
def noting_page(site: Path, chromium: Any) -> Iterator[Any]:
    """The static page with smaller tiles and a worker that notes its memories.

    It has one thread: what several threads need at once depends on which of them is faster.
    """
    changes = {
        "worker.js": lambda text: NOTE_MEMORIES + text,
        "tiles.js": lambda text: re.sub(r"TILE = \d+", f"TILE = {TILE}", text),
    }
    with static_host(site) as address, page_with(chromium, address, PHOTO) as page:
        for name, change in changes.items():
            text = (site / name).read_text()
            assert change(text) != text
            page.route(f"**/{name}", partial(answer, change(text)))
        yield page


def answer(body: str, route: Any) -> None:
    """Instead of the server."""
    route.fulfill(body=body, content_type="text/javascript")


def test_both_back_ends_of_the_served_page_agree(served_page: Any, tmp_path: Path) -> None:
    page = served_page
    assert page.evaluate("crossOriginIsolated")  # WebAssembly has threads
    page.set_input_files("#photo", str(PHOTO))
    page.set_input_files("#trimap", str(TRIMAP))
    page.locator("#views").select_option("2")
    found = {}
    for name in ("wasm", "local"):
        page.locator("#backend").select_option(name)
        cut_out_in(page)
        found[name] = downloaded(page, "cutout", tmp_path).astype(int)
        posted = [url for method, url in page.asked if method == "POST"]
        assert posted == ([f"{page.url}v1/matte"] if name == "local" else [])
    assert np.abs(found["wasm"] - found["local"])[..., 3].max() <= 1
    assert np.abs(found["wasm"] - found["local"])[found["local"][..., 3] > 0].max() <= 1


def test_large_photographs_are_computed_in_tiles_in_bounded_memory(
    noting_page: Any, matter: Matter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page, taken = noting_page, []
    page.locator("#views").select_option("1")
    for height, width in ((TILE, TILE), (700, TILE)):  # one tile, two tiles
        image, trimap = photograph(height, width)
        for name, array in {"photo": image, "trimap": trimap}.items():
            Image.fromarray(array).save(tmp_path / f"{name}.png")
            page.set_input_files(f"#{name}", str(tmp_path / f"{name}.png"))
        cut_out_in(page)
        taken.append(page.workers[0].evaluate("Math.max(...memories.map((memory) => memory.buffer.byteLength))"))
    found = downloaded(page, "alpha", tmp_path)[..., 0]
    monkeypatch.setattr(matte, "largest", lambda *_: TILE**2)
    assert np.abs(found / 255 - matter.matte(image, trimap)).max() <= 0.5 / 255 + 1e-3
    assert taken[0] == taken[1] > 2**24
