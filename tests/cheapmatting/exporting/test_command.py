"""`cheapmatting export`: what it calls its file, and that it replaces none unasked."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small import small_network

from cheapmatting.command import main
from cheapmatting.model import weights

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # of what the tests read


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("onnx", "cheapmatting-light.onnx"),
        ("torchscript", "cheapmatting-light.pt"),
        ("openvino", "cheapmatting-light.xml"),
        ("openvino", "cheapmatting-light.bin"),
    ],
)
def test_a_file_that_exists_is_not_replaced(
    kind: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).write_text("the old one")
    assert main(["export", "cheapmatting-light", "--format", kind]) == 2
    said = f"error: {name}: exists; replace it with --force, or name another file with --out\n"
    assert capsys.readouterr().err == said
    assert [file.name for file in tmp_path.iterdir()] == [name] and Path(name).read_text() == "the old one"


def test_force_replaces_it(tmp_path: Path) -> None:
    model, path = tmp_path / "mine.safetensors", tmp_path / "mine.pt"
    weights.save(small_network(1, hints=True), model)
    path.write_text("the old one")
    assert main(["export", str(model), "--format", "torchscript", "--out", str(path), "--force"]) == 0
    with torch.no_grad():
        alpha = torch.jit.load(path)(torch.rand(1, 3, 33, 47), torch.ones(1, 3, 33, 47) / 3)
    assert alpha.shape == (1, 1, 33, 47)
