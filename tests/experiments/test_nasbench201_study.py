"""experiments/studies/nasbench201/run.sh: what it asks `atldas compare` for, and how it goes on."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from scripts import ROOT

from atldas.compare import add_arguments, plan

SCRIPT = ROOT / "experiments" / "studies" / "nasbench201" / "run.sh"
# The end of a folder's name -> the strategies, and the last of their seeds from 201 on.
PARTS = {
    "": (["surrogate"], 205),
    "_controls": (["random", "largest", "evolution"], 203),
    "_supernets": (["atldas", "darts", "gdas", "drnas"], 203),
}
COMPARISONS = [f"units_{units}{part}" for units in (54, 20) for part in PARTS]
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
    expected = [(units, *part) for units in (54, 20) for part in PARTS.values()]
    for options, (units, strategies, last) in zip(found, expected, strict=True):
        planned = plan(options)
        assert [one.experiment.budget and one.experiment.budget.units for one in planned] == [units] * len(planned)
        seeds = range(201, last + 1)
        assert [(one.strategy, one.seed) for one in planned] == [(name, seed) for name in strategies for seed in seeds]
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
