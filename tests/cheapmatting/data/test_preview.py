"""A look at the pairs that a configuration makes."""

import argparse

import numpy as np
import pytest

from atldas.common.errors import UserError
from cheapmatting.data.config import DataConfig, make_source
from cheapmatting.data.contact_sheet import COLUMNS, GAP, HEADING
from cheapmatting.data.preview import add_arguments, preview, read_data_config, run
from cheapmatting.images import read_image


def test_a_sheet_shows_the_samples_of_the_source(tmp_path):
    settings = DataConfig(size=64)
    preview(settings, seed=3, count=2, path=tmp_path / "sheet.png", tile=64)
    sheet = read_image(tmp_path / "sheet.png")
    assert sheet.shape == (HEADING + 2 * (64 + GAP), len(COLUMNS) * (64 + GAP), 3)
    sample = make_source(settings, 3)[1]
    row = sheet[HEADING + 64 + GAP :]
    alpha = row[20:64, 64 + GAP : 2 * 64 + GAP, 0]  # below the label
    np.testing.assert_allclose(alpha / 255, sample.alpha[20:64], atol=0.5 / 255 + 1e-6)
    np.testing.assert_allclose(row[20:64, :64] / 255, sample.image[20:64], atol=0.5 / 255 + 1e-6)


@pytest.mark.parametrize("text", ["size: 64", "schema: 1\ndata: {size: 64}", "task_options: {data: {size: 64}}"])
def test_the_data_section_is_found(tmp_path, text):
    (tmp_path / "c.yaml").write_text(text)
    assert read_data_config(tmp_path / "c.yaml") == DataConfig(size=64)


def test_settings_can_be_changed_and_faults_are_named(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("data: {size: 64}")
    settings = read_data_config(path, ["data.augment.real_world=true"])
    assert settings.augment is not None and settings.augment.real_world
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
    assert read_image(tmp_path / "p.png").shape[0] == HEADING + 3 * (48 + GAP)
    assert "3 pairs of 48 x 48" in capsys.readouterr().out
    with pytest.raises(UserError, match="--count 1 or more"):
        run(parser.parse_args([*arguments[:2], "--count", "0"]))
