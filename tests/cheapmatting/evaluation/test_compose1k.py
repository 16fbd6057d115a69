"""Composition-1K on a miniature of Adobe's data set, with pixels worked out by hand."""

import argparse
import hashlib
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from atldas.common.errors import UserError
from cheapmatting.data.augment import PLAIN
from cheapmatting.data.image_folder import image_files
from cheapmatting.evaluation.compose1k import (
    COLUMNS,
    MANIFEST,
    add_arguments,
    build_test_set,
    compose,
    covering,
    pairs_for_testing,
    pairs_for_training,
    read_first_channel,
    read_manifest,
    run,
    write_training_list,
)

FOREGROUNDS = ("zebra.png", "ant_o.png")  # their order is not that of the alphabet


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(path)


@pytest.fixture
def adobe(tmp_path) -> Path:
    """Two test foregrounds of 6 x 4 pixels, 40 backgrounds in voc/; three training foregrounds, 300 in coco/."""
    root = tmp_path / "Combined_Dataset"
    rng = np.random.default_rng(0)
    test = root / "Test_set" / "Adobe-licensed images"
    for name in FOREGROUNDS:
        alpha = np.array([0, 255, 128, 1, 254, 51], np.uint8)[None].repeat(4, axis=0)
        save(test / "fg" / name, rng.integers(0, 256, (4, 6, 3)))
        save(test / "alpha" / name, np.dstack([alpha, 255 - alpha, alpha * 0]))  # only the first channel counts
        for i in range(20):
            save(test / "trimaps" / f"{Path(name).stem}_{i}.png", np.full((4, 6), 128))
    backgrounds = [f"2008_{number:06}.png" for number in rng.permutation(40)]
    for name in backgrounds:
        save(tmp_path / "voc" / name, rng.integers(0, 256, (5, 9, 3)))
    (root / "Test_set" / "test_fg_names.txt").write_text("\r\n".join(FOREGROUNDS) + "\r\n")
    (root / "Test_set" / "test_bg_names.txt").write_text("\n".join(backgrounds))
    training, names = root / "Training_set", []
    for name, home in (("b.jpg", "Other"), ("a.jpg", "Adobe-licensed images"), ("c.jpg", "Other")):
        names.append(name)
        save(training / home / "fg" / name, np.zeros((2, 2, 3)))
        save(training / home / "alpha" / name, np.zeros((2, 2)))
    coco = [f"COCO_train2014_{number:012}.jpg" for number in range(300, 0, -1)]
    (tmp_path / "coco").mkdir()
    for name in coco:
        (tmp_path / "coco" / name).touch()
    (training / "training_fg_names.txt").write_text("\n".join(names))
    (training / "training_bg_names.txt").write_text("\n".join(coco))
    return root


def test_composites_by_hand():
    foreground = np.array([[[200, 10, 255]] * 4], np.uint8)
    background = np.array([[[100, 11, 255]] * 4], np.uint8)
    alpha = np.array([[0, 255, 128, 1]], np.uint8)
    # 128/255 = 0.50196: 200 -> 150.196, 10 + 11 -> 10.498; 1/255: 100.39, 10.996. All cut off, none rounded.
    expected = [[100, 11, 255], [200, 10, 255], [150, 10, 255], [100, 10, 255]]
    assert compose(foreground, alpha, background)[0].tolist() == expected


def test_composites_are_those_of_plain_arithmetic():
    """Every alpha with many colours, against Python's own numbers, one at a time."""
    rng = np.random.default_rng(0)
    foreground, background = rng.integers(0, 256, (2, 256, 24, 3), np.uint8)
    background[:, :6] = foreground[:, :6]  # equal colours are where single precision fails
    alpha = np.arange(256, dtype=np.uint8)[:, None].repeat(24, axis=1)
    found = compose(foreground, alpha, background)
    for a, y, x, c in ((a, a, x, c) for a in range(256) for x in range(24) for c in range(3)):
        share = a / 255
        assert found[y, x, c] == int(share * int(foreground[y, x, c]) + (1 - share) * int(background[y, x, c]))


