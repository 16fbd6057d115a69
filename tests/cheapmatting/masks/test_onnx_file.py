"""Masks from ONNX files: layouts, normalisation, sizes, logits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from atldas.common.errors import UserError
from cheapmatting.masks.onnx_file import OnnxInput, OnnxMask, parse_size, parse_three

onnx = pytest.importorskip("onnx", reason="makes ONNX files: needs the extra onnx")
pytest.importorskip("onnxruntime", reason="runs ONNX files: needs the extra onnx")
RED = np.zeros((40, 60, 3), np.uint8)
RED[10:30, 20:50, 0] = 255
TRUTH = RED[..., 0] > 0
PLAIN = OnnxInput(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


def red_network(path: Path, shape: list[Any], metadata: dict[str, str] | None = None, scale: float = 1.0) -> Path:
    """A network whose mask is `scale` times its red channel (the first of three), of float32 [N, 3, H, W]."""
    weight = onnx.helper.make_tensor("w", onnx.TensorProto.FLOAT, [1, 3, 1, 1], [scale, 0.0, 0.0])
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Conv", ["x", "w"], ["y"])],
        "red",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 1, None, None])],
        [weight],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    onnx.helper.set_model_props(model, metadata or {})
    onnx.save(model, str(path))
    return path


@pytest.mark.parametrize("shape", [[1, 3, 40, 60], [1, 3, 80, 120], [1, 3, None, None], ["n", 3, "h", "w"]])
def test_the_mask_has_the_photographs_size(tmp_path: Path, shape: list[Any]) -> None:
    mask = OnnxMask(red_network(tmp_path / "red.onnx", shape), PLAIN)(RED)
    assert mask.shape == (40, 60) and mask.dtype == np.uint8
    assert ((mask > 127) == TRUTH).mean() > 0.98
    assert mask[20, 35] == 255 and mask[2, 2] == 0


def test_flags_come_before_metadata_and_metadata_before_defaults(tmp_path: Path) -> None:
    told = red_network(tmp_path / "red.onnx", [1, 3, None, None], {"mean": "0,0,0", "std": "2", "size": "60x40"})
    np.testing.assert_array_equal(OnnxMask(told)(RED), np.where(TRUTH, 128, 0))  # 1 / 2, of 255, rounded
    np.testing.assert_array_equal(OnnxMask(told, OnnxInput(std=(1.0, 1.0, 1.0)))(RED), np.where(TRUTH, 255, 0))
    imagenet = red_network(tmp_path / "imagenet.onnx", [1, 3, 40, 60], scale=0.1)
    mask = OnnxMask(imagenet, OnnxInput(logits=True))(RED)
    expected = [255 / (1 + np.exp(-0.1 * (red - 0.485) / 0.229)) for red in (0, 1)]
    np.testing.assert_allclose(mask, np.where(TRUTH, expected[1], expected[0]), atol=0.51)


def test_logits_must_be_told(tmp_path: Path) -> None:
    path = red_network(tmp_path / "red.onnx", [1, 3, 40, 60], scale=9)
    with pytest.raises(UserError, match=r"expected a mask in 0..1, got .*--mask-logits"):
        OnnxMask(path, PLAIN)(RED)
    mask = OnnxMask(path, OnnxInput(mean=(0.5,) * 3, std=(1.0,) * 3, logits=True))(RED)
    np.testing.assert_array_equal(mask > 127, TRUTH)


def test_files_that_are_no_such_network_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        OnnxMask(tmp_path / "nothing.onnx")
    (tmp_path / "text.onnx").write_text("text")
    with pytest.raises(UserError, match="expected an ONNX network, got a file that cannot be loaded"):
        OnnxMask(tmp_path / "text.onnx")
    with pytest.raises(UserError, match="expected its own input size 60x40, got 64x64"):
        OnnxMask(red_network(tmp_path / "red.onnx", [1, 3, 40, 60]), OnnxInput(size=(64, 64)))
    bad = red_network(tmp_path / "bad.onnx", [1, 3, 40, 60], {"mean": "red"})
    with pytest.raises(UserError, match="metadata mean: expected three numbers"):
        OnnxMask(bad)


def test_flags_are_read() -> None:
    assert parse_size("320", "--mask-size") == (320, 320) and parse_size("320x240", "--mask-size") == (320, 240)
    assert parse_three("0.5", "m") == (0.5, 0.5, 0.5) and parse_three("[1, 2, 3]", "m") == (1, 2, 3)
    for text in ("", "0", "3x", "axb", "1x2x3"):
        with pytest.raises(UserError, match="--mask-size: expected a side"):
            parse_size(text, "--mask-size")
    for text in ("", "1,2", "nan", "a,b,c"):
        with pytest.raises(UserError, match="m: expected three numbers"):
            parse_three(text, "m")
