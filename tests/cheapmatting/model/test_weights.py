"""Weight files: what is saved comes back bit for bit, and whatever else is named as weights gives one clear line."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small import NETWORK, samples, small_network

from atldas.common.errors import UserError
from atldas.genotype import CellGenotype, Edge, Genotype
from cheapmatting.model import weights
from cheapmatting.model.lookup import DEFAULT_WEIGHTS, find_weights
from cheapmatting.model.network import CheapMatting, NetworkConfig
from cheapmatting.model.weights import FORMAT
from cheapmatting.training.validation import half_everywhere, mean_sad, network_sad

PUBLISHED = Genotype.load("cheapmatting")


def bits(network: CheapMatting) -> dict[str, tuple[torch.dtype, bytes]]:
    return {name: (t.dtype, t.contiguous().numpy().tobytes()) for name, t in network.state_dict().items()}


@pytest.mark.parametrize("name", ["plain", "naïve – 名前", 'quotes " and \\ and\nnewlines', "yes", "1e3", " "])
def test_a_saved_model_comes_back_bit_for_bit(tmp_path: Path, name: str) -> None:
    torch.manual_seed(1)
    provenance = {"seed": 3, "scores": {"SAD": 0.1 + 0.2, "tiny": 1e-300}, "notes": ["a", None, True]}
    genotype = Genotype(name, PUBLISHED.cells, NETWORK, provenance)
    network = CheapMatting(genotype).to(memory_format=torch.channels_last)
    network(torch.rand(2, 6, 96, 96))  # running statistics other than the initial ones
    path = tmp_path / "folder" / f"{name.strip()[:5].replace('/', '')}model.safetensors"
    weights.save(network, path, step="7")
    loaded = weights.load(path)
    assert bits(loaded) == bits(network)
    assert loaded.genotype == genotype
    assert loaded.config == network.config
    assert not loaded.training and network.training
    assert os.listdir(path.parent) == [path.name]
    with safetensors.safe_open(path, "pt") as file:
        assert file.metadata()["step"] == "7"


def test_another_genotype_and_configuration_come_back(tmp_path: Path) -> None:
    cell = CellGenotype(2, ((Edge("sep_conv_7x7", 0),), (Edge("max_pool_3x3", 1), Edge("conv_7x1_1x7", 2))), (3,))
    reduce = CellGenotype(2, ((Edge("skip_connect", 1),),), (2,))
    config = NetworkConfig(**small_network(width=4).config.__dict__)
    network = CheapMatting(Genotype("other", {"normal": cell, "reduce": reduce}), config).eval()
    weights.save(network, tmp_path / "m.safetensors")
    loaded = weights.load(tmp_path / "m.safetensors")
    assert (loaded.genotype, loaded.config) == (network.genotype, config)
    x = torch.rand(1, 6, 50, 40)
    with torch.no_grad():
        assert torch.equal(loaded(x), network(x))


def test_half_precision_files_are_computed_in_single_precision(tmp_path: Path) -> None:
    network = small_network().eval()
    half = {n: t.half() if t.is_floating_point() else t for n, t in network.state_dict().items()}
    header = {"format": FORMAT, "genotype": network.genotype.to_json(), "network": json.dumps(NETWORK)}
    safetensors.torch.save_file(half, tmp_path / "half.safetensors", header)
    loaded = weights.load(tmp_path / "half.safetensors")
    assert {t.dtype for t in loaded.state_dict().values()} == {torch.float32, torch.int64}
    for name, tensor in loaded.state_dict().items():
        assert torch.equal(tensor, half[name].to(tensor.dtype)), name
    x = torch.rand(1, 6, 96, 96)
    with torch.no_grad():
        assert loaded(x).dtype == torch.float32
        assert (loaded(x) - network(x)).abs().max() < 0.01


class Bomb:
    """Unpickling it writes a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return (Path.write_text, (self.target, "executed"))


def bomb(path: Path) -> None:
    path.write_bytes(pickle.dumps({"model": Bomb(path.with_name("executed"))}, protocol=2))


def bomb_in_archive(path: Path) -> None:
    torch.save({"model": {"stem00.0.weight": Bomb(path.with_name("executed"))}}, path)


def cut_short(path: Path) -> None:
    weights.save(small_network(), path)
    path.write_bytes(path.read_bytes()[:-100])


def cut_in_header(path: Path) -> None:
    weights.save(small_network(), path)
    path.write_bytes(path.read_bytes()[:200])


def archive_cut_short(path: Path) -> None:
    torch.save({"model": {"a": torch.zeros(999)}}, path)
    path.write_bytes(path.read_bytes()[:2000])


