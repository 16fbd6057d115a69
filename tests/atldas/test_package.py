"""What `atldas` exports, and that neither it nor `--help` imports PyTorch before it is needed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import atldas
from atldas.command import main
from atldas.genotype import Genotype


def test_every_exported_name_is_the_one_of_its_module() -> None:
    from atldas import Space, search
    from atldas.searching import search as function

    assert search is function and callable(search)
    assert Space.load("darts").name == "darts" and atldas.Genotype is Genotype
    assert set(atldas.__all__) <= set(dir(atldas))
    for name in atldas.__all__:
        assert getattr(atldas, name).__module__.startswith("atldas.")
    with pytest.raises(AttributeError, match="has no attribute 'no_such_name'"):
        atldas.no_such_name  # noqa: B018


@pytest.mark.parametrize(
    "code",
    [
        "import atldas; atldas.__version__; dir(atldas)",
        "from atldas.command import main; main(['--help'])",
        "from atldas.command import main; main(['search', '--help'])",
        "from atldas.command import main; main(['train', '--help'])",
        "from cheapmatting.command import main; main(['--help'])",
    ],
)
def test_pytorch_is_not_imported(code: str) -> None:
    script = (
        f"import sys\ntry:\n    {code}\nexcept SystemExit:\n    pass\nprint('torch' in sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1] == "False"


@pytest.mark.parametrize("package", ["atldas", "cheapmatting"])
def test_a_package_is_its_command(tmp_path: Path, package: str) -> None:
    command = [sys.executable, "-m", package, "--version"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == f"{package} {atldas.__version__}\n"


def test_show_prints_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "cheapmatting", "--json", "--out", str(tmp_path / "cells.svg")]) == 0
    printed = capsys.readouterr().out
    assert Genotype.parse(printed, "printed") == Genotype.load("cheapmatting")
    assert json.loads(printed)["cells"]["normal"]["nodes"][0] == [["skip_connect", 0], ["dil_conv_5x5", 1]]
    assert (tmp_path / "cells.svg").exists()
