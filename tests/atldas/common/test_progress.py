"""The progress bar: on stderr, seldom into a file, never where it is not wanted."""

from __future__ import annotations

import sys

import pytest

from atldas.common.progress import progress, without_progress


@pytest.mark.parametrize(("terminal", "interval"), [(True, 0.5), (False, 15.0)])
def test_a_file_gets_fewer_lines(monkeypatch: pytest.MonkeyPatch, terminal: bool, interval: float) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
    with progress(10, "search", "step", initial=4) as bar:
        assert bar.mininterval == interval
        assert (bar.n, bar.total, bar.unit, bar.desc) == (4, 10, "step", "search")
        bar.update(6)
        assert bar.n == 10


def test_it_is_on_stderr_and_can_be_hidden(capsys: pytest.CaptureFixture[str]) -> None:
    with progress(2, "search", "step") as bar:
        bar.update(2)
    printed = capsys.readouterr()
    assert printed.out == "" and "search: 100%" in printed.err and "2/2" in printed.err
    with progress(2, "search", "step", shown=False) as bar:
        bar.update(2)
    assert capsys.readouterr().err == ""
    with without_progress(), progress(2, "search", "step") as bar:
        bar.update(2)
    assert capsys.readouterr().err == ""
    with progress(2, "search", "step"):
        pass
    assert "search" in capsys.readouterr().err
