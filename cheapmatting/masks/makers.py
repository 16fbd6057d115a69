"""What `--mask` names: anything that makes the mask of a photograph."""

from __future__ import annotations

import importlib
import importlib.util
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from atldas.common.errors import UserError

from ..arrays import Bytes
from .onnx_file import OnnxInput, OnnxMask

MaskMaker: TypeAlias = Callable[[Bytes], Bytes]  # RGB uint8 [H, W, 3] -> mask uint8 [H, W]
KINDS = "a mask's file, FILE.onnx, module:function, or rembg[:MODEL]"


def is_mask_maker(text: str) -> bool:
    """Whether `--mask` names something that makes masks, and not a mask's file or a folder of masks."""
    if Path(text).exists():
        return Path(text).suffix.lower() == ".onnx"
    return text.lower().endswith(".onnx") or text == "rembg" or re.fullmatch(r"[\w.]+:[\w.-]+", text) is not None


def mask_maker(text: str, onnx_input: OnnxInput | None = None) -> MaskMaker:
    """The function that `--mask` names.

    Raises:
        UserError: it names none, or what it needs is not installed.
    """
    if text.lower().endswith(".onnx"):
        return OnnxMask(Path(text), onnx_input)
    module, _, name = text.partition(":")
    return rembg_mask(name) if module == "rembg" else checked(_imported(module, name), text)


def checked(function: Callable[[Bytes], Any], name: str) -> MaskMaker:
    """`function` with its answer as uint8 [H, W]: it may be uint8, bool or floating in 0..1, [H, W] or [H, W, 1].

    The mask maker raises UserError for other answers. What the function itself raises is left alone, for its author.
    """

    def make(image: Bytes) -> Bytes:
        answer = function(image.copy())  # it may write into its argument
        mask = np.asarray(answer)
        mask = mask[..., 0] if mask.ndim == 3 and mask.shape[2] == 1 else mask
        if mask.shape != image.shape[:2]:
            raise UserError(f"{name}: expected a mask {list(image.shape[:2])}, got {list(mask.shape)}")
        if mask.dtype == np.bool_:
            return mask.astype(np.uint8) * np.uint8(255)
        if np.issubdtype(mask.dtype, np.floating) and mask.min() >= 0 and mask.max() <= 1:
            return np.rint(mask * 255).astype(np.uint8)
        if mask.dtype != np.uint8:
            raise UserError(f"{name}: expected a mask of uint8, bool or floating in 0..1, got {_described(mask)}")
        return mask

    return make


def _described(mask: Any) -> str:
    return f"{mask.dtype} of {mask.min()}..{mask.max()}" if mask.size else str(mask.dtype)


def _imported(module: str, name: str) -> Callable[[Bytes], Any]:
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise UserError(f"--mask {module}:{name}: expected a module, but there is no {error.name}") from error
    function = getattr(found, name, None)
    if not callable(function):
        raise UserError(f"--mask {module}:{name}: expected a function of {module}, but it has no {name}")
    return function  # type: ignore[no-any-return]


def rembg_mask(model: str) -> MaskMaker:
    """A network of rembg (https://github.com/danielgatis/rembg), which downloads its weights when they are first used.

    Raises:
        UserError: rembg is not installed, or has no such model.
    """
    if importlib.util.find_spec("rembg") is None:
        raise UserError('--mask rembg: expected rembg to be installed: pip install "rembg[cpu]"')
    rembg = importlib.import_module("rembg")
    try:
        session = rembg.new_session(model) if model else rembg.new_session()
    except ValueError as error:
        raise UserError(f"--mask rembg:{model}: expected a model of rembg, got {model} ({error})") from error
    return checked(lambda image: rembg.remove(image, session=session, only_mask=True), "rembg")
