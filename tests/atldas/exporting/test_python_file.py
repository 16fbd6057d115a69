"""The network as one Python file: readable, without ATLDAS, with the same weights and the same output to the bit."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small import NETWORK
from spaces import INPUT_SHAPE, AnyNetwork, spaces
from torch import Tensor, nn
from toy import image_folder

from atldas.builder import FixedBuilder
from atldas.cell import CellPlace
from atldas.classification import ImageFolderTask
from atldas.command import main
from atldas.common.errors import UserError
from atldas.common.yaml_text import to_yaml
from atldas.exporting.python_file import write_python
from atldas.exporting.sources import Sources
from atldas.exporting.subject import Subject, random_input
from atldas.genotype import CellGenotype, Edge, Genotype
from atldas.lookup import find_genotype
from atldas.operations import OPERATIONS, conv_bn
from cheapmatting.model.variants import variant
from cheapmatting.task import MattingTask

ALONE = """
import sys
sys.modules.update(atldas=None, cheapmatting=None)  # an import of them fails
import safetensors.torch, torch
sys.path.insert(0, ".")
from exported import network
model = network()
model.load_state_dict(safetensors.torch.load_file(sys.argv[1]))
with torch.no_grad():
    safetensors.torch.save_file({"output": model.eval()(safetensors.torch.load_file("input.st")["input"])}, "output.st")
print(*[name for name, module in sys.modules.items() if module and name.split(".")[0] in ("atldas", "cheapmatting")])
"""


def subject(network: nn.Module, shape: tuple[int, ...] = (1, 3, 8, 8), example: Any = random_input) -> Subject:
    return Subject(Genotype("mine", {}), network.eval(), shape, example, None)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("pc_darts", {"channels": 4, "depth": 4}),
        ("nasbench201_best", {"skeleton": "nasbench201", "channels": 4, "depth": 2}),
    ],
)
def test_weights_of_a_training_run_in_the_file_where_atldas_is_not_installed(
    name: str, options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    images = image_folder(tmp_path / "stripes")
    (tmp_path / "training.yaml").write_text(to_yaml({
        "schema": 2, "task": "atldas.classification:ImageFolderTask", "training": {"steps": 2},
        "task_options": {"folder": "stripes", "image_size": 16, "batch": 4, **options},
    }))  # fmt: skip
    assert main(["train", name, "training.yaml", "--out", "run", "--device", "cpu"]) == 0
    images.rename(tmp_path / "away")  # an export needs no data
    assert main(["export", "run", "--format", "python", "--out", "exported.py", "--input", "3,16,16"]) == 0
    text = (tmp_path / "exported.py").read_text()
    assert "import atldas" not in text and "from atldas" not in text and max(map(len, text.splitlines())) <= 120
    inputs = torch.randn(3, 3, 16, 16)
    safetensors.torch.save_file({"input": inputs}, "input.st")
    command = [sys.executable, "-c", ALONE, "run/model.safetensors"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout == "\n", done.stderr
    genotype = find_genotype("run")
    network = ImageFolderTask.network_of(genotype)
    network.load_state_dict(safetensors.torch.load_file("run/model.safetensors"))
    with torch.no_grad():
        expected = network.eval()(inputs)
    assert torch.equal(safetensors.torch.load_file("output.st")["output"], expected)
    assert expected.std() > 0


@settings(max_examples=15, deadline=None)
@given(space=spaces(), data=st.data())
def test_any_child_of_any_space_is_written_with_the_same_output(space: Any, data: st.DataObject) -> None:
    child = space.genotype({v.name: data.draw(st.integers(0, len(v.options) - 1)) for v in space.variables})
    network = AnyNetwork(FixedBuilder(child), space)
    written(subject(network, INPUT_SHAPE))


def written(made: Subject) -> str:
    """The file's text; its output was compared with the network's."""
    with TemporaryDirectory() as folder:
        write_python(made, Path(folder) / "mine.py")
        return (Path(folder) / "mine.py").read_text()


def test_the_cells_are_written_node_by_node() -> None:
    edges = ((Edge("nor_conv_3x3", 0),), (Edge("skip_connect", 0), Edge("avg_pool_3x3", 1)))
    cell = FixedBuilder(Genotype("x", {"normal": CellGenotype(1, edges, (1, 2))})).cell(
        CellPlace("normal", (4,), 4, 1, (1,), adapted=False)
    )
    text = written(subject(nn.Sequential(nn.Conv2d(3, 4, 1), cell)))
    assert (
        """
        x1 = self.edges["1_from_0"].nor_conv_3x3(x0)
        x2 = self.edges["2_from_0"].skip_connect(x0) + self.edges["2_from_1"].avg_pool_3x3(x1)
        return torch.cat([x1, x2], dim=1)
