"""A look at the pairs that a configuration makes."""

import argparse

import numpy as np
import pytest

from atldas.common.errors import UserError
from cheapmatting.data.config import DataConfig, make_source
from cheapmatting.data.preview import COLUMNS, add_arguments, pictures, preview, read_data_config, run
from cheapmatting.images import read_image
from cheapmatting.picture_grid import GAP, GREEN, LABEL


def test_a_sheet_shows_the_samples_of_the_source(tmp_path):
    settings = DataConfig(size=64)
    preview(settings, seed=3, count=2, path=tmp_path / "sheet.png", tile=64)
    sheet = read_image(tmp_path / "sheet.png")
    assert sheet.shape == (LABEL + 2 * (LABEL + 64), len(COLUMNS) * (64 + GAP) - GAP, 3)
    sample = make_source(settings, 3)[1]
    row = sheet[-64:]
    tiles = [row[:, left : left + 64] for left in range(0, row.shape[1], 64 + GAP)]
    for tile, picture in zip(tiles, pictures(sample), strict=True):
        np.testing.assert_array_equal(tile, picture if picture.ndim == 3 else np.dstack([picture] * 3))
    np.testing.assert_allclose(tiles[0] / 255, sample.image, atol=0.5 / 255 + 1e-6)
    np.testing.assert_allclose(tiles[1][..., 0] / 255, sample.alpha, atol=0.5 / 255 + 1e-6)
    np.testing.assert_array_equal(tiles[2][..., 0], sample.trimap)
    np.testing.assert_allclose(tiles[3] / 255, sample.foreground, atol=0.5 / 255 + 1e-6)
    assert (tiles[4][sample.alpha == 0] == GREEN).all()


@pytest.mark.parametrize("text", ["size: 64", "schema: 1\ndata: {size: 64}", "task_options: {data: {size: 64}}"])
def test_the_data_section_is_found(tmp_path, text):
    (tmp_path / "c.yaml").write_text(text)
    assert read_data_config(tmp_path / "c.yaml") == DataConfig(size=64)


def test_settings_can_be_changed_and_faults_are_named(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("data: {size: 64}")
    settings = read_data_config(path, ["data.augment.real_world=true"])
    assert settings.augment.real_world
    with pytest.raises(UserError, match=r"c\.yaml: data\.augment\.combine: expected 1 or less, got 3"):
        read_data_config(path, ["data.augment.combine=3"])
    path.write_text("size: 64\nsteps: 3")
    with pytest.raises(UserError, match=r"c\.yaml: steps: unknown key"):
        read_data_config(path)


def test_the_command(tmp_path, capsys):
    (tmp_path / "c.yaml").write_text("size: 48\naugment: {real_world: true}")
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    arguments = [str(tmp_path / "c.yaml"), str(tmp_path / "p.png"), "--count", "3", "--tile", "48"]
    assert run(parser.parse_args(arguments)) == 0
    assert read_image(tmp_path / "p.png").shape[0] == LABEL + 3 * (LABEL + 48)
    assert "3 pairs of 48 x 48" in capsys.readouterr().out
    with pytest.raises(UserError, match="--count 1 or more"):
        run(parser.parse_args([*arguments[:2], "--count", "0"]))


def test_folders_in_a_file_are_relative_to_it_and_those_of_the_command_line_are_not(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "c.yaml").write_text("data: {sources: [{kind: cutouts, foregrounds: mine}]}")
    (one,) = read_data_config("below/c.yaml").sources
    assert one.foregrounds == str(tmp_path / "below" / "mine")
    (one,) = read_data_config("below/c.yaml", ["data.sources[0].foregrounds=mine"]).sources
    assert one.foregrounds == str(tmp_path / "mine")
