"""The examples for other runtimes run where PyTorch cannot be imported, and give the command's alpha."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from npm import NEEDS_RUNTIME, RUNTIME
from PIL import Image
from small import small_network

from cheapmatting.command import main
from cheapmatting.inference.matte import Matter
from cheapmatting.model import weights
from cheapmatting.pipeline import example

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Matter]:
    """A network as an ONNX file, and in PyTorch."""
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    folder = tmp_path_factory.mktemp("exported")
    network = small_network(1, hints=True).eval()
    network.head[4].bias.data.fill_(0.5)
    weights.save(network, folder / "mine.safetensors")
    command = ["export", str(folder / "mine.safetensors"), "--format", "onnx", "--trimap", "plane"]
    assert main([*command, "--out", str(folder / "matte.onnx")]) == 0
    return folder / "matte.onnx", Matter(network, "cpu", engine="torch", precision="fp32")


def crops(folder: Path, photo: str, trimap: str) -> list[Path]:
    """The files of a part of the bundled photograph and of its trimap."""
    for source, name in ((example("chelsea.jpg"), photo), (example("chelsea_trimap.png"), trimap)):
        with Image.open(source) as picture:
            picture.crop((0, 0, 131, 129)).save(folder / name)
    return [folder / photo, folder / trimap]


def test_the_onnx_runtime_example_needs_no_pytorch(exported: tuple[Path, Matter], tmp_path: Path) -> None:
    model, matter = exported
    pair = crops(tmp_path, "photo.png", "photo_trimap.png")
    for package in ("torch", "cheapmatting", "atldas"):
        (tmp_path / "absent").mkdir(exist_ok=True)
        (tmp_path / "absent" / f"{package}.py").write_text("raise ImportError('not here')")
    files = [model, *pair, tmp_path / "cutout.png"]
    program = [sys.executable, str(ROOT / "examples" / "onnx_runtime.py"), *map(str, files)]
    done = subprocess.run(program, env={"PYTHONPATH": str(tmp_path / "absent")}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    alpha = matter.matte(*pair)
    with Image.open(files[3]) as cutout:
        assert cutout.mode == "RGBA"
        found = np.asarray(cutout)[..., 3]
    assert np.abs(found - np.rint(alpha * 255)).max() <= 1
    assert found.std() > 10


@NEEDS_RUNTIME
@pytest.mark.skipif(shutil.which("node") is None, reason="Node is not installed")
def test_the_javascript_example_needs_only_node_and_one_package(exported: tuple[Path, Matter], tmp_path: Path) -> None:
    model, matter = exported
    photo, trimap = crops(tmp_path, "photo.ppm", "trimap.pgm")
    module = tmp_path / "node_modules" / "onnxruntime-web"
    with tarfile.open(RUNTIME) as tar:
        names = "ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm"
        for name in ("package.json", *(f"dist/{name}" for name in names)):
            file = tar.extractfile(f"package/{name}")
            assert file is not None
            (module / name).parent.mkdir(parents=True, exist_ok=True)
            (module / name).write_bytes(file.read())
    shutil.copy(ROOT / "examples" / "onnx_javascript.mjs", tmp_path)
    files = [tmp_path / "onnx_javascript.mjs", model, photo, trimap, tmp_path / "alpha.pgm"]
    done = subprocess.run(["node", *map(str, files)], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    image, known, found = (np.asarray(Image.open(path)) for path in (photo, trimap, files[-1]))
    assert np.abs(found - np.rint(matter.matte(image, known) * 255)).max() <= 1
