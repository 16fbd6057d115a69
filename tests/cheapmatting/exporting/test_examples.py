"""The examples for other runtimes run where PyTorch cannot be imported, and give the command's alpha."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small import small_network

from cheapmatting.command import main
from cheapmatting.inference.matte import Matter
from cheapmatting.model import weights
from cheapmatting.pipeline import example

ROOT = Path(__file__).parents[3]


def test_the_onnx_runtime_example_needs_no_pytorch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    network = small_network(1, hints=True).eval()
    network.head[4].bias.data.fill_(0.5)
    weights.save(network, tmp_path / "mine.safetensors")
    command = ["export", str(tmp_path / "mine.safetensors"), "--format", "onnx", "--trimap", "plane"]
    assert main([*command, "--out", str(tmp_path / "matte.onnx")]) == 0
    assert "written to" in capsys.readouterr().out
    for kind in ("", "_trimap"):
        with Image.open(example(f"chelsea{kind}.{'png' if kind else 'jpg'}")) as picture:
            picture.crop((0, 0, 131, 131)).save(tmp_path / f"photo{kind}.png")
    for package in ("torch", "cheapmatting", "atldas"):
        (tmp_path / "absent").mkdir(exist_ok=True)
        (tmp_path / "absent" / f"{package}.py").write_text("raise ImportError('not here')")
    files = [tmp_path / name for name in ("matte.onnx", "photo.png", "photo_trimap.png", "cutout.png")]
    program = [sys.executable, str(ROOT / "examples" / "onnx_runtime.py"), *map(str, files)]
    done = subprocess.run(program, env={"PYTHONPATH": str(tmp_path / "absent")}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    alpha = Matter(network, "cpu", engine="torch", precision="fp32").matte(files[1], files[2])
    with Image.open(files[3]) as cutout:
        assert cutout.mode == "RGBA"
        found = np.asarray(cutout)[..., 3]
    assert np.abs(found - np.rint(alpha * 255)).max() <= 1
    assert found.std() > 10
