"""Which device a word means, and when bfloat16 is worth it."""

from __future__ import annotations

import pytest
import torch

from atldas.common import device
from atldas.common.errors import UserError


def machine(monkeypatch: pytest.MonkeyPatch, cuda: bool = False, mps: bool = False) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)


@pytest.mark.parametrize(
    ("cuda", "mps", "kind"), [(True, True, "cuda"), (False, True, "mps"), (False, False, "cpu"), (True, False, "cuda")]
)
def test_auto_prefers_the_faster_device(monkeypatch: pytest.MonkeyPatch, cuda: bool, mps: bool, kind: str) -> None:
    machine(monkeypatch, cuda, mps)
    assert device.choose("auto") == torch.device(kind)


def test_a_named_device_is_taken_with_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, cuda=True)
    assert device.choose("cuda:1") == torch.device("cuda", 1)
    assert device.choose("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["gpu", "", "cuda:", "cuda:x", "cuda 0", "cpu:0:1", "AUTO"])
def test_an_unknown_device_is_named(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    machine(monkeypatch, cuda=True)
    with pytest.raises(UserError, match=f"^--device: expected one of auto, cpu, cuda, mps.*, got {name}$"):
        device.choose(name)


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "mps"])
def test_a_device_that_this_machine_lacks_is_named(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    machine(monkeypatch)
    with pytest.raises(UserError, match=f"^--device {name}: .*use --device cpu"):
        device.choose(name)


@pytest.mark.parametrize("amx", [True, False])
def test_bfloat16_pays_where_the_processor_multiplies_it(monkeypatch: pytest.MonkeyPatch, amx: bool) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": amx}, raising=False)
    assert device.bfloat16_pays(torch.device("cpu")) is amx
    assert device.bfloat16_pays(torch.device("mps")) is False
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": amx}, raising=False)
    assert device.bfloat16_pays_in_inference(torch.device("cpu")) is amx
    assert device.bfloat16_pays(torch.device("cpu")) is False
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert device.bfloat16_pays(torch.device("cpu")) is False