def with_header(**header: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        safetensors.torch.save_file({"a": torch.zeros(2)}, path, header or None)

    return write


def saved(value: object) -> Callable[[Path], None]:
    return lambda path: torch.save(value, path)


NOT_OURS = "expected a safetensors file of ours or a published checkpoint"
GOOD = {"format": FORMAT, "genotype": PUBLISHED.to_json(), "network": "{}"}


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: None, "expected a file, a run's folder or a shipped name (cheapmatting-light), got none"),
        (Path.mkdir, "expected a run's folder with model.safetensors, got a folder without"),
        (Path.touch, NOT_OURS),
        (lambda path: path.write_text("# weights\nstem: 1\n"), NOT_OURS),
        (lambda path: path.write_text("12345678{not: a header"), "expected a whole safetensors file"),
        (lambda path: path.write_bytes(bytes(range(256)) * 9), NOT_OURS),
        (lambda path: path.write_bytes(b"\xff\xd8\xff\xe0" * 99), NOT_OURS),
        (cut_short, "expected a whole safetensors file"),
        (cut_in_header, "expected a whole safetensors file"),
        (archive_cut_short, NOT_OURS),
        (bomb, NOT_OURS),
        (bomb_in_archive, NOT_OURS),
        (lambda path: path.write_bytes(pickle.dumps({"model": [1]})), NOT_OURS),
        (with_header(), f"metadata: expected {FORMAT}, as `cheapmatting train` writes it, got no format"),
        (with_header(format="pt"), f"metadata: expected {FORMAT}, as `cheapmatting train` writes it, got pt"),
        (with_header(format=FORMAT), "genotype or network is missing or damaged"),
        (with_header(**{**GOOD, "genotype": "{"}), "(metadata)"),
        (with_header(**{**GOOD, "network": "{"}), "genotype or network is missing or damaged"),
        (
            with_header(**{**GOOD, "network": "[]"}),
            "(metadata): network: expected a mapping of keys to values, got [] (a list)",
        ),
        (with_header(**{**GOOD, "network": '{"width": 3}'}), "network.width: expected a multiple of 2 from 2 to 1024"),
        (with_header(**GOOD), "1404 tensors differ from those of genotype"),
        (saved([torch.zeros(2)]), "expected a published checkpoint, a dict with the tensors under `model`, got list"),
        (saved({"step": 1, "network": {}}), "a dict with the tensors under `model`, got step, network"),
        (saved({"model": torch.zeros(2)}), "a dict with the tensors under `model`, got model"),
        (saved({"model": {"stem00.0.weight": 3}}), "model: expected names with tensors, got 'stem00.0.weight': int"),
        (saved({"model": {3: torch.zeros(2)}}), "model: expected names with tensors, got 3: Tensor"),
        (saved({"model": {}}), "1403 tensors differ"),
        (saved({"model": {"a": torch.zeros(2)}}), "1404 tensors differ"),
    ],
)
def test_other_files_give_one_clear_line_and_execute_nothing(
    tmp_path: Path, write: Callable[[Path], None], message: str
) -> None:
    path = tmp_path / "weights.ckpt"
    write(path)
    with pytest.raises(UserError) as error:
        weights.load(path)
    text = str(error.value)
    assert text.startswith(str(path)) and message in text and "\n" not in text
    assert not (tmp_path / "executed").exists()


def test_the_bombs_are_live(tmp_path: Path) -> None:
    bomb(tmp_path / "weights.ckpt")
    pickle.loads((tmp_path / "weights.ckpt").read_bytes())
    assert (tmp_path / "executed").read_text() == "executed"


def test_other_cells_are_refused(tmp_path: Path) -> None:
    header = {**GOOD, "genotype": Genotype("half", {"normal": PUBLISHED.cells["normal"]}).to_json()}
    safetensors.torch.save_file({"a": torch.zeros(2)}, tmp_path / "m.safetensors", header)
    with pytest.raises(UserError, match=r"m\.safetensors \(metadata\): cells: expected normal and reduce, got normal"):
        weights.load(tmp_path / "m.safetensors")


def test_differing_tensors_are_counted_and_named(tmp_path: Path) -> None:
    network = small_network()
    tensors = dict(network.state_dict())
    tensors["head.4.bias"] = torch.zeros(2)
    tensors["extra"] = tensors.pop("head.4.weight")
    header = {"format": FORMAT, "genotype": network.genotype.to_json(), "network": json.dumps(NETWORK)}
    safetensors.torch.save_file(tensors, tmp_path / "m.safetensors", header)
    with pytest.raises(UserError) as error:
        weights.load(tmp_path / "m.safetensors")
    assert str(error.value).endswith(
        "m.safetensors: 3 tensors differ from those of genotype cheapmatting: head.4.weight: missing; "
        "extra: left over; head.4.bias: expected shape [1], got [2]"
    )


