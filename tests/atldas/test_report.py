"""The page of finished searches."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from small_search import tiny_search

from atldas.command import main


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_search(tmp_path_factory.mktemp("report"))


def test_a_page_needs_nothing_else_and_tells_everything(finished: Path, tmp_path: Path) -> None:
    assert main(["report", str(finished), str(finished), "--out", str(tmp_path / "page.html")]) == 0
    page = (tmp_path / "page.html").read_text()
    assert set(re.findall(r"(?:src|href)\s*=\s*['\"]?(\w+:)", page)) == {"data:"} and "http" not in page
    for part in ("Overview", "Cells", "How the search went", "Probabilities over time", "Candidates"):
        assert part in page
    assert all(part in page for part in ("What was learned", "config.yaml", "genotype.yaml", "atldas search tiny"))
    assert page.count("<section class=run>") == 2 and page.count("data:image/png;base64,") == 2 * 4


def test_a_folder_without_a_finished_search_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(tmp_path), "--out", str(tmp_path / "page.html")]) == 2
    assert "expected the folder of a finished search" in capsys.readouterr().err
    assert not (tmp_path / "page.html").exists()
