"""Lazy exports of a package that is made up here."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    folder = tmp_path / "lazy_of_test"
    folder.mkdir()
    (folder / "__init__.py").write_text(
        "from atldas.common.lazy import lazy_exports\n"
        "VERSION = 3\n"
        "__getattr__, __dir__ = lazy_exports(__name__, {'answer': '.slow', 'absent': '.slow'})\n"
    )
    (folder / "slow.py").write_text("answer = 42\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "lazy_of_test"
    for name in [name for name in sys.modules if name.startswith("lazy_of_test")]:
        del sys.modules[name]


def test_a_module_is_imported_when_its_name_is_first_used(package: str) -> None:
    lazy = __import__(package)
    assert {"VERSION", "absent", "answer"} <= set(dir(lazy))
    assert f"{package}.slow" not in sys.modules
    assert lazy.answer == 42 and f"{package}.slow" in sys.modules


def test_other_names_are_attribute_errors(package: str) -> None:
    lazy = __import__(package)
    with pytest.raises(AttributeError, match="module 'lazy_of_test' has no attribute 'nothing'"):
        lazy.nothing  # noqa: B018
    with pytest.raises(AttributeError, match="absent"):
        lazy.absent  # noqa: B018
    assert not hasattr(lazy, "nothing")
