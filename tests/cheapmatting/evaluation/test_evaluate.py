"""cheapmatting evaluate: figures by hand, which files belong together, both forms, resuming."""

import argparse
import csv
import logging
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from small import photograph, small_network

from atldas.common.errors import UserError
from atldas.common.interruption import Interruption
from atldas.common.yaml_text import read_yaml
from cheapmatting.arrays import Bytes
from cheapmatting.evaluation import evaluate as module
from cheapmatting.evaluation.evaluate import MEANS, TABLE, WORST, add_arguments, columns, read_table, run
from cheapmatting.evaluation.metrics import METRICS, Metric
from cheapmatting.images import read_image, write_image
from cheapmatting.model import weights
from cheapmatting.picture_grid import GAP, LABEL, picture_grid


def call(*arguments: object) -> int:
    """The command with its arguments."""
    parser = argparse.ArgumentParser(prog="cheapmatting evaluate")
    add_arguments(parser)
    return run(parser.parse_args([str(argument) for argument in arguments]))


class Folders:
    """A set in `root`: predictions/, truths/, trimaps/, images/."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.predictions, self.truths, self.trimaps = root / "predictions", root / "truths", root / "trimaps"
        self.images, self.out = root / "images", root / "out"

    def add(self, name: str, prediction: Bytes, truth: Bytes, trimap: Bytes) -> None:
        write_image(self.predictions / f"{name}.png", prediction)
        write_image(self.truths / f"{name}.png", truth)
        write_image(self.trimaps / f"{name}.png", trimap)

    def measure(self, *more: object) -> int:
        return call(
            *("--predictions", self.predictions, "--truths", self.truths, "--trimaps", self.trimaps),
            *("--out", self.out, *more),
        )


def plane(*rows: list[int]) -> Bytes:
    return np.array(rows, np.uint8)


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    """Two images of 3 x 2 and 2 x 2 pixels.

    a: unknown are 51 for 0, and 204 for 255: differences of 0.2 and 0.2. b: unknown is 255 for 0: 1.
    """
    made = Folders(tmp_path)
    made.add(
        "a", plane([51, 204, 9], [0, 0, 255]), plane([0, 255, 255], [0, 0, 255]), plane([128, 128, 255], [0, 0, 255])
    )
    made.add("b", plane([255, 0], [0, 0]), plane([0, 0], [0, 0]), plane([128, 0], [0, 0]))
    return made


def rows_of(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / TABLE).open(newline="") as file:
        return {row["name"]: row for row in csv.DictReader(file)}


def test_figures_by_hand(folders, capsys):
    assert folders.measure() == 0
    rows = rows_of(folders.out)
    assert list(rows) == ["a", "b"]
    assert list(rows["a"]) == ["name", "SAD", "MSE", "Grad", "Conn", "unknown", "width", "height"]
    assert [rows["a"][key] for key in ("unknown", "width", "height")] == ["2", "3", "2"]
    assert float(rows["a"]["SAD"]) == pytest.approx(0.4 / 1000)
    assert float(rows["a"]["MSE"]) == pytest.approx(0.04)
    assert float(rows["b"]["SAD"]) == pytest.approx(1 / 1000)
    assert float(rows["b"]["MSE"]) == pytest.approx(1)
    truth, alpha, trimap = (
        cv2.imread(str(folders.root / kind / "a.png"), 0) for kind in ("truths", "predictions", "trimaps")
    )
    for name in ("Grad", "Conn"):
        assert float(rows["a"][name]) == METRICS[name](alpha, truth, trimap)
    content = read_yaml(folders.out / MEANS)
    assert content["SAD"] == pytest.approx(0.7 / 1000)
    assert content["MSE"] == pytest.approx(0.52)
    assert (content["images"], content["unknown_pixels"], content["unpaired"]) == (2, 3, {})
    shown = capsys.readouterr().out
    assert "2 images, 3 unknown pixels (30.0% of all)" in shown
    assert "MSE     520.000 x 10^-3" in shown


def test_a_further_metric_appears_everywhere(folders, capsys, monkeypatch):
    def furthest(alpha, truth, trimap):
        return float(np.abs(alpha.astype(int) - truth)[trimap == 128].max())

    labels = []

    def grid(headings, rows):
        labels.extend(row.label for row in rows)
        return picture_grid(headings, rows)

    monkeypatch.setitem(METRICS, "Furthest", Metric(furthest, times=0.1, unit="tens of levels"))
    monkeypatch.setattr(module, "picture_grid", grid)
    assert folders.measure() == 0
    rows = rows_of(folders.out)
    assert list(rows["a"]) == ["name", "SAD", "MSE", "Grad", "Conn", "Furthest", "unknown", "width", "height"]
    assert [float(rows[name]["Furthest"]) for name in ("a", "b")] == [51, 255]
    assert read_yaml(folders.out / MEANS)["Furthest"] == 153
    assert "Furthest    15.300 tens of levels" in capsys.readouterr().out
    assert [label.split(", ")[-1] for label in labels] == ["Furthest 255; 2 x 2", "Furthest 51; 3 x 2"]
    assert [line.figures["Furthest"] for line in read_table(folders.out / TABLE)] == [51, 255]


def test_images_in_which_nothing_is_unknown_are_told(folders, capsys):
    write_image(folders.trimaps / "b.png", plane([0, 0], [0, 0]))
    folders.measure()
    assert float(rows_of(folders.out)["b"]["SAD"]) == 0
    assert "nothing is unknown in 1 of them, which count as 0: b" in capsys.readouterr().out
    assert read_yaml(folders.out / MEANS)["images_without_unknown_pixels"] == 1


def test_alphas_of_rgba_files_are_their_alpha_channel(folders):
    alpha, unknown = plane([51, 204, 9], [0, 0, 255]), np.full((2, 3), 128, np.uint8)
    cutout = np.dstack([np.full((2, 3, 3), (90, 5, 250), np.uint8), alpha])
    folders.add("a", cutout, alpha, unknown)
    folders.measure()
    assert rows_of(folders.out)["a"]["SAD"] == "0.0"
    folders.add("a", cutout[..., :3].copy(), alpha, unknown)
    with pytest.raises(UserError, match=r"predictions/a\.png: expected an alpha matte .* got a colour image"):
        folders.measure("--out", folders.root / "again")


def test_one_truth_serves_numbered_images_and_the_rest_is_named(folders, caplog):
    for number in (0, 7):
        write_image(folders.predictions / f"b_{number}.png", plane([0, 0], [0, 0]))
        write_image(folders.trimaps / f"b_{number}.png", plane([128, 128], [0, 0]))
    write_image(folders.predictions / "lonely.png", plane([0]))
    write_image(folders.predictions / "without.png", plane([0]))
    write_image(folders.truths / "without.png", plane([0]))
    write_image(folders.truths / "extra.png", plane([0]))
    with caplog.at_level(logging.WARNING):
        folders.measure()
    rows = rows_of(folders.out)
    assert list(rows) == ["a", "b", "b_0", "b_7"]
    assert rows["b_7"]["unknown"] == "2"
    assert "not measured: 1 predictions without a truth: lonely" in caplog.text
    assert "not measured: 2 predictions without a trimap: lonely, without" in caplog.text
    assert "not measured: 1 truths without predictions: extra" in caplog.text
    assert read_yaml(folders.out / MEANS)["unpaired"] == {
        "predictions without a truth": ["lonely"],
        "truths without predictions": ["extra"],
        "predictions without a trimap": ["lonely", "without"],
    }


def test_two_files_of_one_name_are_refused(folders):
    write_image(folders.predictions / "a.jpg", plane([0]))
    with pytest.raises(UserError, match=r"expected one file of each name, got 2 of a \(a\.jpg, a\.png\)"):
        folders.measure()


def test_nothing_in_common_is_refused(folders):
    for path in folders.truths.iterdir():
        path.rename(path.with_name(f"other_{path.name}"))
    with pytest.raises(
        UserError, match=r"expected predictions that have a truth .* got none of 2.* without a truth: a, b"
    ):
        folders.measure()
    assert not folders.out.exists()


def test_empty_and_missing_folders(folders, tmp_path):
    (tmp_path / "empty").mkdir()
    for name, reason in (
        ("empty", "expected images in it or below it"),
        ("missing", "expected a folder of images, which"),
    ):
        for key in ("predictions", "truths", "trimaps"):
            changed = Folders(tmp_path)
            setattr(changed, key, tmp_path / name)
            with pytest.raises(UserError, match=f"{name}: {reason}"):
                changed.measure()
    assert not folders.out.exists()


@pytest.mark.parametrize("kind", ["truths", "trimaps"])
def test_other_sizes_are_refused(folders, kind):
    write_image(getattr(folders, kind) / "b.png", plane([128, 0, 0]))
    with pytest.raises(UserError, match=rf"{kind}/b\.png: expected 2 x 2 pixels, as .*predictions/b\.png has"):
        folders.measure()
    # Once that is mended, the first image need not be measured again.
    write_image(getattr(folders, kind) / "b.png", plane([128, 0], [0, 0]))
    assert folders.measure("--resume") == 0
    assert list(rows_of(folders.out)) == ["a", "b"]


def test_a_folder_with_a_run_is_not_overwritten(folders):
    folders.measure()
    with pytest.raises(UserError, match="holds a run already; continue it with --resume"):
        folders.measure()
    folders.truths = folders.truths.rename(folders.root / "elsewhere")
    with pytest.raises(UserError, match=r"truths was .*; a run is resumed with the settings it was begun with"):
        folders.measure("--resume")


def measured_names(monkeypatch) -> list[str]:
    """The names that are measured from here on."""
    names: list[str] = []
    real = module.measure

    def noted(entry, alpha):
        names.append(entry.name)
        return real(entry, alpha)

    monkeypatch.setattr(module, "measure", noted)
    return names


def test_resuming_measures_what_is_missing_or_has_changed(folders, monkeypatch):
    folders.add("c", plane([255]), plane([0]), plane([128]))
    folders.measure()
    whole = (folders.out / TABLE).read_bytes()
    lines = whole.splitlines(keepends=True)
    names = measured_names(monkeypatch)
    (folders.out / TABLE).write_bytes(b"".join(lines[:3]) + lines[3][:-3])  # cut short in the middle of a line
    assert folders.measure("--resume") == 0
    assert names == ["c"]
    assert (folders.out / TABLE).read_bytes() == whole
    folders.measure("--resume")
    assert names == ["c"]
    write_image(folders.predictions / "a.png", plane([0, 255, 255], [0, 0, 255]))
    later = (folders.out / TABLE).stat().st_mtime + 1
    os.utime(folders.predictions / "a.png", (later, later))
    folders.measure("--resume")
    assert names == ["c", "a"]
    assert float(rows_of(folders.out)["a"]["SAD"]) == 0


def test_an_interrupted_run_goes_on(folders, monkeypatch, capsys):
    names = measured_names(monkeypatch)

    class Stopped(Interruption):
        @property
        def requested(self) -> bool:
            return bool(names)

        @requested.setter
        def requested(self, value: bool) -> None: ...

    with monkeypatch.context() as patch:
        patch.setattr(module, "Interruption", Stopped)
        assert folders.measure() == 130
    assert "--resume goes on" in capsys.readouterr().err
    assert list(rows_of(folders.out)) == ["a"]
    assert not (folders.out / MEANS).exists()
    assert folders.measure("--resume") == 0
    assert names == ["a", "b"]


def test_a_foreign_table_is_refused(folders):
    folders.measure()
    for text in ("name,SAD\na,1\n", ",".join(columns()) + "\na,x,0,0,0,1,1,1\n"):
        (folders.out / TABLE).write_text(text)
        with pytest.raises(UserError, match="expected a table of this program, got another file"):
            folders.measure("--resume")
    (folders.out / TABLE).write_text("")
    assert read_table(folders.out / TABLE) == []


@pytest.fixture
def photos(tmp_path: Path) -> Folders:
    """Three photographs of noise, of several sizes, with truths, and the weights of an untrained network."""
    made = Folders(tmp_path)
    rng = np.random.default_rng(0)
    for number, size in enumerate([(32, 48), (40, 32), (33, 35)]):
        image, trimap = photograph(*size, seed=number)
        write_image(made.images / f"p{number}.png", image)
        write_image(made.trimaps / f"p{number}.png", trimap)
        write_image(made.truths / f"p{number}.png", rng.integers(0, 256, size).astype(np.uint8))
    weights.save(small_network(), tmp_path / "w.safetensors")
    return made


def network_arguments(made: Folders, *more: object) -> list[object]:
    folders = ["--images", made.images, "--truths", made.truths, "--trimaps", made.trimaps]
    return ["--weights", made.root / "w.safetensors", *folders, "--device", "cpu", *more]


def test_both_forms_give_the_same(photos, monkeypatch):
    assert call(*network_arguments(photos, "--out", photos.out, "--save", photos.predictions)) == 0
    assert photos.measure("--out", photos.root / "second", "--images", photos.images) == 0
    assert (photos.out / TABLE).read_bytes() == (photos.root / "second" / TABLE).read_bytes()
    np.testing.assert_array_equal(read_image(photos.out / WORST), read_image(photos.root / "second" / WORST))
    # What was saved and has gone is made anew, the rest is kept; other weights are another run.
    names = measured_names(monkeypatch)
    (photos.predictions / "p1.png").unlink()
    call(*network_arguments(photos, "--out", photos.out, "--save", photos.predictions, "--resume"))
    assert names == ["p1"]
    assert (photos.predictions / "p1.png").exists()
    with pytest.raises(UserError, match="views was 1, now 2"):
        call(*network_arguments(photos, "--out", photos.out, "--resume", "--views", "2"))
    weights.save(small_network(seed=1), photos.root / "w.safetensors")
    with pytest.raises(UserError, match="weights_sha256 was"):
        call(*network_arguments(photos, "--out", photos.out, "--resume"))


def test_an_image_of_another_size_than_its_trimap(photos):
    write_image(photos.trimaps / "p1.png", photograph(40, 33)[1])
    with pytest.raises(UserError, match=r"p1\.png: expected 32 x 40 pixels, as .*p1\.png has, got 33 x 40"):
        call(*network_arguments(photos, "--out", photos.out))


def test_misuse(photos, capsys):
    folders = ["--truths", photos.truths, "--trimaps", photos.trimaps]
    for arguments, message in (
        (folders, "one of the arguments --predictions --weights is required"),
        (["--predictions", "p", "--weights", "w", *folders], "not allowed with argument"),
        (["--predictions", "p"], "required: --truths, --trimaps"),
    ):
        with pytest.raises(SystemExit):
            call(*arguments)
        assert message in capsys.readouterr().err
    with pytest.raises(UserError, match="--weights: expected --images as well"):
        call("--weights", photos.root / "w.safetensors", *folders)
    with pytest.raises(UserError, match="--views: expected --weights beside it, got --predictions"):
        photos.measure("--views", "4")
    with pytest.raises(UserError, match="--save: expected --weights beside it, got --predictions"):
        photos.measure("--save", photos.root / "s")
    for kind in ("images", "truths", "trimaps"):
        with pytest.raises(
            UserError, match=f"expected another folder, got that of --{kind}, whose files would be replaced"
        ):
            call(*network_arguments(photos, "--save", getattr(photos, kind) / ".." / kind))
    with pytest.raises(UserError, match="expected a file, a run"):
        call("--weights", photos.root / "none.safetensors", "--images", photos.images, *folders)


def test_the_worst_come_first(tmp_path):
    made = Folders(tmp_path)
    for number in range(12):
        alpha = np.full((8, 8), 20 * number, np.uint8)
        made.add(f"n{number:02}", alpha, np.zeros((8, 8), np.uint8), np.full((8, 8), 128, np.uint8))
    made.measure()
    worst = read_image(made.out / WORST)
    assert worst.shape == (LABEL + 10 * (LABEL + 256), 4 * (256 + GAP) - GAP, 3)
    for rank in range(10):  # the prediction's column
        assert worst[LABEL + rank * (LABEL + 256) + LABEL + 128, 2 * (256 + GAP) + 128, 0] == 20 * (11 - rank)
