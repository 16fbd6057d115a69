"""ONNX and torch.export files: as general as the network, equal to PyTorch, and refused where they are not."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from stripes import StripesNetwork
from torch import Tensor, nn

from atldas.builder import FixedBuilder
from atldas.common.errors import UserError
from atldas.exporting.programs import PACKAGES, write_onnx, write_pt2
from atldas.exporting.subject import Subject, random_input
from atldas.genotype import CellGenotype, Edge, Genotype

CELL = CellGenotype(1, ((Edge("nor_conv_3x3", 0),), (Edge("skip_connect", 0), Edge("avg_pool_3x3", 1))), (2,))
needs_onnx = pytest.mark.skipif(not all(map(find_spec, PACKAGES)), reason="the extra onnx is not installed")
GENOTYPE = Genotype("stripes", {"normal": CELL}, choices={"shutter": "open"})


def subject(network: nn.Module, shape: tuple[int, ...] = (1, 1, 8, 8)) -> Subject:
    torch.manual_seed(1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):  # statistics of their own, as after a training
            nn.init.uniform_(module.running_mean, -1, 1)  # type: ignore[arg-type]
            nn.init.uniform_(module.running_var, 0.5, 2)  # type: ignore[arg-type]
    return Subject(GENOTYPE, network.eval(), shape, random_input, None)


def run_pt2(path: Path) -> Callable[[Tensor], Tensor]:
    return torch.export.load(path).module()


def run_onnx(path: Path) -> Callable[[Tensor], Tensor]:
    onnxruntime = importlib.import_module("onnxruntime")
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda x: torch.from_numpy(session.run(None, {session.get_inputs()[0].name: x.numpy()})[0])


FORMATS = {"a.pt2": (write_pt2, run_pt2), "a.onnx": (write_onnx, run_onnx)}


@pytest.mark.parametrize("name", ["a.pt2", pytest.param("a.onnx", marks=needs_onnx)])
def test_a_file_gives_the_networks_output_at_any_batch_and_size(name: str, tmp_path: Path) -> None:
    write, run = FORMATS[name]
    made = subject(StripesNetwork(FixedBuilder(GENOTYPE)))
    said = write(made, tmp_path / name)
    assert said.startswith("any batch, any height and width that the network takes; equal to PyTorch")
    program = run(tmp_path / name)
    for shape in ((1, 1, 8, 8), (5, 1, 9, 30), (2, 1, 17, 5)):
        inputs = torch.randn(shape)
        with torch.no_grad():
            torch.testing.assert_close(program(inputs), made.network(inputs), rtol=1e-5, atol=1e-6)
    assert [path.name for path in tmp_path.iterdir()] == [name]


class Flat(nn.Module):
    """Of one height and width only."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(64, 3)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.linear(x.flatten(1))
        return y


class Alternating(nn.Module):
    """Whose code at other sizes is not the code that is traced."""

    def forward(self, x: Tensor) -> Tensor:
        return x * 2.0 if x.shape[2] % 2 else x * 3.0


class Noisy(Flat):
    """Another network at every call."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x + torch.randn_like(x))


@pytest.mark.parametrize("name", ["a.pt2", pytest.param("a.onnx", marks=needs_onnx)])
def test_a_network_of_one_size_has_a_fixed_height_and_width(name: str, tmp_path: Path) -> None:
    write, run = FORMATS[name]
    made = subject(Flat())
    assert write(made, tmp_path / name).startswith("any batch, height 8, width 8; equal to PyTorch")
    inputs = torch.randn(7, 1, 8, 8)
    torch.testing.assert_close(run(tmp_path / name)(inputs), made.network(inputs), rtol=1e-5, atol=1e-6)


@needs_onnx
def test_an_onnx_file_that_is_wrong_at_other_sizes_is_not_written_as_one_of_all_sizes(tmp_path: Path) -> None:
    """ONNX knows no guards: a program that was traced at one size runs at another, and is wrong there."""
    said = write_onnx(subject(Alternating()), tmp_path / "a.onnx")
    assert said.startswith("any batch, height 8, width 8;")
    with pytest.raises(Exception, match=r"(?i)dimension|shape"):
        run_onnx(tmp_path / "a.onnx")(torch.randn(1, 1, 9, 8))


@pytest.mark.parametrize("name", ["a.pt2", pytest.param("a.onnx", marks=needs_onnx)])
def test_a_file_that_is_off_is_refused_and_nothing_is_left(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("what was here before")
    with pytest.raises(UserError, match=r"not written: no program gives PyTorch's output .*off by"):
        FORMATS[name][0](subject(Noisy()), tmp_path / name)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["what was here before"]


@needs_onnx
def test_the_metadata_say_what_the_network_is(tmp_path: Path) -> None:
    onnx = importlib.import_module("onnx")
    write_onnx(subject(Flat()), tmp_path / "a.onnx")
    found = {entry.key: entry.value for entry in onnx.load(tmp_path / "a.onnx").metadata_props}
    assert Genotype.parse(found["genotype"], "metadata") == GENOTYPE
    assert json.loads(found["input_shape"]) == [1, 1, 8, 8] and found["weights"] == "random"
    write_pt2(subject(Flat()), tmp_path / "a.pt2")
    extra = {"genotype": ""}
    torch.export.load(tmp_path / "a.pt2", extra_files=extra)
    assert Genotype.parse(extra["genotype"], "extra file") == GENOTYPE


def test_a_missing_package_is_named_with_the_mend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(UserError, match=r'the package onnxscript: pip install "cheapmatting\[onnx\]"'):
        write_onnx(subject(Flat()), tmp_path / "a.onnx")
    assert not list(tmp_path.iterdir())
