"""Masks from functions and networks."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from atldas.common.errors import UserError
from cheapmatting.masks.makers import checked, is_mask_maker, mask_maker

RED = np.zeros((40, 60, 3), np.uint8)
RED[10:30, 20:50, 0] = 255
TRUTH = RED[..., 0] > 0


def test_what_names_a_maker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("here.png").touch()
    Path("odd:name").touch()
    makers = ["net.onnx", "NET.ONNX", "module:function", "a.b:c", "rembg", "rembg:isnet-general-use"]
    assert all(map(is_mask_maker, makers))
    assert not any(map(is_mask_maker, ["mask.png", "here.png", "odd:name", "masks/", "folder"]))


@pytest.mark.parametrize("answer", [TRUTH, TRUTH.astype(np.float32), TRUTH[..., None], TRUTH.astype(np.uint8) * 255])
def test_answers_of_a_function_become_levels(answer: np.ndarray) -> None:
    mask = checked(lambda image: answer, "mine")(RED)
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask, np.where(TRUTH, 255, 0))


@pytest.mark.parametrize("answer", [TRUTH[:-1], TRUTH * 2.0, TRUTH.astype(np.int64), None, np.full((40, 60), np.nan)])
def test_other_answers_are_refused(answer: Any) -> None:
    with pytest.raises(UserError, match="mine: expected a mask"):
        checked(lambda image: answer, "mine")(RED)


def test_a_function_may_write_into_its_argument() -> None:
    def greedy(image: np.ndarray) -> np.ndarray:
        image[:] = 0
        return TRUTH

    before = RED.copy()
    checked(greedy, "mine")(RED)
    np.testing.assert_array_equal(RED, before)


def test_a_function_is_imported_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_masks_for_a_test.py").write_text("def red(image):\n    return image[..., 0] > 128\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    np.testing.assert_array_equal(mask_maker("my_masks_for_a_test:red")(RED) > 0, TRUTH)
    with pytest.raises(UserError, match="but it has no blue"):
        mask_maker("my_masks_for_a_test:blue")
    with pytest.raises(UserError, match="but there is no no_such_module"):
        mask_maker("no_such_module:red")


def test_rembg_is_called_with_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    sessions: list[str] = []

    def new_session(model: str = "u2net") -> str:
        if model == "nothing":
            raise ValueError("no such model")
        sessions.append(model)
        return model

    rembg: Any = ModuleType("rembg")
    rembg.__spec__ = True  # find_spec asks for one
    rembg.new_session = new_session
    rembg.remove = lambda image, session, only_mask: np.where(TRUTH, 255, 0).astype(np.uint8)
    monkeypatch.setitem(sys.modules, "rembg", rembg)
    for name in ("rembg", "rembg:isnet"):
        np.testing.assert_array_equal(mask_maker(name)(RED) > 0, TRUTH)
    assert sessions == ["u2net", "isnet"]
    with pytest.raises(UserError, match="rembg:nothing: expected a model of rembg"):
        mask_maker("rembg:nothing")


def test_without_rembg_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rembg", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r'pip install "rembg\[cpu\]"'):
        mask_maker("rembg")
