"""What is built from the sources installs and runs from any folder, without them.

tests/cheapmatting/test_pipeline.py runs the quick start so.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from built_wheel import environment, started
from toy import image_folder

from cheapmatting.images import read_rgba

ROOT = Path(__file__).parents[1]
SMALL_SEARCH = (
    "task_options.folder=classes", "task_options.batch=4", "task_options.depth=1", "strategy_options.scored=9",
    "strategy_options.initial=2", "strategy_options.rounds=1", "strategy_options.per_round=1",
    "strategy_options.finalists=2", "strategy_options.repeats=1", "evaluation.jobs=1",
)  # fmt: skip


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(installed: Path, name: str, *words: str) -> str:
    """What an installed command prints."""
    call = started(installed, name, *words)
    done = subprocess.run(call, env=environment(installed), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def files_below(*folders: str) -> set[str]:
    found = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file()]
    return {str(path.relative_to(ROOT)) for path in found if "__pycache__" not in path.parts}


def test_the_wheel_has_every_file_of_the_packages_and_nothing_else(built: Path) -> None:
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
    yaml = {name for name in files_below("search_spaces", "experiments") if name.endswith(".yaml")}
    moved = {f"{'atldas' if name.startswith('search_spaces') else 'cheapmatting'}/{name}" for name in yaml}
    expected = files_below("atldas", "cheapmatting") | moved
    assert not expected - names
    others = {name for name in names - expected if not name.startswith("cheapmatting/experiments/data/")}
    assert others == {"atldas/search_spaces/__init__.py", "cheapmatting/experiments/__init__.py"}


def test_the_sdist_has_licence_and_description(built: Path) -> None:
    with tarfile.open(next(built.glob("*.tar.gz"))) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    assert {"LICENSE", "README.md", "PKG-INFO", "pyproject.toml", "setup.cfg"} <= names
    assert not {name for name in names if name.startswith(("runs/", "tests/", "shared"))}


def test_the_wheel_mattes_and_shows_from_an_empty_folder(installed: Path, empty: Path) -> None:
    for name in ("chelsea.jpg", "chelsea_trimap.png"):
        shutil.copy(ROOT / "cheapmatting" / "examples" / name, empty)
    place = run(installed, "atldas", "show", "darts_v2", "--out", "cells.svg").splitlines()[-1]
    assert place == "drawn to cells.svg"
    assert run(installed, "cheapmatting", "matte", "chelsea.jpg", "chelsea_trimap.png") == "chelsea_cutout.png\n"
    colours, alpha = read_rgba("chelsea_cutout.png")
    assert colours.shape[2] == 3 and 0.2 < float(np.mean(alpha)) < 0.8


def test_the_wheel_searches_from_an_empty_folder(installed: Path, empty: Path) -> None:
    image_folder(empty / "classes")
    settings = [word for setting in SMALL_SEARCH for word in ("--set", setting)]
    run(installed, "atldas", "search", "nasbench201", *settings, "--device", "cpu", "--out", "found")
    assert "nodes:" in (empty / "found" / "genotype.yaml").read_text()


def test_the_wheel_serves_its_page_from_an_empty_folder(installed: Path, empty: Path) -> None:
    httpx = pytest.importorskip("httpx", reason="the extra web is not installed")
    pytest.importorskip("starlette", reason="the extra web is not installed")
    call = started(installed, "cheapmatting", "web", "--no-browser", "--port", "0", "--engine", "torch")
    with subprocess.Popen(call, env=environment(installed), stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            address = server.stdout.readline().strip()
            page = installed / "cheapmatting" / "server" / "page"
            for name in ("index.html", "main.js", "style.css"):
                assert httpx.get(f"{address}{name}").content == (page / name).read_bytes()
            files = {name: (ROOT / "cheapmatting/examples" / file).read_bytes()
                     for name, file in (("image", "chelsea.jpg"), ("trimap", "chelsea_trimap.png"))}  # fmt: skip
            answer = httpx.post(f"{address}v1/matte", files=files, timeout=60)
            assert answer.status_code == 200 and answer.content.startswith(b"\x89PNG")
        finally:
            server.send_signal(signal.SIGTERM)
    assert server.returncode == 0
