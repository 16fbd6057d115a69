"""A genotype with a node that nothing reads trains alone and in several processes alike."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from small import NETWORK, SIZE

from atldas.common.runfolder import logged, read_log
from atldas.common.yaml_text import to_yaml
from atldas.genotype import CellGenotype, Edge, Genotype
from cheapmatting.model import weights

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="torchrun's gloo needs a POSIX system here")
NODES = ((Edge("sep_conv_3x3", 0), Edge("skip_connect", 1)), (Edge("dil_conv_3x3", 1),), (Edge("sep_conv_3x3", 3),))
UNREAD = "cells.0.edges.4_from_3.sep_conv_3x3.1.weight"


@pytest.mark.end_to_end
def test_two_processes_train_as_one_does(tmp_path: Path) -> None:
    cells = {kind: CellGenotype(2, NODES, (2,)) for kind in ("normal", "reduce")}
    assert cells["normal"].unread() == [3, 4]
    Genotype("wasteful", cells, NETWORK).save(tmp_path / "wasteful.yaml")
    recipe = {
        "schema": 1, "steps": 2, "batch": 2, "workers": 0, "gradient_accumulation": 2, "data": {"size": SIZE},
        "losses": {"l1_unknown": 1.0}, "optimizer": {"name": "sgd", "lr": 0.01, "warm_up": 0}, "ema": 0.0,
        "calibration": {"pairs": 4, "last": 4},
        "precision": "float32", "log_every": 1,
    }  # fmt: skip
    (tmp_path / "recipe.yaml").write_text(to_yaml(recipe))
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    for folder, launcher, batch in (("alone", [], 4), ("two", torchrun, 2)):
        words = f"train wasteful.yaml --config recipe.yaml --device cpu --out {folder} --set batch={batch}".split()
        call = [sys.executable, *launcher, "-m", "cheapmatting", *words]
        done = subprocess.run(call, cwd=tmp_path, capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, done.stderr[-3000:]
    (steps, alone), (_, two) = (logged(read_log(tmp_path / name), "loss") for name in ("alone", "two"))
    assert steps == [1, 2] and two == pytest.approx(alone, rel=1e-4)
    states = [weights.load(tmp_path / name).state_dict() for name in ("alone", "two")]
    for name, tensor in states[0].items():
        assert tensor.numpy() == pytest.approx(states[1][name].numpy(), rel=0.02, abs=1e-3), name
    # What nothing reads has no gradient: it stays as it was, in both.
    assert (states[0][UNREAD] == states[1][UNREAD]).all()
