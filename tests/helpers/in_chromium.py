"""The page in headless Chromium."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
NEEDS_CHROMIUM = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")


@contextmanager
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@contextmanager
def page_with(chromium: Any, address: str, photo: Path | None = None) -> Iterator[Any]:
    """A page; when it closes, it had no fault and asked only the server that it came from.

    Its attribute `asked` lists the method and the address of every request.
    """
    page = chromium.new_page()
    page.set_default_timeout(60_000)
    page.asked, page.faults = [], []
    page.on("request", lambda request: page.asked.append((request.method, request.url)))
    page.on("pageerror", lambda error: page.faults.append(str(error)))
    page.on("console", lambda line: page.faults.append(line.text) if line.type == "error" else None)
    page.goto(address)
    if photo is not None:
        page.set_input_files("#photo", str(photo))
    yield page
    page.close()
    assert not page.faults
    assert all(url.startswith((address, "blob:", "data:")) for _, url in page.asked)


def cut_out_in(page: Any) -> None:
    """Press the button and wait, also on a busy machine."""
    page.locator("#run").click()
    playwright.expect(page.locator("#status")).to_have_text(re.compile("^Done"), timeout=300_000)


def downloaded(page: Any, what: str, folder: Path) -> np.ndarray:
    """A result as it is downloaded; grey is RGBA, as a canvas saves it."""
    with page.expect_download() as waiting:
        page.locator(f"[data-download={what}]").click()
    waiting.value.save_as(folder / "saved.png")
    with Image.open(folder / "saved.png") as picture:
        return np.asarray(picture)


def drag(page: Any, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Draw with the mouse from a point to another, in shares of the photograph's width and height."""
    box = page.locator("#picture").bounding_box()
    page.mouse.move(box["x"] + start[0] * box["width"], box["y"] + start[1] * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + end[0] * box["width"], box["y"] + end[1] * box["height"], steps=5)
    page.mouse.up()
    playwright.expect(page.locator("#undo")).to_be_enabled(timeout=60_000)
