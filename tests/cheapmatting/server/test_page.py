"""The page in headless Chromium: a photograph, its trimap, and an alpha that is the command line's."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytest.importorskip("starlette", reason="the extra web is not installed")

from serving import serving  # noqa: E402

from cheapmatting.inference.matte import Matter  # noqa: E402
from cheapmatting.pipeline import example  # noqa: E402
from cheapmatting.server.app import make_app  # noqa: E402

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"), pytest.mark.end_to_end]


@pytest.fixture(scope="module")
def matter() -> Matter:
    return Matter(device="cpu", engine="torch", precision="fp32")


@pytest.fixture
def page(matter: Matter) -> Iterator[Any]:
    """The page with the bundled photograph; every request and every fault in it is noted."""
    with serving(make_app(matter, with_page=True)) as address, playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        opened = browser.new_page()
        opened.set_default_timeout(60_000)
        opened.asked, opened.faults = [], []
        opened.on("request", lambda request: opened.asked.append(request.url))
        opened.on("pageerror", lambda error: opened.faults.append(str(error)))
        opened.on("console", lambda line: opened.faults.append(line.text) if line.type == "error" else None)
        opened.goto(address)
        opened.set_input_files("#photo", str(example("chelsea.jpg")))
        yield opened
        assert not opened.faults
        assert all(url.startswith((address, "blob:", "data:")) for url in opened.asked)
        browser.close()


def downloaded(page: Any, what: str, folder: Path) -> np.ndarray:
    page.locator("#run").click()
    playwright.expect(page.locator("#status")).to_have_text(re.compile("^Done"), timeout=60_000)
    with page.expect_download() as waiting:
        page.locator(f"[data-download={what}]").click()
    waiting.value.save_as(folder / "saved.png")
    with Image.open(folder / "saved.png") as picture:
        return np.asarray(picture)


def test_a_trimap_file_gives_the_alpha_of_the_command_line(page: Any, matter: Matter, tmp_path: Path) -> None:
    page.set_input_files("#trimap", str(example("chelsea_trimap.png")))
    found = downloaded(page, "alpha", tmp_path)[..., 0]  # a canvas saves grey as RGBA
    expected = matter.matte(example("chelsea.jpg"), example("chelsea_trimap.png"))
    assert np.abs(found / 255 - np.rint(np.asarray(expected) * 255) / 255).max() < 1e-3


def test_a_rectangle_drawn_with_the_mouse_gives_a_cut_out(page: Any, tmp_path: Path) -> None:
    box = page.locator("#picture").bounding_box()
    page.mouse.move(box["x"] + 0.1 * box["width"], box["y"] + 0.05 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.95 * box["width"], box["y"] + 0.98 * box["height"], steps=5)
    page.mouse.up()
    playwright.expect(page.locator("#undo")).to_be_enabled(timeout=60_000)
    found = downloaded(page, "cutout", tmp_path)
    assert found.shape == (300, 451, 4)
    alpha = found[..., 3] / 255
    assert 0.3 < alpha.mean() < 0.95 and alpha[:, 0].max() < 0.5  # left of the rectangle is background
