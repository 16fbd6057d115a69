"""A segmentation network in an ONNX file as a function from photograph to mask (extra `onnx`)."""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from atldas.common.errors import UserError

from ..arrays import Bytes, Floats

# What most segmentation networks are trained with: the means and deviations of ImageNet's colours.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
DYNAMIC_SIDE = 512  # for a file that takes any size and names none


@dataclass(frozen=True)
class OnnxInput:
    """What the network wants. Flags come first, then the file's metadata (`size`, `mean`, `std`, `logits`), then these.

    Attributes:
        size: width and height; None: what the file's input says, or 512 x 512 where it takes any size.
        mean, std: of red, green and blue in 0..1. A network that takes uint8 gets the levels as they are.
        logits: whether the output is before the sigmoid (one channel) or softmax (two channels).
    """

    size: tuple[int, int] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    logits: bool | None = None


class OnnxMask:
    """The network of a file, run by ONNX Runtime on the CPU.

    It has one input: [N, 3, H, W] or [N, H, W, 3], float32 or uint8, red first. Its first output is a mask in 0..1,
    [N, 1, H, W], [N, H, W, 1] or [N, H, W], or two channels of background and foreground. The photograph is
    resized to the input's size, without keeping its aspect, as these networks are trained, and the mask is resized
    back.

    Raises:
        UserError: ONNX Runtime is not installed, or the file is not such a network.
    """

    def __init__(self, path: Path, wanted: OnnxInput | None = None) -> None:
        self.path = path
        self._session = _session(path)
        inputs = self._session.get_inputs()
        if len(inputs) != 1:
            raise UserError(f"{path}: expected a network with one input, got {len(inputs)}")
        self._name, shape = inputs[0].name, inputs[0].shape
        if len(shape) != 4 or 3 not in (shape[1], shape[3]):
            raise UserError(f"{path}: expected an input [N, 3, H, W] or [N, H, W, 3], got {shape}")
        if inputs[0].type not in ("tensor(float)", "tensor(uint8)"):
            raise UserError(f"{path}: expected an input of float32 or uint8, got {inputs[0].type}")
        self._bytes = inputs[0].type == "tensor(uint8)"
        self._channels_first = shape[1] == 3
        settings = _settings(path, self._session.get_modelmeta().custom_metadata_map, wanted or OnnxInput())
        height, width = shape[2:] if self._channels_first else shape[1:3]
        fixed = (width, height) if isinstance(width, int) and isinstance(height, int) else None
        self._size = settings.size or fixed or (DYNAMIC_SIDE, DYNAMIC_SIDE)
        if fixed and fixed != self._size:
            raise UserError(
                f"{path}: expected its own input size {width}x{height}, got {self._size[0]}x{self._size[1]}"
            )
        self._mean, self._std = (np.array(three, np.float32) for three in (settings.mean or MEAN, settings.std or STD))
        self._logits = bool(settings.logits)

    def __call__(self, image: Bytes) -> Bytes:
        """The mask uint8 [H, W] of a photograph uint8 RGB [H, W, 3].

        Raises:
            UserError: the network fails, or answers with another shape or other values than it should.
        """
        pixels = cv2.resize(image, self._size, interpolation=cv2.INTER_AREA)
        values = pixels if self._bytes else (pixels / np.float32(255) - self._mean) / self._std
        batch = (values.transpose(2, 0, 1) if self._channels_first else values)[None]
        try:
            answer = np.asarray(self._session.run(None, {self._name: np.ascontiguousarray(batch)})[0])
        except Exception as error:  # ONNX Runtime's own exceptions have no common class
            raise UserError(f"{self.path}: the network failed on {batch.shape} ({_line(error)})") from error
        shares = self._shares(answer)
        height, width = image.shape[:2]
        whole = cv2.resize(shares, (width, height), interpolation=cv2.INTER_LINEAR)
        return np.rint(np.clip(whole, 0, 1) * 255).astype(np.uint8)

    def _shares(self, answer: Any) -> Floats:
        """The network's answer as the foreground's share, float32 [h, w] in 0..1."""
        channels = answer[0]
        if channels.ndim == 3 and 1 in (channels.shape[0], channels.shape[2]):
            channels = channels[0] if channels.shape[0] == 1 else channels[..., 0]
        if channels.ndim == 3 and channels.shape[0] == 2:
            channels = channels[1] - channels[0] if self._logits else channels[1]
        if answer.shape[0] != 1 or channels.ndim != 2:
            raise UserError(f"{self.path}: expected a mask [1, 1, H, W] or [1, 2, H, W], got {list(answer.shape)}")
        shares = channels.astype(np.float32)
        if self._logits:
            shares = np.float32(0.5) * (np.tanh(shares / 2) + np.float32(1))  # the sigmoid, without overflow
        low, high = float(shares.min()), float(shares.max())
        if not (low >= -1e-3 and high <= 1.001):
            raise UserError(
                f"{self.path}: expected a mask in 0..1, got {low:.3g}..{high:.3g}; --mask-logits is for a network that "
                "leaves out the sigmoid"
            )
        return shares


def _session(path: Path) -> Any:
    if importlib.util.find_spec("onnxruntime") is None:
        raise UserError(f'{path}: expected ONNX Runtime to be installed: pip install "cheapmatting[onnx]"')
    onnxruntime = importlib.import_module("onnxruntime")  # an extra
    if not path.is_file():
        raise UserError(f"{path}: cannot be read (no such file)")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors alone, which become ours
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's own exceptions have no common class
        raise UserError(
            f"{path}: expected an ONNX network, got a file that cannot be loaded ({_line(error)})"
        ) from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:150]


def _settings(path: Path, metadata: dict[str, str], wanted: OnnxInput) -> OnnxInput:
    """`wanted`, and what it leaves open from the file's metadata."""
    logits = metadata.get("logits")
    if logits not in (None, "true", "false"):
        raise UserError(f"{path}: metadata logits: expected true or false, got {logits}")
    return OnnxInput(
        wanted.size or (parse_size(metadata["size"], f"{path}: metadata size") if "size" in metadata else None),
        wanted.mean or (parse_three(metadata["mean"], f"{path}: metadata mean") if "mean" in metadata else None),
        wanted.std or (parse_three(metadata["std"], f"{path}: metadata std") if "std" in metadata else None),
        wanted.logits if wanted.logits is not None else logits == "true",
    )


def parse_size(text: str, name: str) -> tuple[int, int]:
    """`320` or `320x240` as width and height; UserError, which says `name`, for anything else."""
    parts = text.lower().split("x")
    if len(parts) not in (1, 2) or not all(
        part.isascii() and part.isdigit() and 0 < int(part) < 10**5 for part in parts
    ):
        raise UserError(f"{name}: expected a side or WIDTHxHEIGHT, got {text[:20]}")
    return int(parts[0]), int(parts[-1])


def parse_three(text: str, name: str) -> tuple[float, ...]:
    """`0.5,0.5,0.5`, or one number for all three; UserError, which says `name`, for anything else."""
    try:
        numbers = tuple(float(part) for part in text.strip("[]() ").split(","))
    except ValueError:
        numbers = ()
    if len(numbers) not in (1, 3) or not np.isfinite(numbers).all():
        raise UserError(f"{name}: expected three numbers R,G,B or one, got {text[:40]}")
    return numbers if len(numbers) == 3 else numbers * 3
