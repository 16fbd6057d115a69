"""One version, of the distribution and of both commands."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import version

import pytest

import atldas.command
import cheapmatting.command


@pytest.mark.parametrize(
    ("name", "main"), [("atldas", atldas.command.main), ("cheapmatting", cheapmatting.command.main)]
)
def test_the_commands_tell_the_installed_version(
    name: str, main: Callable[[Sequence[str]], int], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["--version"])
    assert capsys.readouterr().out == f"{name} {version('cheapmatting')}\n"
