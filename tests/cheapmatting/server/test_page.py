"""The page in headless Chromium: a photograph, its trimap, and an alpha that is the command line's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("starlette", reason="the extra web is not installed")

from in_chromium import NEEDS_CHROMIUM, browser, cut_out_in, downloaded, drag, page_with
from serving import serving

from cheapmatting.inference.matte import Matter
from cheapmatting.pipeline import example
from cheapmatting.server.app import make_app

pytestmark = [NEEDS_CHROMIUM, pytest.mark.end_to_end]


@pytest.fixture(scope="module")
def matter() -> Matter:
    return Matter(device="cpu", engine="torch", precision="fp32")


@pytest.fixture
def page(matter: Matter) -> Iterator[Any]:
    """The page with the bundled photograph."""
    with (
        serving(make_app(matter, with_page=True)) as address,
        browser() as chromium,
        page_with(chromium, address, example("chelsea.jpg")) as opened,
    ):
        yield opened


def test_a_trimap_file_gives_the_alpha_of_the_command_line(page: Any, matter: Matter, tmp_path: Path) -> None:
    page.set_input_files("#trimap", str(example("chelsea_trimap.png")))
    assert not page.locator("#backend").is_visible()  # there is one
    cut_out_in(page)
    found = downloaded(page, "alpha", tmp_path)[..., 0]
    expected = matter.matte(example("chelsea.jpg"), example("chelsea_trimap.png"))
    assert np.abs(found / 255 - np.rint(np.asarray(expected) * 255) / 255).max() < 1e-3


def test_a_rectangle_drawn_with_the_mouse_gives_a_cut_out(page: Any, tmp_path: Path) -> None:
    drag(page, (0.1, 0.05), (0.95, 0.98))
    cut_out_in(page)
    found = downloaded(page, "cutout", tmp_path)
    assert found.shape == (300, 451, 4)
    alpha = found[..., 3] / 255
    assert 0.3 < alpha.mean() < 0.95 and alpha[:, 0].max() < 0.5  # left of the rectangle is background


def test_the_choices_of_a_row_are_equally_high(page: Any) -> None:
    boxes = [choice.bounding_box() for choice in page.locator(".choices span").all()]
    assert len(boxes) == 10
    for row in {box["y"] for box in boxes}:
        assert len({box["height"] for box in boxes if box["y"] == row}) == 1
