"""Image classification on an image folder: the example of a task, and the usual benchmark of the field.

    task: atldas.classification:ImageFolderTask
    task_options: {folder: data/cifar10/train, image_size: 32}

The folder holds one folder per class, with images of any size in it. Hidden files and folders, whose names begin with
a dot, are left out; so is, with a warning, an image that cannot be read.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Hashable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import torch
from annotated_types import Ge, Le, Lt
from torch import Tensor, nn
from torch.nn import functional as F

from .builder import Builder, FixedBuilder
from .cell_chain import cell_chain
from .common.config import FilePath, config, from_dict
from .common.errors import UserError
from .genotype import Genotype
from .nasbench201 import Nasbench201Network, canonical
from .widths import Channels

log = logging.getLogger(__name__)
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")


class ImageClassifier(nn.Module):
    """The DARTS network for small images: a 3x3 stem, a chain of cells, global pooling, a linear layer.

    [N, 3, H, W] -> logits [N, classes]. The cells at one and two thirds of the depth halve the size and double the
    channels; the others are of the kind `normal`.

    Args:
        builder: makes the cells.
        channels: channels of a node in the first cells.
        depth: how many cells.
        classes: how many classes.
        inputs: how many inputs each cell reads (2: the last two cells' outputs, 1: the last one's).
        reduce_kind: the kind of the cells that halve the size: `normal` for a space that has no other.
    """

    def __init__(
        self,
        builder: Builder,
        channels: int,
        depth: int,
        classes: int,
        inputs: int = 2,
        reduce_kind: str = "reduce",
    ) -> None:
        super().__init__()
        stem = 3 * channels
        self.stem = nn.Sequential(nn.Conv2d(3, stem, 3, padding=1, bias=False), nn.BatchNorm2d(stem))
        self.inputs = inputs
        thirds = (depth // 3, 2 * depth // 3)
        cells = cell_chain(builder, stem, stem, channels, depth, thirds, inputs, reduce_kind)
        self.cells = nn.ModuleList(cells)
        last: Channels = cells[-1].out_channels
        self.classifier = builder.sized(lambda c: nn.Linear(c, classes), last)

    def forward(self, x: Tensor) -> Tensor:
        before = state = self.stem(x)
        for cell in self.cells:
            before, state = state, cell(*(before, state)[-self.inputs :])
        pooled = state.mean(dim=(2, 3))  # [N, C]
        logits: Tensor = self.classifier(pooled)
        return logits


@config
class ClassifierConfig:
    """The `network:` section of a genotype for classification; the fields are those of `ImageFolderOptions`."""

    skeleton: Literal["darts", "nasbench201"] = "darts"
    channels: Annotated[int, Ge(2), Le(1024)] = 16
    depth: Annotated[int, Ge(1), Le(200)] = 8
    classes: Annotated[int, Ge(2)] = 10
    inputs: Annotated[int, Ge(1), Le(2)] = 2
    reduce_kind: str = "reduce"

    def build(self, builder: Builder) -> nn.Module:
        """The network around the cells that `builder` makes."""
        if self.skeleton == "nasbench201":
            return Nasbench201Network(builder, self.channels, self.depth, self.classes)
        return ImageClassifier(builder, self.channels, self.depth, self.classes, self.inputs, self.reduce_kind)


class Labelled(NamedTuple):
    """A batch of images float32 [N, 3, H, W], standardised, and class numbers int64 [N]."""

    images: Tensor
    labels: Tensor


@config
class ImageFolderOptions:
    """Options of `ImageFolderTask`.

    Attributes:
        folder: one folder of images per class.
        image_size: every image is resized to this many pixels a side, at most 2048.
        skeleton: the network around the cells: `darts` (`ImageClassifier`) or `nasbench201`.
        channels: of a node in the first cells, at most 1024.
        depth: how many cells, at most 200; with `nasbench201`, how many in each of the three stages.
        inputs, reduce_kind: of the skeleton `darts`.
        batch: images per batch.
        held_out_share: the share of the images that moves the logits; 0 where nothing is searched.
        measured_share: the share on which the final choice is made; all other images train weights.
        measured: how many images of that share the metric is computed on (all, if there are fewer).
        test_folder: as `folder`, with images for the last figure of `atldas train`; no search looks at them.
        shift: in training, images move by up to this share of their size.
        cutout: in training, a square with this side in pixels becomes 0 (DeVries and Taylor, 2017); DARTS has 16.
        label_smoothing: of the loss (Szegedy et al., CVPR 2016).
        metric: `accuracy`, in 0..1, or `loss`, the mean cross-entropy in nats, which tells barely trained networks
            apart with fewer images.
    """

    folder: FilePath
    image_size: Annotated[int, Ge(8), Le(2048)] = 32
    skeleton: Literal["darts", "nasbench201"] = "darts"
    channels: Annotated[int, Ge(2), Le(1024)] = 16
    depth: Annotated[int, Ge(1), Le(200)] = 8
    inputs: Annotated[int, Ge(1), Le(2)] = 2
    reduce_kind: str = "reduce"
    batch: Annotated[int, Ge(2), Le(65536)] = 64
    held_out_share: Annotated[float, Ge(0), Lt(1)] = 0.4
    measured_share: Annotated[float, Ge(0), Lt(1)] = 0.1
    measured: Annotated[int, Ge(1)] = 2000
    test_folder: str | None = None
    shift: Annotated[float, Ge(0), Le(0.5)] = 0.125
    cutout: Annotated[int, Ge(0)] = 0
    label_smoothing: Annotated[float, Ge(0), Lt(1)] = 0.0
    metric: Literal["accuracy", "loss"] = "accuracy"


class ImageFolderTask:
    """Fulfils `atldas.task.Task`."""

    Options = ImageFolderOptions
    metric: str = "accuracy"
    larger_is_better = True
    input_shape: tuple[int, ...] = (1, 3, 32, 32)

    def __init__(self, options: ImageFolderOptions, seed: int, device: torch.device) -> None:
        self.options, self.seed, self.device = options, seed, device
        self.metric, self.larger_is_better = options.metric, options.metric == "accuracy"
        self.input_shape = (1, 3, options.image_size, options.image_size)
        files = _files_by_class(Path(options.folder))
        self.classes = list(files)
        self._paths = [path for paths in files.values() for path in paths]
        self._labels = np.repeat(np.arange(len(files)), [len(paths) for paths in files.values()])
        # Decoded once: a folder of small images fits in memory. None: cannot be read.
        self._images: dict[int, npt.NDArray[np.uint8] | None] = {}
        order = np.random.default_rng([seed, 0]).permutation(len(self._paths))
        held_out, measured = (
            max(1, round(share * len(order))) if share else 0
            for share in (options.held_out_share, options.measured_share)
        )
        if 0 < held_out < options.batch or len(order) - held_out - measured < options.batch:
            raise UserError(
                f"{options.folder}: expected a batch of {options.batch} or more images in each of the training and "
                f"held-out parts, got {len(order)} images in all; lower task_options.batch or add images"
            )
        # Three disjoint parts: for weights, for logits, for the final choice.
        self._held_out, self._measured, self._training = np.split(order, [held_out, held_out + measured])
        if options.test_folder:
            self._add_test_images(Path(options.test_folder))

    def _add_test_images(self, folder: Path) -> None:
        files = _files_by_class(folder)
        if list(files) != self.classes:
            raise UserError(f"{folder}: expected the classes {', '.join(self.classes)}, got {', '.join(files)}")
        before = len(self._paths)
        self._paths += [path for paths in files.values() for path in paths]
        labels = np.repeat(np.arange(len(files)), [len(paths) for paths in files.values()])
        self._labels = np.concatenate([self._labels, labels])
        self._test = np.arange(before, len(self._paths))

    def build(self, builder: Builder) -> nn.Module:
        return ClassifierConfig(**self.network_section()).build(builder)

    @staticmethod
    def network_of(genotype: Genotype, builder: Builder | None = None) -> nn.Module:
        """The network of a genotype with a `network:` section, without data."""
        section = from_dict(ClassifierConfig, genotype.network_dict(), f"genotype {genotype.name}", at="network")
        return section.build(builder or FixedBuilder(genotype))

    def identity(self, child: Genotype) -> Hashable:
        """Equal for children that compute the same function; with `darts`, only for equal children."""
        return canonical(child.cells["normal"]) if self.options.skeleton == "nasbench201" else child

    def network_section(self) -> dict[str, Any]:
        options = self.options
        return {
            "skeleton": options.skeleton,
            "channels": options.channels,
            "depth": options.depth,
            "classes": len(self.classes),
            "inputs": options.inputs,
            "reduce_kind": options.reduce_kind,
        }

    def training_batches(self, start: int) -> Iterator[Labelled]:
        return self._batches(self._training, start, stream=1)

    def held_out_batches(self, start: int) -> Iterator[Labelled]:
        return self._batches(self._held_out, start, stream=2)

    def loss(self, network: nn.Module, batch: Labelled) -> Tensor:
        return F.cross_entropy(
            network(batch.images).float(), batch.labels, label_smoothing=self.options.label_smoothing
        )

    def measure(self, network: nn.Module) -> float:
        return self._metric(network, self._measured[: self.options.measured])

    def test(self, network: nn.Module) -> float:
        """The metric on the test folder, or, without one, as `measure`."""
        return self._metric(network, self._test) if self.options.test_folder else self.measure(network)

    @torch.no_grad()
    def _metric(self, network: nn.Module, chosen: npt.NDArray[np.int64]) -> float:
        if not len(chosen):
            raise UserError("task_options.measured_share: expected more than 0 where something is measured, got 0")
        chosen = self._readable(chosen)
        total = 0.0
        for first in range(0, len(chosen), self.options.batch):
            batch = self._load(chosen[first : first + self.options.batch], None)
            logits = network(batch.images).float()
            right = (logits.argmax(dim=1) == batch.labels).sum()
            total += float(
                right if self.metric == "accuracy" else F.cross_entropy(logits, batch.labels, reduction="sum")
            )
        return total / len(chosen)

    def _batches(self, indices: npt.NDArray[np.int64], start: int, stream: int) -> Iterator[Labelled]:
        per_epoch = len(indices) // self.options.batch
        if not per_epoch:
            raise UserError("task_options.held_out_share: expected more than 0 where something is searched, got 0")
        number = start
        while True:
            epoch, position = divmod(number, per_epoch)
            order = np.random.default_rng([self.seed, stream, epoch]).permutation(indices)
            rng = np.random.default_rng([self.seed, stream, epoch, position])
            # An image that cannot be read is replaced by one of a later batch.
            yield self._load(self._readable(np.roll(order, -position * self.options.batch), self.options.batch), rng)
            number += 1

    def _readable(self, indices: npt.NDArray[np.int64], count: int | None = None) -> npt.NDArray[np.int64]:
        """The first `count` of the images that can be read; None: all of them."""
        readable = (index for index in indices if self._image(int(index)) is not None)
        found = np.array(list(itertools.islice(readable, count)), np.int64)
        if len(found) < (count or 1):
            raise UserError(
                f"{self.options.folder}: expected {count or 1} or more images that can be read in each part of the "
                f"data, got {len(found)}; the warnings name those that cannot be read"
            )
        return found

    def _load(self, indices: npt.NDArray[np.int64], rng: np.random.Generator | None) -> Labelled:
        """The images, cropped, flipped and cut out at random if there is an `rng`."""
        read = [self._images[index] for index in indices.tolist()]
        stack = np.stack([image for image in read if image is not None])  # [N, H, W, 3]; `_readable` left out None
        if rng is not None:
            stack = _augmented(stack, rng, int(self.options.shift * self.options.image_size))
        images = torch.from_numpy(stack).to(self.device).permute(0, 3, 1, 2)  # channels_last in memory
        images = images.float() / 127.5 - 1.0
        if rng is not None and self.options.cutout:
            images = images * _holes(rng, len(images), self.options.image_size, self.options.cutout).to(self.device)
        return Labelled(images, torch.from_numpy(self._labels[indices]).to(self.device))

    def _image(self, index: int) -> npt.NDArray[np.uint8] | None:
        """An image [image_size, image_size, 3], RGB; None, after one warning, if the file cannot be read."""
        if index not in self._images:
            self._images[index] = image = _read(self._paths[index], self.options.image_size)
            if image is None:
                log.warning("skipped, because it cannot be read as an image: %s", self._paths[index])
        return self._images[index]


def _read(path: Path, size: int) -> npt.NDArray[np.uint8] | None:
    """An image file as uint8 RGB [size, size, 3], or None."""
    try:
        content = np.fromfile(path, np.uint8)
    except OSError:
        return None
    image = cv2.imdecode(content, cv2.IMREAD_COLOR) if len(content) else None
    if image is None:
        return None
    if image.shape[:2] != (size, size):
        image = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)
    return image[:, :, ::-1].astype(np.uint8)


def _files_by_class(folder: Path) -> dict[str, list[Path]]:
    if not folder.is_dir():
        raise UserError(f"{folder}: expected a folder with one folder of images per class, got none")
    files = {
        entry.name: sorted(path for path in entry.iterdir() if _is_image(path))
        for entry in sorted(folder.iterdir())
        if entry.is_dir() and not entry.name.startswith(".")
    }
    files = {name: paths for name, paths in files.items() if paths}
    if len(files) < 2:
        raise UserError(f"{folder}: expected 2 or more folders with images, one per class, got {len(files)}")
    return files


def _holes(rng: np.random.Generator, count: int, size: int, side: int) -> Tensor:
    """0 in a square around a random pixel of each image, where it lies within the image; else 1. [N, 1, H, W]"""
    first = torch.from_numpy(rng.integers(0, size, (2, count, 1))) - side // 2  # [row or column, N, 1]
    inside = (torch.arange(size) >= first) & (torch.arange(size) < first + side)  # [2, N, size]
    return 1.0 - (inside[0, :, :, None] & inside[1, :, None, :])[:, None].float()


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".") and path.is_file()


def _augmented(stack: npt.NDArray[np.uint8], rng: np.random.Generator, reach: int) -> npt.NDArray[np.uint8]:
    """Shift by up to `reach` pixels (edges mirrored) and flip, each image by itself."""
    N, H, W, _ = stack.shape
    padded = np.pad(stack, ((0, 0), (reach, reach), (reach, reach), (0, 0)), mode="reflect")
    corners = rng.integers(0, 2 * reach + 1, (2, N)).T.tolist()
    flipped = rng.integers(0, 2, N).astype(bool)
    out = np.empty_like(stack)
    for n, (top, left) in enumerate(corners):
        image = padded[n, top : top + H, left : left + W]
        out[n] = image[:, ::-1] if flipped[n] else image
    return out
