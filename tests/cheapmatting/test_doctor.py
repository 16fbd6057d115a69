"""`cheapmatting doctor`: what is there, what is missing, and what computes wrongly."""

from __future__ import annotations

import json
import sys
from importlib import metadata
from pathlib import Path

import pytest
import torch
from torch import Tensor

from cheapmatting import doctor
from cheapmatting.command import main
from cheapmatting.inference import self_test
from cheapmatting.inference.engines import choice
from cheapmatting.inference.engines.engine import Kind, Place
from cheapmatting.inference.engines.pytorch import PLACES, PyTorchEngine, places_here

AT = slice(60, 188), slice(160, 288)  # a part of the photograph with hair in it
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CHEAPMATTING_CACHE", str(tmp_path))
    for name in ("read_image", "read_trimap"):
        read = getattr(doctor, name)
        monkeypatch.setattr(doctor, name, lambda path, read=read: read(path)[AT])


def only(monkeypatch: pytest.MonkeyPatch, **kinds: Kind) -> None:
    """Let these be all engines."""
    for module in (doctor, self_test, choice):
        monkeypatch.setattr(module, "ENGINES", kinds)


class Inverted(PyTorchEngine):
    """Foreground and background change places."""

    def head(self, features: Tensor, x: Tensor) -> Tensor:
        return 1 - super().head(features, x)


class Broken(PyTorchEngine):
    """Raises as a runtime without its library does."""

    def features(self, x: Tensor) -> Tensor:
        raise RuntimeError("libsomething.so.9: cannot open\nfurther lines")


def test_every_engine_of_this_machine_is_tested_and_right(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["good"] is True
    tested = {(row["engine"], row["place"], row["precision"]) for row in found["self_test"]}
    assert ("torch", "cpu", "fp32") in tested
    assert tested == {
        (engine["name"], place, precision)
        for engine in found["engines"]
        for place, precisions in engine["places"].items()
        for precision in precisions
        if place != "tensorrt"
    }
    for row in found["self_test"]:
        assert row["seconds"] > 0 and not row["fault"]
        assert row["mean"] <= row["largest"] < (0.0255 if row["precision"] == "fp32" else 256)
    assert found["machine"]["cores"] >= 1 and found["machine"]["processor"]


def test_what_computes_wrongly_or_not_at_all_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place = {"cpu": Place(("fp32",))}
    only(
        monkeypatch,
        torch=Kind(Inverted, "torch", "", place, lambda: ["cpu"]),
        onnxruntime=Kind(Broken, "torch", "", place, lambda: ["cpu"]),
    )
    assert main(["doctor"]) == 1
    text = capsys.readouterr().out
    assert "onnxruntime  cpu       fp32  FAILS: libsomething.so.9: cannot open\n" in text
    inverted = next(line for line in text.splitlines() if line.startswith("  torch        cpu"))
    assert "FAILS: expected errors of at most 0.005 on average and 0.0255, got " in inverted
    assert text.endswith("2 of 2 fail\n")


def test_a_package_that_does_not_load_is_told_and_the_others_are_tested(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "halfway.py").write_text("raise ImportError('libhalf.so: no such file')")
    monkeypatch.syspath_prepend(tmp_path)
    only(
        monkeypatch,
        torch=Kind(PyTorchEngine, "torch", "", {"cpu": PLACES["cpu"]}, lambda: ["cpu"]),
        halfway=Kind(PyTorchEngine, "halfway", "", {"cpu": PLACES["cpu"]}, lambda: ["cpu"]),
    )
    monkeypatch.delitem(sys.modules, "halfway", raising=False)
    assert main(["doctor"]) == 1
    text = capsys.readouterr().out
    assert "  halfway      broken  does not load: libhalf.so: no such file" in text
    assert "  torch        cpu       fp32" in text


def test_what_is_not_installed_has_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, other=Kind(PyTorchEngine, "not_installed", "onnx", PLACES, places_here))
    assert doctor.engines()[0]["mend"] == "pip install 'cheapmatting[onnx]'" and not doctor.engines()[0]["version"]


def test_extras_are_what_the_package_names(monkeypatch: pytest.MonkeyPatch) -> None:
    named = [
        "torch>=2.4",
        'onnxruntime>=1.18; extra == "onnx"',
        'nothing-of-that-name>=1; extra == "onnx"',
        "numpy>=1 ; extra == 'web'",
        'dask[distributed]>=2024.1; python_version > "3.9" and extra == "cluster"',
    ]
    installed = {"onnxruntime-gpu": "1.30.0", "numpy": "2.1", "torch": "2.13"}

    def version(name: str) -> str:
        if name not in installed:
            raise metadata.PackageNotFoundError(name)
        return installed[name]

    monkeypatch.setattr(metadata, "requires", lambda name: named)
    monkeypatch.setattr(metadata, "version", version)
    found = doctor.extras()
    assert found["onnx"] == {
        "versions": {"onnxruntime-gpu": "1.30.0"},
        "missing": ["nothing-of-that-name"],
        "mend": "pip install 'cheapmatting[onnx]'",
    }
    assert found["web"] == {"versions": {"numpy": "2.1"}, "missing": [], "mend": ""}
    assert found["cluster"]["missing"] == ["dask"] and list(found) == ["onnx", "web", "cluster"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="here PyTorch uses the GPU")
def test_an_unused_gpu_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor.unused_gpu(has_driver=False) == ""
    monkeypatch.setattr("torch.version.cuda", None)
    assert "this PyTorch is built without CUDA" in doctor.unused_gpu(has_driver=True)
    monkeypatch.setattr("torch.version.cuda", "12.8")
    assert "built for CUDA 12.8, finds no device" in doctor.unused_gpu(has_driver=True)