@pytest.mark.parametrize(("size", "scaled"), [((9, 5), None), ((4, 3), (6, 5)), ((5, 9), (6, 11)), ((7, 2), (14, 4))])
def test_backgrounds_cover_from_the_top_left(size, scaled):
    """For 6 x 4 pixels. A larger one is cut, a smaller one enlarged by the larger ratio, to whole pixels upwards."""
    width, height = size
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)
    found = covering(Image.fromarray(pixels), 6, 4)
    assert found.shape == (4, 6, 3)
    if scaled is None:
        np.testing.assert_array_equal(found, pixels[:4, :6])
        return
    ratio = max(6 / width, 4 / height)
    assert scaled == (math.ceil(width * ratio), math.ceil(height * ratio))
    larger = np.asarray(Image.fromarray(pixels).resize(scaled, Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(found, larger[:4, :6])


def test_bicubic_enlargement_by_hand():
    """Pillow's kernel (a = -1/2) at a step 0 | 255 enlarged twice: weights at -1.25, -0.25, 0.75, 1.75 pixels."""
    step = Image.fromarray(np.repeat(np.array([[0, 0, 0, 255, 255, 255]], np.uint8)[..., None], 3, axis=2).repeat(2, 0))
    found = covering(step, 12, 4)[1, :, 0]

    def weight(d: float) -> float:
        d = abs(d)
        return 1.5 * d**3 - 2.5 * d**2 + 1 if d < 1 else -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2

    before = weight(0.75) + weight(1.75)  # output pixel 5 lies at 2.25, the step's bright side begins at 3
    np.testing.assert_allclose(before, 0.203125)
    assert found[5] == round(255 * before) == 52 and found[6] == 255 - 52


def test_pairs_follow_the_lists(adobe, tmp_path):
    pairs = pairs_for_testing(adobe, tmp_path / "voc")
    backgrounds = (adobe / "Test_set" / "test_bg_names.txt").read_text().splitlines()
    assert len(pairs) == 40
    assert [pair.composite for pair in pairs[19:22]] == ["zebra_19.png", "ant_o_0.png", "ant_o_1.png"]
    assert [pair.background.name for pair in pairs] == backgrounds
    assert pairs[21].foreground == adobe / "Test_set" / "Adobe-licensed images" / "fg" / "ant_o.png"


def test_the_training_list_has_100_backgrounds_for_each_foreground(adobe, tmp_path):
    pairs = pairs_for_training(adobe, tmp_path / "coco")
    assert len(pairs) == 300
    homes = [pairs[k].alpha.parents[1].name for k in (0, 100, 200)]
    assert homes == ["Other", "Adobe-licensed images", "Other"]
    assert pairs[101].composite == "a_1.png" and pairs[101].background.name == "COCO_train2014_000000000199.jpg"
    write_training_list(pairs, tmp_path / "training.tsv")
    lines = (tmp_path / "training.tsv").read_text().splitlines()
    assert len(lines) == 301 and lines[102].split("\t") == ["a_1.png", *map(str, pairs[101][2:])]


def test_the_set_is_written_with_checksums(adobe, tmp_path):
    pairs, out = pairs_for_testing(adobe, tmp_path / "voc"), tmp_path / "out"
    assert build_test_set(pairs, out) == 2 * 41
    assert len(image_files(out / "merged")) == len(image_files(out / "trimaps")) == 40
    assert [path.name for path in image_files(out / "alpha")] == ["ant_o.png", "zebra.png"]
    for pair in (pairs[3], pairs[25]):
        layers = (pair.foreground, pair.background)
        foreground, background = (np.asarray(Image.open(path)).astype(float) for path in layers)
        share = np.asarray(Image.open(pair.alpha))[..., :1] / 255
        expected = np.floor(share * foreground + (1 - share) * background[:4, :6])
        np.testing.assert_array_equal(np.asarray(Image.open(out / "merged" / pair.composite)), expected)
    assert read_first_channel(out / "alpha" / "zebra.png")[0].tolist() == [0, 255, 128, 1, 254, 51]
    trimap = pairs[3].foreground.parents[1] / "trimaps" / pairs[3].composite
    assert (out / "trimaps" / pairs[3].composite).read_bytes() == trimap.read_bytes()
    lines = (out / MANIFEST).read_text().splitlines()
    assert tuple(lines[0].split("\t")) == COLUMNS and len(lines) == 1 + 82
    entries = read_manifest(out / MANIFEST)
    for file, entry in entries.items():
        assert entry.sha256 == hashlib.sha256((out / file).read_bytes()).hexdigest()
    merged = np.asarray(Image.open(out / "merged" / "zebra_0.png"))
    assert entries["merged/zebra_0.png"].sha256_of_pixels == hashlib.sha256(merged.tobytes()).hexdigest()
    assert entries["merged/zebra_0.png"].background == pairs[0].background.name


def test_an_interrupted_run_goes_on(adobe, tmp_path):
    pairs, out = pairs_for_testing(adobe, tmp_path / "voc"), tmp_path / "out"
    assert build_test_set(pairs[:20], out) == 41
    first = (out / "merged" / "zebra_4.png").stat().st_mtime_ns
    assert build_test_set(pairs, out) == 41  # only the other foreground
    assert (out / "merged" / "zebra_4.png").stat().st_mtime_ns == first
    assert build_test_set(pairs, out) == 0
    whole = (out / MANIFEST).read_bytes()
    (out / "merged" / "zebra_4.png").write_bytes(b"somebody's edit")
    (out / "alpha" / "ant_o.png").unlink()
    assert build_test_set(pairs, out) == 82
    assert (out / MANIFEST).read_bytes() == whole
    (out / MANIFEST).write_text("something else\n")
    with pytest.raises(
        UserError, match=r"manifest\.tsv: expected a manifest of this program, got another file; delete it"
    ):
        build_test_set(pairs, out)


def test_the_set_is_ready_for_use(adobe, tmp_path):
    """`composed` sources find image, alpha and trimap by name."""
    from cheapmatting.data.composed import ComposedSource

    build_test_set(pairs_for_testing(adobe, tmp_path / "voc"), tmp_path / "out")
    folders = [tmp_path / "out" / name for name in ("merged", "alpha", "trimaps")]
    source = ComposedSource(*folders, 32, 0, PLAIN)
    assert len(source.images) == 40 and source[0].image.shape == (32, 32, 3)


def test_what_is_missing_is_named_with_the_layout(adobe, tmp_path):
    test = adobe / "Test_set"
    with pytest.raises(UserError, match=r"expected 40 files, but 40 are missing, .* PASCAL VOC2012"):
        pairs_for_testing(adobe, tmp_path / "nowhere")
    with pytest.raises(
        UserError,
        match=r"test_fg_names\.txt: expected a list of names, got no file\. Adobe's data set unpacked is laid out as",
    ):
        pairs_for_testing(tmp_path, tmp_path / "voc")
    pairs = pairs_for_testing(adobe, tmp_path / "voc")
    (test / "Adobe-licensed images" / "trimaps" / "zebra_3.png").unlink()
    with pytest.raises(UserError, match=r"expected 40 files, but 1 are missing, .*zebra_3\.png\. Adobe's"):
        build_test_set(pairs, tmp_path / "out")
    (test / "Adobe-licensed images" / "alpha" / "zebra.png").unlink()
    with pytest.raises(UserError, match=r"expected 4 files, but 1 are missing, .*alpha/zebra\.png\. Adobe's"):
        pairs_for_testing(adobe, tmp_path / "voc")
    (test / "test_bg_names.txt").write_text("2008_000000.png\n")
    with pytest.raises(UserError, match=r"expected 40 backgrounds or more, 20 for each of the 2 foregrounds .* got 1"):
        pairs_for_testing(adobe, tmp_path / "voc")


def test_damaged_images_are_named(adobe, tmp_path):
    pairs = pairs_for_testing(adobe, tmp_path / "voc")
    whole = pairs[1].background.read_bytes()
    for content, message in (
        (b"nothing", "expected an image, got a damaged or other file"),
        (whole[: len(whole) // 2], "cannot be read"),
    ):
        pairs[1].background.write_bytes(content)
        with pytest.raises(UserError, match=f"{pairs[1].background.name}: {message}"):
            build_test_set(pairs, tmp_path / "out")
    save(pairs[0].alpha, np.zeros((9, 9)))
    with pytest.raises(UserError, match=r"zebra\.png: expected 6 x 4 pixels, as .* has, got 9 x 9"):
        build_test_set(pairs, tmp_path / "out")


def test_the_command(adobe, tmp_path, capsys):
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    arguments = [str(adobe), str(tmp_path / "voc"), str(tmp_path / "out"), "--coco", str(tmp_path / "coco")]
    assert run(parser.parse_args(arguments)) == 0
    assert (tmp_path / "out" / "training.tsv").is_file()
    assert "40 composites" in capsys.readouterr().out
