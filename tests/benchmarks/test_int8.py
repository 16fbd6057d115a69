"""benchmarks/int8.py: convolutions become int8, norms and named parts do not; a table says what it costs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scripts import load_script
from small import photograph, small_network

onnx = pytest.importorskip("onnx", reason="the extra onnx is not installed")
pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")

from cheapmatting.images import write_image  # noqa: E402
from cheapmatting.model import weights  # noqa: E402


def test_the_table_has_errors_and_times_of_each_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    int8 = load_script("benchmarks/int8.py")
    monkeypatch.setattr(int8, "KEPT", {"int8": ()})  # each way takes seconds
    network = small_network(1, hints=True).eval()
    network.head[4].bias.data.fill_(0.5)  # alphas in the middle of the range
    weights.save(network, tmp_path / "model.safetensors")
    image, trimap = photograph(50, 70)
    files = {"photos/a.png": image, "photos/a_trimap.png": trimap, "truth/image/b.png": image,
             "truth/trimap_narrow/b.png": trimap, "truth/alpha/b.png": trimap}  # fmt: skip
    for name, picture in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        write_image(tmp_path / name, picture)
    int8.main([
        "--calibration", str(tmp_path / "photos"), "--truth", str(tmp_path / "truth"), "--repeats", "1",
        "--weights", str(tmp_path / "model.safetensors"), "--out", str(tmp_path / "table.md"),
    ])  # fmt: skip
    rows = [line.strip("| ").split(" | ") for line in (tmp_path / "table.md").read_text().splitlines()[3:]]
    assert [row[0] for row in rows] == ["int8"]
    _, mean, largest, sad, _, seconds, _ = rows[0]
    assert 0 < float(mean) <= float(largest) and float(sad) > 0 and float(seconds) > 0

    int8.export(network, tmp_path / "fp32.onnx", "onnx")
    pairs = [int8.inputs(tmp_path / "photos/a.png", tmp_path / "photos/a_trimap.png")]
    made = onnx.load(int8.quantized(tmp_path / "fp32.onnx", tmp_path / "int8.onnx", pairs, ("/head/",)))
    whole = [node.name for node in made.graph.node if node.op_type == "Conv" and not _reads_int8(made, node)]
    assert whole and all("/head/" in name or "/layers/" in name for name in whole)
    assert np.isfinite(int8.mattes(tmp_path / "int8.onnx", pairs, 1)[0][0]).all()


def _reads_int8(model: onnx.ModelProto, convolution: onnx.NodeProto) -> bool:
    return any("DequantizeLinear" in node.op_type and convolution.input[1] in node.output for node in model.graph.node)
