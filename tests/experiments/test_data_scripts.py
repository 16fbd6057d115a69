"""The scripts in experiments/ that choose what is trained and validated on."""

import sys
from pathlib import Path

import numpy as np
import pytest
from scripts import load_script

from cheapmatting.data.name_list import read_names
from cheapmatting.images import write_image

translucent_cutouts = load_script("experiments/data/translucent_cutouts.py")
validation_split = load_script("experiments/data/validation_split.py")


def square(value: float, soft: int = 0) -> np.ndarray:
    """Alpha [41, 41] with a square of 21 pixels: `value`, or 1 within a soft edge."""
    alpha = np.zeros((41, 41), np.float32)
    alpha[10:31, 10:31] = value
    if soft:
        alpha[10 + soft : 31 - soft, 10 + soft : 31 - soft] = 1
    return alpha


def test_translucency_counts_what_is_translucent_all_around():
    assert translucent_cutouts.translucency(square(0.5)) == pytest.approx(13**2 / 21**2)  # four pixels off each side
    assert translucent_cutouts.translucency(square(0.5, soft=3)) == 0
    assert translucent_cutouts.translucency(square(1)) == 0
    assert translucent_cutouts.translucency(square(0)) == 0
    assert translucent_cutouts.translucency(np.full((9, 9), 0.5, np.float32)) == 1


def test_list_of_translucent_cutouts(tmp_path: Path, monkeypatch, capsys):
    alphas = {"wing": square(0.5), "held": square(0.5), "solid": square(1), "mist": np.full((41, 41), 0.3, np.float32)}
    for name, alpha in alphas.items():
        rgba = np.dstack([np.full((41, 41, 3), 90, np.uint8), np.rint(alpha * 255).astype(np.uint8)])
        write_image(tmp_path / f"{name}.png", rgba)
    (tmp_path / "held.txt").write_text("held\n")
    run(translucent_cutouts, monkeypatch, f"--foregrounds {tmp_path} --exclude {tmp_path}/held.txt", tmp_path / "list")
    assert read_names(tmp_path / "list") == ["wing.png"]
    assert "1 of 3 cut-outs" in capsys.readouterr().out


def drawing(seed: int) -> np.ndarray:
    """A solid RGBA picture [32, 32, 4] of blocks of colour, unlike that of another seed."""
    blocks = np.random.default_rng(seed).integers(0, 256, (8, 8, 4), dtype=np.uint8)
    return blocks.repeat(4, axis=0).repeat(4, axis=1)


def test_subjects_are_files_of_one_name_or_alike(tmp_path: Path):
    pictures = {
        "game__konrad-elvish": drawing(0),
        "game__konrad_2": drawing(1),
        "game__mirrored": drawing(1)[:, ::-1],
        "game__other": drawing(2),
        "zoo__konrad": drawing(3),
    }
    for name, picture in pictures.items():
        write_image(tmp_path / f"{name}.png", np.ascontiguousarray(picture))
    groups = validation_split.subjects(sorted(tmp_path.iterdir()))
    assert sorted([path.stem for path in group] for group in groups) == [
        ["game__konrad-elvish", "game__konrad_2", "game__mirrored"],
        ["game__other"],
        ["zoo__konrad"],
    ]


def test_split_holds_out_whole_subjects_by_its_seed(tmp_path: Path, monkeypatch):
    folders = {kind: tmp_path / kind for kind in ("foregrounds", "backgrounds")}
    for folder in folders.values():
        folder.mkdir()
    for number in range(60):
        words = "abcdefghijklmnopqrstuvwxyzABCD"
        write_image(folders["foregrounds"] / f"set__{words[number // 2]}-{number % 2}.png", drawing(number))
        write_image(folders["backgrounds"] / f"{number}.png", drawing(number)[..., :3].copy())
    arguments = " ".join(f"--{kind} {folder}" for kind, folder in folders.items()) + " --share 0.4"
    lists = []
    for out in (tmp_path / "once", tmp_path / "again"):
        out.mkdir()
        run(validation_split, monkeypatch, arguments, out)
        lists.append([read_names(out / f"{kind}.txt") for kind in folders])
    assert lists[0] == lists[1]
    foregrounds, backgrounds = lists[0]
    assert len(foregrounds) == len(backgrounds) == 24
    subjects = [name.split("-")[0] for name in foregrounds]
    assert all(subjects.count(subject) == 2 for subject in subjects)


def run(script, monkeypatch, arguments: str, out: Path) -> None:
    monkeypatch.setattr(sys, "argv", ["script", *arguments.split(), "--out", str(out)])
    script.main()
