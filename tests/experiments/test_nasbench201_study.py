"""experiments/studies/nasbench201/run.sh: what it asks `atldas compare` for, and how it goes on."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from scripts import ROOT

from atldas.compare import add_arguments, plan

SCRIPT = ROOT / "experiments" / "studies" / "nasbench201" / "run.sh"
COMPARISONS = [f"units_{units}{part}" for units in (54, 20) for part in ("", "_controls", "_supernets")]
# Stands for the command: notes its words, makes the run's folder and dies where it is told to.
ATLDAS = f"""#!{sys.executable}
import json, os, pathlib, sys
words = sys.argv[1:]
with open(os.environ["CALLS"], "a") as file:
    print(json.dumps(words), file=file)
out = pathlib.Path(words[words.index("--out") + 1])
out.mkdir(parents=True, exist_ok=True)
(out / "config.yaml").touch()
sys.exit(130 if out.name == os.environ.get("INTERRUPTED") else 0)
"""

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="the script is for bash")


def run_script(folder: Path, interrupted: str = "") -> tuple[int, list[argparse.Namespace]]:
    """The script's status, and the comparisons that it asked for."""
    command, calls = folder / "bin" / "atldas", folder / "calls"
    command.parent.mkdir(exist_ok=True)
    command.write_text(ATLDAS)
    command.chmod(0o755)
    calls.write_text("")
    surroundings = {
        **os.environ, "PATH": f"{command.parent}:{os.environ['PATH']}", "CALLS": str(calls), "INTERRUPTED": interrupted,
    }  # fmt: skip
    status = subprocess.run([SCRIPT, "train", "table.csv", folder / "study"], env=surroundings).returncode
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    parsed = []
    for line in calls.read_text().splitlines():
        verb, *words = json.loads(line)
        assert verb == "compare"
        parsed.append(parser.parse_args(words, argparse.Namespace(modules=[])))
    return status, parsed


def test_its_comparisons_are_those_that_were_announced(tmp_path: Path) -> None:
    """Every search's settings are read as `compare` reads them."""
    status, found = run_script(tmp_path)
    assert status == 0 and [options.out.name for options in found] == COMPARISONS
    for options in found:
        planned = plan(options)
        units = 54 if "54" in options.out.name else 20
        assert {one.experiment.budget.units for one in planned if one.experiment.budget} == {units}
        seeds = Counter((one.strategy, one.seed) for one in planned)
        last = 205 if options.out.name == f"units_{units}" else 203
        names = {
            "": ["surrogate"], "_controls": ["random", "largest", "evolution"],
            "_supernets": ["atldas", "darts", "gdas", "drnas"],
        }[options.out.name.removeprefix(f"units_{units}")]  # fmt: skip
        assert seeds == Counter((name, seed) for name in names for seed in range(201, last + 1))
    children = [one.experiment.strategy_options.get("children") for one in plan(found[1]) if one.seed == 201]
    assert children[:2] == [680, 430]


def test_a_comparison_that_was_begun_goes_on_and_the_others_begin(tmp_path: Path) -> None:
    status, found = run_script(tmp_path, interrupted="units_54_controls")
    assert status == 130
    assert [(options.out.name, options.resume) for options in found] == [(name, False) for name in COMPARISONS[:2]]
    status, found = run_script(tmp_path)
    assert status == 0
    assert [(options.out.name, options.resume) for options in found] == [
        (name, number < 2) for number, name in enumerate(COMPARISONS)
    ]
