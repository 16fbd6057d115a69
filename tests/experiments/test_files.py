"""Every YAML file in experiments/ reads; the folders of pictures that it names may be absent."""

from pathlib import Path

import pytest

from atldas.common.config import read_config
from atldas.experiment import Experiment
from cheapmatting.data.name_list import read_names
from cheapmatting.model.variants import variant
from cheapmatting.pipeline import Pipeline
from cheapmatting.training.recipe import TrainConfig

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
CLASSES = {"recipes": TrainConfig, "searches": Experiment, "experiments": Pipeline}
FILES = sorted(EXPERIMENTS.rglob("*.yaml"))
ROUNDS = ["first", "second", "third", "fourth", "fifth", "sixth", "seventh"]
# Of rendered foregrounds first.
LATER_ROUNDS = ["eighth", "ninth", "tenth", "eleventh", "twelfth", "thirteenth", "fourteenth"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_file_reads(path):
    if path.parent.name == "variants":
        assert variant(str(path)).genotype.name.startswith("cheapmatting-light")
    else:
        assert read_config(CLASSES[path.parent.name], path).schema == (2 if path.parent.name == "searches" else 1)


def test_there_is_one_recipe_and_one_log_for_each_round():
    for number, name in enumerate([*ROUNDS, *LATER_ROUNDS], 1):
        recipe = EXPERIMENTS / "recipes" / f"train_{name}_round.yaml"
        assert recipe.read_text().startswith(f"# Round {number}")
        for kind in ("curves.png", "log.csv"):
            assert (EXPERIMENTS / "results" / f"{name}_round_{kind}").is_file()


@pytest.mark.parametrize("name", ROUNDS)
def test_the_lists_of_a_recipe_are_found_from_any_directory(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe = read_config(TrainConfig, EXPERIMENTS / "recipes" / f"train_{name}_round.yaml")
    assert recipe.validation is not None and recipe.validation.data is not None
    keys = ("include", "exclude", "backgrounds_include", "backgrounds_exclude")
    sources = [*recipe.data.sources, *recipe.validation.data.sources]
    lists = [path for one in sources for key in keys if (path := getattr(one, key, None))]
    assert len(lists) >= 5 and all(read_names(path) for path in lists)
    assert recipe.data.sources[0].foregrounds == str(EXPERIMENTS.parents[1] / "shared" / "data" / "foregrounds")
