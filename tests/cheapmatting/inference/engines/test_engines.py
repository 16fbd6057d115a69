"""Every engine computes what the network computes, and a wish that cannot be met is one line."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from small import photograph, small_network

from atldas.common.device import bfloat16_pays_in_inference
from atldas.common.errors import UserError
from atldas.genotype import Genotype
from cheapmatting.images import read_image
from cheapmatting.inference.engines import bands, choice, packed
from cheapmatting.inference.engines.bands import BandedBlock, PieceNorm
from cheapmatting.inference.engines.choice import ENGINES
from cheapmatting.inference.engines.lean import for_pytorch
from cheapmatting.inference.engines.packed import After, PackedConv2d, can_pack
from cheapmatting.inference.engines.rewriting import PlainNorm, for_graphs, rewritten
from cheapmatting.inference.matte import Matter
from cheapmatting.model.blocks import BLOCKS, GroupNorm
from cheapmatting.model.network import CheapMatting
from cheapmatting.pipeline import example
from cheapmatting.trimap import read_trimap

CPU = torch.device("cpu")
READERS: list[tuple[Callable[[Path], np.ndarray], str]] = [(read_image, ".jpg"), (read_trimap, "_trimap.png")]


def lively_network(genotype: str = "cheapmatting", **changes: object) -> CheapMatting:
    """A network whose BatchNorms are no identities."""
    torch.manual_seed(1)
    network = CheapMatting(Genotype.load(genotype), small_network(**changes).config).eval()
    generator = torch.Generator().manual_seed(2)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for tensor in (module.running_mean, module.running_var, module.weight.data, module.bias.data):
                assert tensor is not None
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
    network.head[4].bias.data.fill_(0.5)
    return network


@pytest.mark.parametrize("genotype", ["cheapmatting", "nasnet", "amoebanet"])  # pools, 1x7 and 7x1, repeated edges
@pytest.mark.parametrize("rewrite", [rewritten, for_pytorch, for_graphs])
def test_rewritten_networks_have_the_same_features(rewrite: object, genotype: str) -> None:
    network = lively_network(genotype, cells=7, reductions=[2, 4])
    x = torch.rand(2, 6, 96, 160).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        expected = network.features(x)
        lean = rewrite(network).to(memory_format=torch.channels_last)  # type: ignore[operator]
        assert (lean.features(x) - expected).abs().max() < 1e-4 * expected.abs().max()
        assert (network.features(x) == expected).all()  # the network itself is as before
    assert expected.std() > 0.1
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in lean.modules())


@pytest.mark.parametrize("rewrite", [rewritten, for_pytorch])
def test_a_rewritten_network_shares_nothing_with_its_source(rewrite: Callable[[CheapMatting], CheapMatting]) -> None:
    network = lively_network("cheapmatting", cells=7, reductions=[2, 4]).train().requires_grad_(True)
    weights = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    x = torch.rand(1, 6, 96, 96).contiguous(memory_format=torch.channels_last)
    lean = rewrite(network)
    with torch.inference_mode():
        before = lean.features(x.clone())
    assert all(torch.equal(tensor, weights[name]) for name, tensor in network.state_dict().items())
    assert all(parameter.requires_grad for parameter in network.parameters())
    with torch.no_grad():
        for tensor in [*network.parameters(), *network.buffers()]:
            tensor.zero_()
    with torch.inference_mode():
        assert torch.equal(lean.features(x.clone()), before)


@pytest.mark.parametrize("kind", [PieceNorm, PlainNorm])
@pytest.mark.parametrize(("mean", "deviation", "size"), [(1.0, 1.0, 512), (3.0, 0.03, 256)])
def test_norms_are_exact(kind: type[torch.nn.Module], mean: float, deviation: float, size: int) -> None:
    torch.manual_seed(0)
    norm = GroupNorm(8, 16)
    norm.weight.data.uniform_(0.5, 1.5)
    norm.bias.data.normal_()
    x = (torch.randn(1, 16, size, size) * deviation + mean).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        truth = torch.nn.GroupNorm.forward(norm.double(), x.double().contiguous())
        assert (kind(norm.float())(x.clone(memory_format=torch.channels_last)) - truth).abs().max() < 2e-4


@pytest.mark.parametrize("packs", [True, False])
@pytest.mark.parametrize("after", [After(), After("relu"), After("leaky_relu", 0.1)])
def test_packed_convolutions_with_and_without_onednn(
    packs: bool, after: After, monkeypatch: pytest.MonkeyPatch
) -> None:
    if packs and not can_pack():
        pytest.skip("this build of PyTorch has no oneDNN")
    monkeypatch.setattr(packed, "can_pack", lambda: packs)
    torch.manual_seed(0)
    convolution = torch.nn.Conv2d(8, 6, 3, stride=2, padding=(1, 0), groups=2)
    x = torch.randn(2, 8, 9, 12).contiguous(memory_format=torch.channels_last)
    activation = {"none": lambda y: y, "relu": torch.relu, "leaky_relu": lambda y: torch.maximum(y, 0.1 * y)}[
        after.name
    ]
    with torch.inference_mode():
        ours, plain = PackedConv2d(convolution, after), convolution(x)
        torch.testing.assert_close(ours(x), activation(plain))
        torch.testing.assert_close(
            ours.scaled(torch.arange(6.0), torch.ones(6), after)(x),
            activation(plain * torch.arange(6.0)[:, None, None] + 1),
            atol=1e-5,
            rtol=1e-5,
        )
        if after.name != "leaky_relu":  # the others may be added to something
            onto = torch.randn_like(plain)
            expected = activation(plain + onto)
            assert ours(x, onto) is not None
            torch.testing.assert_close(onto, expected)


@pytest.mark.parametrize("kind", ["residual", "separable"])
def test_blocks_in_bands_are_the_block_and_overwrite_their_input(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bands, "PIECE", 100)
    torch.manual_seed(0)
    block = BLOCKS[kind](12, 16).eval()
    x = (torch.randn(2, 12, 23, 31) + 1).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        expected = block(x)
        banded = BandedBlock(block)  # type: ignore[arg-type]
        assert banded(x) is x
        torch.testing.assert_close(x, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ENGINES)
def test_every_engine_gives_the_networks_alpha_at_any_size(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(ENGINES[name].package)
    if name != "torch":
        pytest.importorskip("onnx")
    monkeypatch.setenv("CHEAPMATTING_CACHE", str(tmp_path))
    network = lively_network()
    matter = Matter(network, "cpu", engine=name, precision="fp32")
    assert (matter.engine.name, matter.engine.precision) == (name, "fp32")
    for height, width in ((31, 31), (97, 130), (300, 270)):
        image, trimap = photograph(height, width)
        one_hot = np.stack([trimap == level for level in (0, 128, 255)])
        planes = np.concatenate([image.transpose(2, 0, 1) / 255, one_hot]).astype(np.float32)
        with torch.no_grad():
            expected = network(torch.from_numpy(planes)[None])[0, 0].numpy()
        unknown = trimap == 128
        np.testing.assert_allclose(matter.matte(image, trimap)[unknown], expected[unknown], atol=1e-4)
        assert expected[unknown].std() > 0.01


@pytest.mark.skipif(not bfloat16_pays_in_inference(CPU), reason="this processor has no bf16")
def test_bf16_is_another_precision_but_near() -> None:
    image, trimap = (read(example(f"astronaut{end}"))[:256, 100:356] for read, end in READERS)
    exact, fast = (Matter(device="cpu", engine="torch", precision=p).matte(image, trimap) for p in ("fp32", "bf16"))
    unknown = trimap == 128
    assert unknown.sum() > 1000
    assert 0 < np.abs(exact - fast)[unknown].mean() < 1 / 255


def test_auto_is_the_first_that_is_installed_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(choice.FASTEST, "fp32", ("openvino", "torch"))
    monkeypatch.setattr(choice, "find_spec", lambda package: None if package == "openvino" else find_spec(package))
    engine, line = choice.make_engine(small_network().eval(), "auto", "auto", CPU)
    assert engine.name == "torch"
    assert line == "engine: torch, fp32, on cpu; the fastest of those installed (torch)"


@pytest.mark.parametrize(
    ("engine", "precision", "message"),
    [
        ("tensorrt", "auto", "engine: expected one of auto, torch, onnxruntime, openvino, got tensorrt"),
        ("auto", "int8", "precision: expected one of auto, fp32, bf16, fp16, got int8"),
        ("torch", "fp16", "precision: torch on cpu computes in fp32 or bf16, got fp16"),
        ("openvino", "fp32", "engine: openvino is not installed; pip install 'cheapmatting[openvino]'"),
    ],
)
def test_what_cannot_be_had_is_one_line(
    engine: str, precision: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choice, "find_spec", lambda package: None if package == "openvino" else find_spec("torch"))
    with pytest.raises(UserError) as error:
        Matter(small_network(), "cpu", engine=engine, precision=precision)
    assert str(error.value) == message


def test_openvino_leaves_a_signal_its_stack() -> None:
    """It used to end the program with a segmentation fault at the next signal that has a handler."""
    pytest.importorskip("openvino", reason="needs the extra openvino")
    code = """
import os, signal
import numpy as np
from small import small_network
from cheapmatting import Matter
matter = Matter(small_network(), engine="openvino", device="cpu")
matter.matte(np.zeros((32, 32, 3), np.uint8), np.full((32, 32), 128, np.uint8))
heard = []
signal.signal(signal.SIGUSR1, lambda *_: heard.append(1))
os.kill(os.getpid(), signal.SIGUSR1)
assert heard == [1]
"""
    helpers = str(Path(__file__).parents[3] / "helpers")
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": helpers})
