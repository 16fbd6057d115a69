"""Where ONNX Runtime and OpenVINO compute: what was asked for, and said; never silently the CPU."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from small import photograph, small_network

from atldas.common.errors import UserError
from cheapmatting.command import main
from cheapmatting.inference.engines import choice, onnx_runtime
from cheapmatting.inference.engines.onnx_runtime import PROVIDERS, Provider
from cheapmatting.inference.engines.pytorch import exact_convolutions
from cheapmatting.inference.matte import Matter
from cheapmatting.pipeline import example

# ONNX Runtime's CPU package says so when it is asked for what it does not have, and goes on with the CPU.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Specified provider:UserWarning", "ignore:Duplicate provider:UserWarning"
)
CPU_ONLY = ["AzureExecutionProvider", "CPUExecutionProvider"]
WITH_CUDA = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]
UNSTARTED = (
    "provider: cuda does not start (ONNX Runtime took the CPU in its place); see that its driver and libraries are "
    "there, or use --provider cpu"
)


@pytest.fixture(autouse=True, scope="module")
def _needs_the_extra() -> None:
    for package in ("onnx", "onnxruntime"):
        pytest.importorskip(package, reason="needs the extra onnx")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")  # one export for all tests


@pytest.fixture(autouse=True)
def _cached(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHEAPMATTING_CACHE", str(cache))


def say(monkeypatch: pytest.MonkeyPatch, available: list[str]) -> None:
    """Let ONNX Runtime say that it has these, as its package for GPUs does also where no GPU is."""
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: available)


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ({"provider": "cuda"}, "provider: onnxruntime has cpu here, got cuda; pip install onnxruntime-gpu in place of "
         "onnxruntime"),
        ({"provider": "tensorrt:1"}, "provider: onnxruntime has cpu here, got tensorrt:1; pip install onnxruntime-gpu "
         "in place of onnxruntime, and tensorrt"),
        ({"provider": "coreml"}, "provider: onnxruntime has cpu here, got coreml; it comes with macOS"),
        ({"provider": "directml"}, "provider: onnxruntime has cpu here, got directml; pip install onnxruntime-directml "
         "in place of onnxruntime, on Windows"),
        ({"provider": "rocm"}, "provider: expected one of cpu, cuda, tensorrt, coreml, directml with onnxruntime, got "
         "rocm; use --provider cpu"),
        ({"provider": "CUDA"}, "provider: expected one of auto, cpu, cuda, tensorrt, coreml, directml, got CUDA"),
        ({"provider": "cpu", "precision": "bf16"}, "precision: onnxruntime on cpu computes in fp32, got bf16"),
        ({"provider": "cuda", "engine": "auto"}, "provider: expected --engine onnxruntime or openvino beside it, got "
         "auto; PyTorch has --device"),
        ({"provider": "cpu", "engine": "torch"}, "provider: expected --engine onnxruntime or openvino beside it, got "
         "torch; PyTorch has --device"),
    ],
)  # fmt: skip
def test_what_is_not_there_is_one_line(
    wish: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    say(monkeypatch, CPU_ONLY)
    with pytest.raises(UserError) as error:
        Matter(small_network(), **{"engine": "onnxruntime", **wish})  # type: ignore[arg-type]
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("provider", "message"),
    [
        ("gpu", "provider: openvino has cpu here, got gpu; it needs a GPU and the driver of Intel"),
        ("npu", "provider: expected one of cpu, gpu with openvino, got npu; use --provider cpu"),
    ],
)
def test_openvino_has_what_it_finds(provider: str, message: str) -> None:
    openvino = pytest.importorskip("openvino", reason="needs the extra openvino")
    if any(device.startswith("GPU") for device in openvino.Core().available_devices):
        pytest.skip("this machine has one")
    with pytest.raises(UserError) as error:
        Matter(small_network(), engine="openvino", provider=provider)
    assert str(error.value) == message


@pytest.mark.skipif(torch.cuda.is_available(), reason="here CUDA starts")
def test_a_session_that_went_over_to_the_cpu_by_itself_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    say(monkeypatch, WITH_CUDA)
    with pytest.raises(UserError) as error:
        Matter(small_network(), engine="onnxruntime", provider="cuda")
    assert str(error.value) == UNSTARTED


def test_a_provider_that_gets_no_operation_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Azure's is in every package, is among a session's providers, and computes nothing of this."""
    import onnxruntime

    if "AzureExecutionProvider" not in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime has no provider that computes nothing")
    monkeypatch.setitem(PROVIDERS, "directml", Provider("AzureExecutionProvider", {}))
    with pytest.raises(UserError, match=r"directml does not start \(ONNX Runtime gave it 0 of [1-9]\d+ operations\)"):
        Matter(small_network(), engine="onnxruntime", provider="directml")


