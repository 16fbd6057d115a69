"""`cheapmatting trimap` and `cheapmatting matte` with masks and with folders."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from small import small_network

from cheapmatting.command import main
from cheapmatting.images import read_alpha, read_rgba, write_image
from cheapmatting.masks.trimap_from_mask import trimap_from_mask
from cheapmatting.masks.width import Width
from cheapmatting.model import weights
from cheapmatting.trimap import read_trimap

NETWORK = "--weights model.safetensors --device cpu --engine torch"


def scene() -> tuple[np.ndarray, np.ndarray]:
    """A red disc on green and its mask."""
    mask = np.zeros((64, 80), np.uint8)
    cv2.circle(mask, (40, 32), 18, 255, cv2.FILLED)
    noise = np.random.default_rng(0).normal(0, 8, (64, 80, 3))
    colours = np.where(mask[..., None] > 0, (180, 60, 50), (60, 140, 70)) + noise
    return np.clip(colours, 0, 255).astype(np.uint8), mask


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    weights.save(small_network().eval(), path)
    return path


@pytest.fixture
def here(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a photograph, a mask, a cut-out, a function that makes masks, and weights."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    shutil.copy(model, "model.safetensors")
    image, mask = scene()
    write_image("photo.png", image)
    write_image("mask.png", mask)
    write_image("large.png", np.pad(mask, 8))
    write_image("cutout.png", np.dstack([image, mask]))
    Path("red_masks_for_a_test.py").write_text("def red(image):\n    return image[..., 0] > image[..., 1]\n")
    return tmp_path


def run(arguments: str) -> int:
    return main(arguments.split())


def test_trimaps_of_a_mask_and_of_a_cutout(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run("trimap mask.png --width 6") == 0
    expected = trimap_from_mask(scene()[1], Width(6, percent=False))
    np.testing.assert_array_equal(read_trimap("mask_trimap.png"), expected)
    assert capfd.readouterr().out == f"mask_trimap.png: {(expected == 128).mean():.1%} unknown\n"
    assert run("trimap cutout.png --width 6 -o other.png") == 0
    np.testing.assert_array_equal(read_trimap("other.png"), expected)


@pytest.mark.parametrize(
    "marks", ["--rectangle 15,8,50,50", "--inside 40,32 --outside 4,4", "--mask red_masks_for_a_test:red"]
)
def test_trimaps_of_a_photograph(here: Path, marks: str) -> None:
    assert run(f"trimap photo.png {marks} --width 8 -o trimap.png") == 0
    trimap, mask = read_trimap("trimap.png"), scene()[1]
    assert (mask[trimap == 255] == 255).all() and (mask[trimap == 0] == 0).all()
    assert 0 < (trimap == 128).mean() < 0.3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("trimap nobody.png", "nobody.png: cannot be read"),
        ("trimap photo.png", "photo.png: expected an alpha matte"),
        ("trimap mask.png -o mask.png", "mask.png: expected another file than the input"),
        ("trimap mask.png -o cutout.png", "cutout.png: exists; replace it with --force"),
        ("trimap mask.png -o trimap.jpg", "trimap.jpg: expected a format without loss"),
        ("trimap mask.png --width none", "width: expected pixels such as 20"),
        ("trimap photo.png --inside 3", "--inside: expected a point X,Y in whole pixels, got 3"),
        ("trimap photo.png --inside 3,4 --mask a:b", "--mask: expected a mask or marks"),
        ("trimap mask.png --max-pixels 5119", "mask.png: expected at most 5119 pixels, got 80 x 64 = 5120"),
        ("trimap photo.png --inside 3,4 --max-pixels 99", "photo.png: expected at most 99 pixels"),
        ("matte photo.png --mask large.png --max-pixels 6000 -o out.png", "large.png: expected at most 6000 pixels"),
        ("matte photo.png -o out.png", "expected one of TRIMAP, --trimap and --mask, got none"),
        ("matte photo.png mask.png --mask mask.png -o out.png", "expected one of TRIMAP, --trimap and --mask, got 2"),
        ("matte photo.png mask.png --width 3 -o out.png", "--width: expected --mask beside it"),
        ("matte photo.png mask.png --out out", "--out: expected a folder or a glob of photographs, got photo.png"),
        ("matte . --mask mask.png --out out", "mask.png: expected a folder of masks"),
        ("matte . --trimap nothing --out out", "nothing: expected a folder of trimaps"),
        ("matte . --mask red_masks_for_a_test:red", ".: expected a folder to write to, with --out"),
        ("matte . --mask red_masks_for_a_test:red --out out --workers 0", "--workers: expected 1 or more, got 0"),
    ],
)
def test_misuse_is_one_line(here: Path, arguments: str, message: str, capfd: pytest.CaptureFixture[str]) -> None:
    before = sorted(path.name for path in here.iterdir() if path.name != "__pycache__")
    assert run(f"{arguments} {NETWORK}" if arguments.startswith("matte") else arguments) == 2
    error = capfd.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ") and message in error
    assert sorted(path.name for path in here.iterdir() if path.name != "__pycache__") == before


def test_matte_with_a_mask_is_trimap_and_matte(here: Path) -> None:
    assert run("trimap mask.png --width 8 -o trimap.png") == 0
    assert run(f"matte photo.png trimap.png -o in_two_steps.png {NETWORK}") == 0
    for name, mask in {"file": "mask.png", "function": "red_masks_for_a_test:red"}.items():
        assert run(f"matte photo.png --mask {mask} --width 8 -o {name}.png {NETWORK}") == 0
        assert Path(f"{name}.png").read_bytes() == Path("in_two_steps.png").read_bytes()
    assert run(f"matte photo.png --trimap trimap.png -o with_option.png {NETWORK}") == 0
    assert Path("with_option.png").read_bytes() == Path("in_two_steps.png").read_bytes()


def test_a_folder_of_photographs(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    Path("photos").mkdir()
    Path("masks").mkdir()
    for name in ("two.jpg", "two.png", "one.png", "lonely.png"):
        write_image(f"photos/{name}", scene()[0])
    for name in ("one", "two"):
        shutil.copy("mask.png", f"masks/{name}.png")
    Path("photos/bad.png").write_text("text")
    line = f"matte photos --mask masks --width 8 --out out --workers 2 --alpha {NETWORK}"
    assert run(line) == 1
    captured = capfd.readouterr()
    assert captured.out == "out\n"
    assert captured.err.splitlines()[-3].endswith("3 done, 0 skipped, 2 failed")
    assert captured.err.splitlines()[-1] == "  photos/lonely.png: expected a mask of the same name in masks, got none"
    assert sorted(path.name for path in Path("out").iterdir()) == ["one.png", "two.jpg.png", "two.png.png"]
    alpha = read_alpha("out/one.png")
    known = trimap_from_mask(scene()[1], Width(8, percent=False))
    assert (alpha[known == 255] == 255).all() and (alpha[known == 0] == 0).all()
    assert run(line) == 2
    Path("out/two.jpg.png").unlink()
    assert run(f"{line} --resume") == 1
    assert "1 done, 2 skipped, 2 failed" in capfd.readouterr().err
    assert run(f"matte photos/two.* --mask red_masks_for_a_test:red --out cut {NETWORK}") == 0
    assert read_rgba("cut/two.png.png")[1].shape == (64, 80)