"""
        in text
    )
    assert '"nor_conv_3x3": lambda channels, stride: conv_bn(channels, channels, 3, stride),' in text


@pytest.mark.parametrize("hints", [False, True])
def test_the_matting_network_with_all_its_own_code(hints: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = variant("cheapmatting", **NETWORK, hints=hints)
    path = tmp_path / "matting.py"
    said = write_python(subject(network, (1, 6, 96, 100), MattingTask.example_input), path)
    assert said == "its output equals the network's to the bit, with the same state dict"
    assert "cheapmatting" not in path.read_text() and "def pad(" in path.read_text()


class Scaled(nn.Module):
    """Has a parameter, a buffer, a setting, a constant, a property and a method of its own."""

    POWER = 2

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.randn(3, 1, 1))
        self.register_buffer("shift", torch.randn(3, 1, 1))
        self.times, self.unused = 3, object()

    @property
    def twice(self) -> int:
        return 2 * self.times

    def forward(self, x: Tensor) -> Tensor:
        return self._scaled(x) * self.twice

    def _scaled(self, x: Tensor) -> Tensor:
        y: Tensor = (x * self.scale + self.shift) ** self.POWER
        return y


def test_everything_that_forward_reads_is_there() -> None:
    text = written(subject(nn.Sequential(Scaled(), nn.AvgPool2d(3, 1, 1, count_include_pad=False))))
    assert "times=3" in text and "POWER = 2" in text and "unused" not in text
    assert "nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)" in text


class Secretive(nn.Module):
    """Reads an attribute that has no Python text."""

    def __init__(self) -> None:
        super().__init__()
        self.table = torch.ones(2)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.table.sum()


class Counting(nn.Module):
    """Another network at every call."""

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.rand(())


@pytest.mark.parametrize(
    ("network", "said"),
    [
        (Secretive(), "the network: forward reads table, a Tensor; use --format pt2 or onnx"),
        (Counting(), "gives another output than the network"),
    ],
)
def test_what_cannot_be_written_is_refused_and_nothing_is_left(network: nn.Module, said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=said):
        write_python(subject(network), tmp_path / "a.py")
    assert not list(tmp_path.iterdir())


def test_an_operation_of_ones_own_is_found_in_its_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    (tmp_path / "operations_of_export_test.py").write_text(
        "from atldas.operations import OPERATIONS, conv_bn\nK = 5\n"
        "OPERATIONS['own 5x5'] = lambda channels, stride: conv_bn(channels, channels, K, stride)\n"
    )
    before = dict(OPERATIONS)
    try:
        __import__("operations_of_export_test")
        cell = CellGenotype(1, ((Edge("own 5x5", 0),),), (1,))
        place = CellPlace("my stage", (3,), 3, 1, (1,), adapted=False)
        text = written(subject(nn.Sequential(FixedBuilder(Genotype("x", {"my stage": cell})).cell(place))))
    finally:
        OPERATIONS.clear()
        OPERATIONS.update(before)
        sys.modules.pop("operations_of_export_test", None)
    assert "class MyStageCell(nn.Module):" in text and "\nK = 5\n" in text and "operations_of_export_test" not in text


def test_two_things_of_one_name_are_refused() -> None:
    sources = Sources(frozenset({"atldas"}))
    sources.add("conv_bn", conv_bn)
    with pytest.raises(UserError, match="two things are called conv_bn"):
        sources.add("conv_bn", find_genotype)
