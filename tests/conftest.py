"""Fixtures of several modules."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

# Workers that run beside one another share the cores: read when PyTorch is imported, also by the commands tests start.
if workers := os.environ.get("PYTEST_XDIST_WORKER_COUNT"):
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // int(workers))))

import hypothesis
import pytest
import torch
from built_wheel import build, install

# No test depends on the time that it takes: an example that meets a busy machine is not wrong.
hypothesis.settings.register_profile("no deadline", deadline=None)
hypothesis.settings.load_profile("no deadline")


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Data workers take cores from the network's threads, and another number of threads sums in another order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the sdist and the wheel of these sources."""
    pytest.importorskip("build", reason="the extra dev is not installed")
    return build(tmp_path_factory.mktemp("built"))


@pytest.fixture(scope="session")
def installed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the wheel is installed."""
    folder = tmp_path_factory.mktemp("installed")
    install(next(built.glob("*.whl")), folder)
    return folder