@pytest.mark.skipif(torch.cuda.is_available(), reason="here CUDA starts")
def test_auto_goes_on_to_the_next_and_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    say(monkeypatch, WITH_CUDA)
    with caplog.at_level(logging.WARNING):
        matter = Matter(small_network(), engine="onnxruntime")
    assert caplog.messages == [UNSTARTED]
    assert matter.computed_by == "engine: onnxruntime, fp32, on cpu; asked for; --provider has tensorrt too"


def test_a_device_that_is_named_decides(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    say(monkeypatch, ["CUDAExecutionProvider", "CPUExecutionProvider"])
    with caplog.at_level(logging.WARNING):
        matter = Matter(small_network(), "cpu", engine="onnxruntime")
    assert matter.computed_by == "engine: onnxruntime, fp32, on cpu; asked for" and not caplog.messages


def test_the_provider_is_said_and_computes_the_networks_alpha(monkeypatch: pytest.MonkeyPatch) -> None:
    say(monkeypatch, ["CUDAExecutionProvider", "CPUExecutionProvider"])
    monkeypatch.setitem(PROVIDERS, "cuda", Provider("CPUExecutionProvider", {}))  # what starts everywhere
    network = small_network()
    matter = Matter(network, engine="onnxruntime")
    assert matter.computed_by == "engine: onnxruntime, fp32, on cuda; asked for"
    image, trimap = photograph(60, 90)
    expected = Matter(network, "cpu", engine="torch").matte(image, trimap)
    np.testing.assert_allclose(matter.matte(image, trimap), expected, atol=1e-4)


@pytest.mark.skipif(torch.cuda.is_available(), reason="here PyTorch has a GPU")
def test_auto_looks_for_a_gpu_that_only_onnx_runtime_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert not onnx_runtime.is_for_gpus()
    described = tmp_path / "onnxruntime_gpu-1.30.0.dist-info" / "METADATA"  # as pip leaves it
    described.parent.mkdir()
    described.write_text("Metadata-Version: 2.1\nName: onnxruntime-gpu\nVersion: 1.30.0\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert onnx_runtime.is_for_gpus()
    say(monkeypatch, ["CUDAExecutionProvider", "CPUExecutionProvider"])
    with caplog.at_level(logging.WARNING):
        fallen = Matter(small_network())
    assert caplog.messages == [UNSTARTED]
    assert fallen.computed_by.startswith("engine: torch, fp32, on cpu; the fastest of those installed (onnxruntime on ")
    monkeypatch.setitem(PROVIDERS, "cuda", Provider("CPUExecutionProvider", {}))
    assert Matter(small_network()).computed_by.startswith("engine: onnxruntime, fp32, on cuda; the fastest of those")
    assert Matter(small_network(), "cpu").computed_by.startswith("engine: torch, fp32, on cpu; the fastest of those")


def test_what_a_session_is_asked_for(cache: Path) -> None:
    assert onnx_runtime._providers("cpu") == [("CPUExecutionProvider", {})]
    assert onnx_runtime._providers("cuda:1") == [
        ("CUDAExecutionProvider", {**onnx_runtime.CUDA, "device_id": "1"}),
        ("CPUExecutionProvider", {}),
    ]
    tensorrt, cuda, cpu = onnx_runtime._providers("tensorrt")
    assert (tensorrt[0], cuda[0], cpu[0]) == (*WITH_CUDA,)
    assert tensorrt[1]["trt_engine_cache_path"] == str(cache / "tensorrt") and "device_id" not in tensorrt[1]


def test_the_command_refuses_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    say(monkeypatch, CPU_ONLY)
    pair = [str(example(f"chelsea{end}")) for end in (".jpg", "_trimap.png")]
    output = tmp_path / "cutout.png"
    assert main(["matte", *pair, "-o", str(output), "--engine", "onnxruntime", "--provider", "cuda"]) == 2
    assert capsys.readouterr().err.startswith("error: provider: onnxruntime has cpu here, got cuda;")
    assert not output.exists()


def test_tf32_is_off_within_and_as_before_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.backends.cudnn.allow_tf32
    with pytest.raises(KeyError), exact_convolutions():
        assert torch.backends.cudnn.allow_tf32 is False and torch.backends.cudnn.enabled
        raise KeyError
    assert torch.backends.cudnn.allow_tf32 is before is True


def test_every_place_has_a_precision_and_a_way_to_it() -> None:
    for name, kind in choice.ENGINES.items():
        assert {"cpu"} <= set(kind.here()) <= set(kind.places)
        for place, what in kind.places.items():
            assert what.precisions and (what.mend or place == "cpu" or name == "torch")
