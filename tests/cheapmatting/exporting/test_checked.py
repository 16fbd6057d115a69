"""Every format computes in its own runtime what PyTorch computes, at any size; a file that does not is not left."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from small import photograph, small_network
from torch import Tensor

from atldas.common.errors import UserError
from cheapmatting.exporting import checked
from cheapmatting.exporting.checked import export
from cheapmatting.exporting.formats import FORMATS, METADATA, Format
from cheapmatting.exporting.whole import TRIMAPS, WholeNetwork
from cheapmatting.model.hints import hints
from cheapmatting.model.network import CheapMatting
from cheapmatting.trimap import encode_trimap

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # of what the tests read
SIZES = ((64, 64), (31, 45), (97, 130), (200, 333), (1, 70))


def network_with(hinted: bool) -> CheapMatting:
    network = small_network(1, hints=hinted).eval()
    network.head[4].bias.data.fill_(0.5)  # alphas in the middle of the range
    return network


def inputs(height: int, width: int) -> tuple[Tensor, Tensor]:
    image, trimap = photograph(height, width)
    return torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255, torch.from_numpy(encode_trimap(trimap))[None]


def truth(network: CheapMatting, image: Tensor, one_hot: Tensor) -> Tensor:
    with torch.no_grad():
        alpha: Tensor = network(torch.cat([image, one_hot], dim=1))
    return torch.where(one_hot[:, 1:2] > 0, alpha, one_hot[:, 2:])


@pytest.mark.parametrize("trimap", TRIMAPS)
@pytest.mark.parametrize("kind", FORMATS)
def test_a_format_is_exact_at_any_size(kind: str, trimap: str, tmp_path: Path) -> None:
    for package in FORMATS[kind].packages:
        pytest.importorskip(package)
    if kind == "pt2" and trimap == "plane":
        pytest.skip("one program of torch.export takes long; the trimap does not depend on the format")
    # The hints make torch.export take a minute: there, the test of the whole module stands for them.
    network, path = network_with(hinted=kind != "pt2"), tmp_path / f"model{FORMATS[kind].suffix}"
    said = export(network, path, kind, trimap=trimap)
    assert "any batch, height and width" in said
    run = FORMATS[kind].load(path)
    for height, width in SIZES:
        image, one_hot = inputs(height, width)
        expected = truth(network, image, one_hot)
        given = one_hot[:, 1:2] * 128 + one_hot[:, 2:] * 255 if trimap == "plane" else one_hot
        alpha = run(image, given)
        assert alpha.shape == (1, 1, height, width)
        assert (alpha - expected).abs().max() < 5e-4
        assert (alpha[one_hot[:, 1:2] == 0] == one_hot[:, 2:][one_hot[:, 1:2] == 0]).all()
    assert expected[one_hot[:, 1:2] > 0].std() > 0.01


@pytest.mark.parametrize(("height", "width"), [*SIZES, (530, 2)])
def test_the_module_has_the_networks_hints_and_padding(height: int, width: int) -> None:
    network = network_with(hinted=True)
    image, one_hot = inputs(height, width)
    with torch.no_grad():
        alpha = WholeNetwork(network)(image, one_hot)
    assert (alpha - truth(network, image, one_hot)).abs().max() < 1e-4
    assert hints(torch.cat([image, one_hot], dim=1)).std() > 0  # they are not all alike


def test_fp16_is_half_the_size_and_near(tmp_path: Path) -> None:
    network = network_with(hinted=True)
    sizes = {}
    for precision in ("fp32", "fp16"):
        path = tmp_path / f"{precision}.pt"
        export(network, path, "torchscript", precision)
        sizes[precision] = sum(p.numel() * p.element_size() for p in torch.jit.load(path).parameters())
    assert sizes["fp16"] == sizes["fp32"] / 2
    image, one_hot = inputs(97, 130)
    off = (FORMATS["torchscript"].load(path)(image, one_hot) - truth(network, image, one_hot)).abs()
    assert 0 < off.mean() < 1 / 255


def test_metadata_say_what_the_file_is(tmp_path: Path) -> None:
    export(network_with(hinted=False), tmp_path / "model.pt", "torchscript", trimap="plane", licence="MIT")
    texts = {METADATA: ""}
    torch.jit.load(tmp_path / "model.pt", _extra_files=texts)
    metadata = json.loads(texts[METADATA])
    assert metadata["name"] == "cheapmatting"
    assert metadata["licence"] == "MIT"
    assert "0 background, 128 unknown, 255 foreground" in metadata["trimap"]
    assert len(metadata["genotype_sha256"]) == 64


def test_onnx_and_openvino_carry_the_metadata(tmp_path: Path) -> None:
    onnx, openvino = pytest.importorskip("onnx"), pytest.importorskip("openvino")
    network = network_with(hinted=False)
    export(network, tmp_path / "model.xml", "openvino", licence="MIT")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["model.bin", "model.xml"]
    model = openvino.Core().read_model(tmp_path / "model.xml")
    assert model.get_rt_info(["cheapmatting", "licence"]).value == "MIT"
    export(network, tmp_path / "model.onnx", "onnx", licence="MIT")
    properties = {entry.key: entry.value for entry in onnx.load(tmp_path / "model.onnx").metadata_props}
    assert properties["licence"] == "MIT"
    assert json.loads(properties["genotype"])["name"] == "cheapmatting"


@pytest.mark.parametrize("fault", [lambda a: a + 0.01, lambda a: a * float("nan"), lambda a: a[..., 1:]])
def test_a_file_that_is_off_is_refused_and_not_left(
    fault: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Spoilt(WholeNetwork):
        def forward(self, image: Tensor, trimap: Tensor) -> Tensor:
            return fault(super().forward(image, trimap))  # type: ignore[operator, no-any-return]

    monkeypatch.setattr(checked, "WholeNetwork", Spoilt)
    (tmp_path / "model.pt").write_text("the old one")
    with pytest.raises(UserError, match="not written"):
        export(network_with(hinted=False), tmp_path / "model.pt", "torchscript")
    assert [file.name for file in tmp_path.iterdir()] == ["model.pt"]
    assert (tmp_path / "model.pt").read_text() == "the old one"


def test_what_cannot_be_exported_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = network_with(hinted=False)
    monkeypatch.setattr(checked, "find_spec", lambda name: None if name == "openvino" else find_spec("torch"))
    for path, kind, precision, message in (
        ("a.xml", "openvino", "fp32", "the package openvino is not installed; pip install 'cheapmatting[openvino]'"),
        ("a.txt", "onnx", "fp32", "expected the suffix .onnx, got .txt"),
        ("a.onnx", "tflite", "fp32", "--format: expected one of onnx, openvino, torchscript, pt2, got tflite"),
        ("a.onnx", "onnx", "int8", "--precision: expected one of fp32, fp16, got int8"),
    ):
        with pytest.raises(UserError) as error:
            export(network, tmp_path / path, kind, precision)
        assert message in str(error.value)
    assert not list(tmp_path.iterdir())


def test_a_new_format_is_one_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(network: WholeNetwork, metadata: Mapping[str, str], path: Path) -> None:
        torch.save(network.state_dict(), path)

    network = network_with(hinted=False)
    whole = WholeNetwork(network).eval()
    monkeypatch.setitem(checked.FORMATS, "own", Format(".own", {}, write, lambda path: whole))
    assert "within" in export(network, tmp_path / "model.own", "own")
