"""A wheel built from the sources, installed in a folder of its own, and commands that see it and not the sources."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCES = (
    "atldas", "cheapmatting", "experiments", "search_spaces", "setup.cfg", "pyproject.toml", "README.md", "LICENSE",
)  # fmt: skip


def build(folder: Path) -> Path:
    """The folder of an sdist, and of the wheel that is built from the sdist alone."""
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / "sources" / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder / "sources" / name)
    call = [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder / "dist", folder / "sources"]
    done = subprocess.run(call, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / "dist"


def install(wheel: Path, folder: Path) -> None:
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps"]
    subprocess.run([*pip, "--no-compile", "--target", folder, wheel], check=True)


def environment(installed: Path) -> dict[str, str]:
    """The installed wheel and the other packages of this Python, but not the sources, also if those are installed."""
    packages = [path for path in sys.path if path.endswith("site-packages")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(installed), *packages]), "PYTHONDONTWRITEBYTECODE": "1"}


def started(installed: Path, name: str, *words: str) -> list[str]:
    """The words that start an installed command; -S: without the files that put the sources among the packages."""
    return [sys.executable, "-S", str(installed / "bin" / name), *words]
