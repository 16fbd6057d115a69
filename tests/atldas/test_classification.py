"""The example task: the network's shapes, batches that are functions of their number, faults of folders."""

from __future__ import annotations

import shutil
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from toy import image_folder

from atldas.builder import FixedBuilder
from atldas.classification import ImageClassifier, ImageFolderOptions, ImageFolderTask, Labelled
from atldas.common.config import from_dict
from atldas.common.errors import UserError
from atldas.cost_tables import mac_tables
from atldas.genotype import Genotype
from atldas.space import Space
from atldas.supernet import Supernet

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return image_folder(tmp_path_factory.mktemp("images") / "stripes")


def task(folder: Path, **options: Any) -> ImageFolderTask:
    settings = {"folder": str(folder), "image_size": 16, "channels": 4, "depth": 3, "batch": 4, **options}
    return ImageFolderTask(ImageFolderOptions(**settings), 0, CPU)


def test_sizes_inside_the_classifier() -> None:
    network = ImageClassifier(FixedBuilder(Genotype.load("cheapmatting")), 4, 6, 5)
    shapes = []
    for cell in network.cells:
        cell.register_forward_hook(lambda module, inputs, output: shapes.append(tuple(output.shape[1:])))
    assert network(torch.randn(2, 3, 17, 16)).shape == (2, 5)
    assert [cell.place.kind for cell in network.cells] == ["normal", "normal", "reduce", "normal", "reduce", "normal"]
    assert shapes == [(16, 17, 16), (16, 17, 16), (32, 9, 8), (32, 9, 8), (64, 5, 4), (64, 5, 4)]


@pytest.mark.parametrize("depth", [3, 4, 5])
def test_every_depth_runs(depth: int) -> None:
    network = ImageClassifier(FixedBuilder(Genotype.load("cheapmatting")), 3, depth, 2)
    assert network(torch.randn(1, 3, 9, 12)).shape == (1, 2)


def test_a_space_of_one_input_and_one_kind(folder: Path) -> None:
    chain = task(folder, inputs=1, reduce_kind="normal")
    supernet = Supernet(Space.load("nasbench201"), chain.build)
    costs = mac_tables(supernet, chain.input_shape)
    assert supernet(torch.randn(2, 3, 16, 16)).shape == (2, 2)
    assert len(costs.factors) == 6 and costs.constant > 0
    assert chain.network_section() == {
        "skeleton": "darts", "channels": 4, "depth": 3, "classes": 2, "inputs": 1, "reduce_kind": "normal",
    }  # fmt: skip


def equal(a: Labelled, b: Labelled) -> bool:
    return torch.equal(a.images, b.images) and torch.equal(a.labels, b.labels)


@pytest.mark.parametrize("half", ["training_batches", "held_out_batches"])
def test_a_batch_is_a_function_of_seed_and_number(folder: Path, half: str) -> None:
    batches = list(islice(getattr(task(folder), half)(0), 9))
    again = list(islice(getattr(task(folder), half)(4), 5))
    assert all(equal(a, b) for a, b in zip(batches[4:], again, strict=True))
    other = ImageFolderTask(task(folder).options, 1, CPU)
    assert not equal(batches[0], next(getattr(other, half)(0)))
    assert not equal(batches[0], batches[3])


def test_batches_have_the_promised_form(folder: Path) -> None:
    batch = next(task(folder).training_batches(0))
    assert batch.images.shape == (4, 3, 16, 16) and batch.images.dtype == torch.float32
    assert batch.labels.dtype == torch.int64 and set(batch.labels.tolist()) <= {0, 1}
    assert -1.0 <= float(batch.images.min()) < 0 < float(batch.images.max()) <= 1.0
    assert batch.images.is_contiguous(memory_format=torch.channels_last)


