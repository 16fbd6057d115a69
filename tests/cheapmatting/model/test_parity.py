"""The network equals the published one: same tensors, same features, same alpha."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from atldas.common.errors import UserError
from atldas.cost import cost, macs_by_part, parameters
from atldas.genotype import Genotype
from cheapmatting.model import weights
from cheapmatting.model.network import CheapMatting
from cheapmatting.model.published import UNUSED_PARAMETERS, rename_published
from cheapmatting.model.variants import variant
from cheapmatting.model.weights import take_weights

PARITY = Path(__file__).parents[4] / "shared" / "parity"
needs_fixture = pytest.mark.skipif(not PARITY.is_dir(), reason=f"the published network's fixture {PARITY} is absent")


def fixture_tensor(key: str, shape: tuple[int, ...]) -> torch.Tensor:
    """The fixture's made-up weights, by its README."""
    r = np.random.RandomState(zlib.crc32(key.encode()))
    if key.endswith("num_batches_tracked"):
        return torch.tensor(0)
    if key.endswith("running_var"):
        value = r.uniform(0.5, 1.5, shape)
    elif key.endswith("running_mean"):
        value = 0.1 * r.standard_normal(shape)
    elif len(shape) >= 2:
        value = r.standard_normal(shape) * np.sqrt(0.7 / np.prod(shape[1:]))
    elif key in ("stem00.1.weight", "stem00.3.weight", "pred.1.weight", "pred.3.weight"):
        value = np.full(shape, 0.25)
    elif key.endswith(".weight"):
        value = r.uniform(0.6, 1.0, shape)
    elif key == "pred.4.bias":
        value = np.zeros(shape)
    else:
        value = 0.05 * r.standard_normal(shape)
    return torch.from_numpy(np.asarray(value, dtype=np.float32))


def fixture_input(H: int, W: int) -> torch.Tensor:
    r = np.random.RandomState(H * 10000 + W)
    noise = r.uniform(0, 1, (3, H, W)).astype(np.float32)
    low = r.uniform(0, 1, (3, H // 16, W // 16))
    rgb = (0.7 * np.kron(low, np.ones((1, 16, 16))) + 0.3 * noise).astype(np.float32)
    classes = np.kron(r.randint(0, 3, (H // 32, W // 32)), np.ones((32, 32), int))
    one_hot = np.stack([classes == k for k in range(3)]).astype(np.float32)
    return torch.from_numpy(np.concatenate([rgb, one_hot]))[None]  # [1, 6, H, W]


def published_state() -> dict[str, torch.Tensor]:
    state = {}
    for line in (PARITY / "layout.tsv").read_text().splitlines():
        key, shape = line.split("\t")
        state[key] = fixture_tensor(key, tuple(int(n) for n in shape.split("x")) if shape else ())
    return state


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("published") / "made_up.ckpt"
    torch.save({"model": published_state()}, path)
    return path


@pytest.fixture(scope="module")
def network(checkpoint: Path) -> CheapMatting:
    return weights.load(checkpoint)


@needs_fixture
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("size", [(96, 96), (128, 160), (256, 384)])
def test_alpha_equals_the_published_network(network: CheapMatting, size: tuple[int, int], channels_last: bool) -> None:
    expected = np.load(PARITY / "expected.npz")
    name = f"{size[0]}x{size[1]}"
    x = fixture_input(*size)
    assert x.double().sum().item() == pytest.approx(float(expected[f"input_sum_{name}"]), abs=1e-6)
    if channels_last:
        x = x.contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        alpha = network(x)
    assert np.abs(alpha.numpy().squeeze() - expected[f"alpha_{name}"].squeeze()).max() < 1e-5


@needs_fixture
def test_features_equal_the_published_network(network: CheapMatting) -> None:
    expected = np.load(PARITY / "expected.npz")
    seen: dict[str, np.ndarray] = {}
    hooks = []
    parts = {f"feature_cells.{i}_96x96": network.cells[i] for i in (3, 8, 13)} | {"feature_ppm_96x96": network.pyramid}
    for key, module in parts.items():

        def record(module: torch.nn.Module, inputs: object, output: torch.Tensor, key: str = key) -> None:
            seen[key] = output.numpy()

        hooks.append(module.register_forward_hook(record))
    with torch.no_grad():
        network(fixture_input(96, 96))
    for hook in hooks:
        hook.remove()
    assert set(seen) == {key for key in expected.files if key.startswith("feature_")}
    for key, value in seen.items():
        assert np.abs(value.squeeze() - expected[key].squeeze()).max() < 1e-4, key


@needs_fixture
def test_a_variant_with_hints_begins_with_a_published_checkpoints_answers(network: CheapMatting) -> None:
    told = variant("cheapmatting", hints=True).eval()
    take_weights(told, network)
    x = fixture_input(96, 96)
    with torch.no_grad():
        torch.testing.assert_close(told(x), network(x), rtol=0, atol=1e-5)


@needs_fixture
def test_every_published_tensor_has_one_place_and_every_place_one_tensor(network: CheapMatting) -> None:
    published = published_state()
    renamed = rename_published(published, network.genotype, network.config)
    unused = [key for key in published if key.startswith("ppm.conv.4.")]
    assert len(published) == 1405
    assert len(renamed) == len(published) - len(unused) == 1403
    assert renamed.keys() == network.state_dict().keys()
    assert sum(published[key].numel() for key in unused) == UNUSED_PARAMETERS


@needs_fixture
def test_a_checkpoint_with_other_tensors_names_them(tmp_path: Path) -> None:
    state = published_state()
    state["surprise.weight"] = state.pop("stem00.0.bias")
    state["pred.4.weight"] = torch.zeros(1, 16, 3, 3)
    path = tmp_path / "wrong.ckpt"
    torch.save({"model": state}, path)
    with pytest.raises(UserError) as error:
        weights.load(path)
    text = str(error.value)
    assert "3 tensors differ" in text
    assert "stem_half.0.bias: missing" in text
    assert "surprise.weight: left over" in text
    assert "head.4.weight: expected shape [1, 16, 1, 1], got [1, 16, 3, 3]" in text


def test_size_and_cost_are_the_published_ones() -> None:
    network = CheapMatting(Genotype.load("cheapmatting"))
    assert parameters(network) + UNUSED_PARAMETERS == 6_023_025
    assert cost(network, (1, 6, 1024, 1024)).macs / 1e9 == pytest.approx(38.6, abs=0.05)
    parts = {name: macs / 1e9 for name, macs in macs_by_part(network, (1, 6, 1024, 1024)).items()}
    assert parts["stem_half"] + parts["stem_quarter"] + parts["stem_eighth"] == pytest.approx(4.3, abs=0.05)
    assert parts["cells"] == pytest.approx(11.3, abs=0.05)
    assert sum(parts[name] for name in parts if name.startswith(("pyramid", "decoder"))) == pytest.approx(
        10.7, abs=0.05
    )
    assert parts["head"] == pytest.approx(12.25, abs=0.01)