def archive() -> bytes:
    import io

    buffer = io.BytesIO()
    torch.save({"model": {"a": torch.zeros(3)}}, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


LEGACY = archive()


@settings(max_examples=150, deadline=None)
@given(data=st.one_of(st.binary(max_size=40), st.integers(0, len(LEGACY)).map(lambda n: LEGACY[:n]),
                      st.tuples(st.integers(0, len(LEGACY) - 1), st.integers(0, 255)).map(
                          lambda at: LEGACY[: at[0]] + bytes([at[1]]) + LEGACY[at[0] + 1 :])))  # fmt: skip
def test_any_bytes_give_one_line(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.ckpt"
    path.write_bytes(data)
    with pytest.raises(UserError) as error:
        weights.load(path)
    assert str(error.value).startswith(str(path)) and "\n" not in str(error.value)


def test_a_failed_save_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    weights.save(small_network(1), path)
    before = path.read_bytes()
    with pytest.raises(TypeError):
        weights.save(small_network(2), path, step=3)  # type: ignore[arg-type]
    assert path.read_bytes() == before and os.listdir(tmp_path) == [path.name]
    with pytest.raises(UserError, match="cannot be written"):
        weights.save(small_network(), path / "inside.safetensors")


def test_half_the_size_and_nearly_the_same_answers(tmp_path: Path) -> None:
    network = small_network().eval()
    weights.save(network, tmp_path / "whole.safetensors")
    weights.save(network, tmp_path / "half.safetensors", half=True, step="7")
    sizes = {name: (tmp_path / f"{name}.safetensors").stat().st_size for name in ("whole", "half")}
    assert sizes["half"] < 0.6 * sizes["whole"]  # names and metadata are no smaller
    loaded = weights.load(tmp_path / "half.safetensors")
    assert all(tensor.dtype != torch.float16 for tensor in loaded.state_dict().values())
    for name, tensor in loaded.state_dict().items():
        assert torch.equal(tensor, network.state_dict()[name].half().to(tensor.dtype)), name
    x = torch.rand(1, 6, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(loaded(x), network(x), atol=2e-3, rtol=0)


def test_shipped_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = find_weights(DEFAULT_WEIGHTS)
    assert path.stat().st_size < 12e6
    with safetensors.safe_open(path, "pt") as file:
        assert file.get_tensor("head.0.weight").dtype == torch.float16
    network = weights.load(DEFAULT_WEIGHTS)
    assert not network.training and network.genotype.name == DEFAULT_WEIGHTS
    assert network.genotype.cells == PUBLISHED.cells
    pairs = samples(20, size=160, seed=12345)
    assert network_sad(network, pairs, torch.device("cpu")) < 0.6 * mean_sad(half_everywhere, pairs)
    # A file of that name is what a person who has one means.
    monkeypatch.chdir(tmp_path)
    weights.save(small_network(), DEFAULT_WEIGHTS)
    assert find_weights(DEFAULT_WEIGHTS) == Path(DEFAULT_WEIGHTS)
    assert weights.load(DEFAULT_WEIGHTS).config == small_network().config


def test_two_processes_write_the_same_bytes(tmp_path: Path) -> None:
    # The metadata's order was another in every process. Eight keys: equal by chance once in 40,320.
    code = (
        "import sys; sys.path.insert(0, sys.argv[2]); from small import small_network; "
        "from cheapmatting.model import weights; "
        "weights.save(small_network(), sys.argv[1], steps='8', SAD='0.5', a='1', b='2', naïve='–')"
    )
    helpers = str(Path(__file__).parents[2] / "helpers")
    for name in ("one", "two"):
        subprocess.run([sys.executable, "-c", code, str(tmp_path / name), helpers], check=True)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    with safetensors.safe_open(tmp_path / "one", "pt") as file:
        assert list(file.metadata()) and file.metadata()["naïve"] == "–"
    assert bits(weights.load(tmp_path / "one")) == bits(small_network())


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_weights_that_are_not_finite_are_refused(tmp_path: Path, value: float) -> None:
    network = small_network()
    with torch.no_grad():
        network.head[0].weight[1, 2, 0, 0] = value
        network.stem_eighth[1].running_var[0] = value
    weights.save(network, tmp_path / "m.safetensors")
    with pytest.raises(UserError) as error:
        weights.load(tmp_path / "m.safetensors")
    count = len(network.state_dict())
    assert str(error.value).startswith(f"{tmp_path / 'm.safetensors'}: 2 of {count} tensors hold NaN or infinity")
    assert "the first: " in str(error.value) and "\n" not in str(error.value)