def test_the_three_parts_share_no_image_and_an_epoch_holds_each_once(tmp_path: Path) -> None:
    for label in range(2):
        (tmp_path / str(label)).mkdir()
        for number in range(8):
            shade = np.full((8, 8, 3), 16 * (8 * label + number), np.uint8)
            cv2.imwrite(str(tmp_path / str(label) / f"{number}.png"), shade)
    made = task(tmp_path, image_size=8, batch=4, held_out_share=0.25, measured_share=0.25)

    def shades(batches: Any, count: int = 2) -> list[tuple[int, int]]:
        found = []
        for batch in islice(batches, count):
            greys = ((batch.images[:, 0, 0, 0] + 1) * 127.5 / 16).round().int().tolist()
            found += list(zip(greys, batch.labels.tolist(), strict=True))
        return found

    training, held_out = shades(made.training_batches(0)), shades(made.held_out_batches(0), 1)
    seen: list[Tensor] = []

    class Sees(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(((x[:, 0, 0, 0] + 1) * 127.5 / 16).round().int())
            return torch.zeros(len(x), 2)

    made.measure(Sees())
    measured = torch.cat(seen).tolist()
    assert sorted([grey for grey, _ in training + held_out] + measured) == list(range(16))
    assert all(label == grey // 8 for grey, label in training + held_out)
    assert sorted(shades(made.training_batches(2))) == sorted(training) and shades(made.training_batches(2)) != training


class Knows(nn.Module):
    """Tells level from upright stripes by which way the image changes."""

    def forward(self, x: Tensor) -> Tensor:
        level, upright = x.diff(dim=2).abs().mean((1, 2, 3)), x.diff(dim=3).abs().mean((1, 2, 3))
        return torch.stack([level, upright], dim=1)


def test_accuracy(folder: Path) -> None:
    made = task(folder)
    assert made.classes == ["level", "upright"]
    assert made.measure(Knows()) == 1.0
    wrong = nn.Sequential(Knows(), nn.Linear(2, 2, bias=False))
    with torch.no_grad():
        wrong[1].weight.copy_(torch.tensor([[0.0, 1.0], [1.0, 0.0]]))
    assert made.measure(wrong) == 0.0
    assert float(made.loss(Knows(), next(made.held_out_batches(0)))) < 0.7


def test_images_of_other_sizes_and_kinds_are_taken(tmp_path: Path) -> None:
    for label, name in ((0, "a.png"), (0, "b.PNG"), (1, "c.jpg"), (1, "d.bmp")):
        (tmp_path / str(label)).mkdir(exist_ok=True)
        image = np.full((20, 9 + label), 255, np.uint16 if name == "a.png" else np.uint8)
        cv2.imwrite(str(tmp_path / str(label) / name), image)
    (tmp_path / "0" / "notes.txt").write_text("not an image")
    (tmp_path / "0" / "folder.png").mkdir()
    (tmp_path / "empty").mkdir()
    made = task(tmp_path, image_size=8, batch=2, held_out_share=0, measured_share=0.25)
    assert made.classes == ["0", "1"]
    assert next(made.training_batches(0)).images.shape == (2, 3, 8, 8)


def test_faults_of_a_folder_are_named(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(UserError, match="absent: expected a folder with one folder of images per class, got none"):
        task(tmp_path / "absent")
    with pytest.raises(UserError, match="expected 2 or more folders with images, one per class, got 0"):
        task(tmp_path)
    with pytest.raises(UserError, match=r"expected a batch of 13 or more images in each .* got 24 images"):
        task(folder, batch=13)
    with pytest.raises(UserError, match=r"expected a batch of 4 or more images in each .* got 24 images"):
        task(folder, held_out_share=0.9)


@pytest.mark.parametrize("content", [b"", b"no image"])
def test_an_image_that_cannot_be_read_is_skipped_with_one_warning(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    stripes = image_folder(tmp_path / "stripes")
    before = [list(islice(b(0), 6)) for b in (task(stripes).training_batches, task(stripes).held_out_batches)]
    (stripes / "level" / "3.png").write_bytes(content)
    made = task(stripes)
    for whole, batches in zip(before, (made.training_batches, made.held_out_batches), strict=True):
        rest = list(islice(batches(0), 6))  # two epochs or more
        assert all(batch.images.shape == (4, 3, 16, 16) for batch in rest)
        differing = sum(not torch.equal(a.images, b.images) for a, b in zip(whole, rest, strict=True))
        assert differing <= 3  # the damaged image is in one part, at most once in an epoch
    assert made.measure(Knows()) == 1.0
    assert caplog.messages == [f"skipped, because it cannot be read as an image: {stripes / 'level' / '3.png'}"]


def test_too_few_images_that_can_be_read(tmp_path: Path) -> None:
    stripes = image_folder(tmp_path / "stripes")
    for path in stripes.rglob("*.png"):
        path.write_bytes(b"no image")
    with pytest.raises(UserError, match=r"expected 4 or more images that can be read in each .* got 0"):
        next(task(stripes).training_batches(0))


def test_hidden_folders_and_files_are_no_classes(tmp_path: Path) -> None:
    stripes = image_folder(tmp_path / "stripes")
    shutil.copytree(stripes / "level", stripes / ".thumbnails")
    (stripes / "level" / "._0.png").write_bytes(b"of another system")
    made = task(stripes)
    assert made.classes == ["level", "upright"] and made.network_section()["classes"] == 2
    assert len(made._paths) == 24


@pytest.mark.parametrize("options", [{"inputs": 3}, {"batch": 1}, {"held_out_share": 1.0}, {"depth": 0},
                                     {"depth": 10**6}, {"channels": 10**9}, {"image_size": 10**5},
                                     {"batch": 10**9}, {}])  # fmt: skip
def test_options_are_checked(options: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"e\.yaml: task_options\."):
        from_dict(ImageFolderOptions, {"folder": "x", **options} if options else {}, "e.yaml", at="task_options")
