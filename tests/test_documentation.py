"""Every shell, Python and YAML block of README and docs runs as it stands, and every link leads somewhere."""

from __future__ import annotations

import contextlib
import importlib
import itertools
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from pairs import write_cutout
from toy import image_folder

import atldas.command
import cheapmatting.command
from atldas.common.config import read_config
from atldas.genotype import Genotype
from atldas.operations import OPERATIONS
from atldas.samplers import TRAINING_SAMPLERS
from atldas.searching import Experiment
from atldas.space import Space
from cheapmatting.data.cutouts import read_cutout
from cheapmatting.drawing.foregrounds import FOREGROUNDS
from cheapmatting.evaluation.metrics import METRICS
from cheapmatting.images import read_image, write_image
from cheapmatting.model.network import NetworkConfig
from cheapmatting.training.losses import LOSSES
from cheapmatting.training.recipe import TrainConfig
from cheapmatting.trimap import make_trimap

ROOT = Path(__file__).parents[1]
DOCUMENTS = ("README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")))
MAINS: dict[str, Callable[[Sequence[str]], int]] = {
    "atldas": atldas.command.main,
    "cheapmatting": cheapmatting.command.main,
}

# What a command begins with -> the settings that are appended to it, so that it takes seconds.
SEARCH = ("search.steps=4", "search.architecture.start=2", "strategy_options.children=2", "evaluation.samples=0",
          "evaluation.most_probable=2", "evaluation.controls=1",
          "evaluation.rungs=[{oracle: inherited, calibration_batches: 1}]")  # fmt: skip
MATTING_SEARCH = (
    *SEARCH, "task_options.data.size=32", "task_options.batch=2", "task_options.training_pairs=4",
    "task_options.held_out_pairs=4", "task_options.measured_pairs=2", "task_options.network.cells=3",
    "task_options.network.reductions=[1, 2]",
)  # fmt: skip
TRAINING = ("steps=1", "batch=2", "data.size=32", "workers=0", "validation={every: 1, pairs: 1}", "optimizer.warm_up=1",
            "calibration={pairs: 2, last: 2}")  # fmt: skip
SHORTENED = {
    "atldas search search.yaml": MATTING_SEARCH,
    "atldas search experiments/searches/matting_search.yaml": MATTING_SEARCH,
    "atldas search classes.yaml": (
        *SEARCH, "search.pruning=null", "task_options.batch=4", "task_options.image_size=16", "task_options.channels=4",
        "evaluation.rungs=[{oracle: inherited, calibration_batches: 1, keep: 1}, {oracle: short_training, steps: 2}]",
    ),
    "atldas search nasbench201": (
        "task_options.batch=4", "task_options.depth=1", "strategy_options.scored=9", "strategy_options.initial=2",
        "strategy_options.rounds=1",
        "strategy_options.per_round=1", "strategy_options.finalists=2", "strategy_options.repeats=1",
    ),
    "atldas search my_search.yaml": (*SEARCH, "task_options.batch=4"),
    "atldas export nasbench201_best": ("network.depth=1",),
    "atldas profile nasbench201": ("network.depth=1", "network.channels=4"),
    "cheapmatting train": TRAINING,
    "cheapmatting run quickstart": (
        *(f"search.{setting}" for setting in MATTING_SEARCH), *(f"train.{setting}" for setting in TRAINING),
        "report.pairs=2", "report.data.size=32", "report.photo=photo.jpg", "report.trimap=trimap.png",
    ),
}  # fmt: skip

# What a command begins with -> why it is not run here.
NOT_RUN = {
    "cheapmatting web": "runs until it is stopped, or needs npm's package; tests/cheapmatting/server does it",
    "cheapmatting serve": "runs until it is stopped; tests/cheapmatting/server does it",
    "curl": "asks the server",
    "npm pack": ".ci/run does it",
    "python -m http.server": "runs until it is stopped; tests/cheapmatting/server does it",
    "cheapmatting doctor": "mattes with every engine; tests/cheapmatting/test_doctor.py does it on a small photograph",
    "serve run": "runs until it is stopped; tests/cheapmatting/server/test_on_ray.py deploys it",
    "python3 -m venv": ".ci/run does it",
    ". .venv/bin/activate": ".ci/run does it",
    "pip install": ".ci/run does it",
    "python -m build": "tests/test_wheel.py does it",
    "python -m pytest": "this is part of it",
    "torchrun": "tests/atldas/common/test_processes.py and tests/atldas/test_search_in_processes.py do it",
    "atldas compare": "many searches; tests/atldas/test_compare.py does it",
    "dask": "tests/atldas/test_compare.py does it",
    "atldas benchmark": "needs a benchmark's table; tests/atldas/test_benchmark.py does it",
    "python benchmarks/": "measures for minutes",
    "python examples/": "tests/cheapmatting/exporting/test_examples.py runs it",
    "npm install": "fetches; tests/cheapmatting/exporting/test_examples.py takes the package that is there",
    "node examples/": "tests/cheapmatting/exporting/test_examples.py runs it",
    "cheapmatting compose1k": "needs Adobe's data, which nobody may pass on",
    "cheapmatting matte photo.jpg trimap.png --weights rwp.ckpt": "needs the authors' file",
    "cheapmatting matte photo.jpg --mask u2net.onnx": "needs a segmentation network",
    "cheapmatting matte photo.jpg --mask rembg": "needs rembg, which downloads its networks",
    "cheapmatting video clip.mp4": "needs a video; tests/cheapmatting/video/test_files.py makes one",
}


class Block(NamedTuple):
    """A fenced block of a document: the line of its fence, its language, its text."""

    line: int
    language: str
    text: str


def blocks(document: str) -> list[Block]:
    text = (ROOT / document).read_text()
    found = re.finditer(r"^```(\w*)\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    return [Block(text.count("\n", 0, match.start()) + 1, match[1], match[2]) for match in found]


def commands(shell: str) -> list[str]:
    """The commands of a shell block: lines, also continued ones, with their here-documents; split at `&&`."""
    pattern = r"(?:[^\n]*<<'(\w+)'\n.*?\n\1\n)|(?:(?:[^\n]*\\\n)*[^\n]*\n)"
    whole = [match[0].strip() for match in re.finditer(pattern, shell, flags=re.DOTALL)]
    return [part.strip() for line in whole if line for part in (line.split("&&") if "<<" not in line else [line])]


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder like a clone of the project, with what the documents call the reader's own; dicts are restored."""
    for name in ("atldas", "cheapmatting", "experiments", "search_spaces"):
        (tmp_path / name).symlink_to(ROOT / name)
    shutil.copy(ROOT / "cheapmatting/examples/chelsea.jpg", tmp_path / "photo.jpg")
    shutil.copy(ROOT / "cheapmatting/examples/chelsea_trimap.png", tmp_path / "trimap.png")
    image_folder(tmp_path / "my" / "classes")
    for seed, name in enumerate("ab"):
        cutout = tmp_path / "my" / "cutouts" / f"{name}.png"
        cutout.parent.mkdir(exist_ok=True)
        write_cutout(cutout, seed, 80, 80)
        rgba = read_cutout(cutout)
        colours, alpha = rgba[..., :3], rgba[..., 3]
        trimap = make_trimap(alpha.astype(np.float32) / 255, 3, 3)
        for folder, picture in {"images": colours, "photos": colours, "truths": alpha, "alphas": alpha,
                                "trimaps": trimap}.items():  # fmt: skip
            (tmp_path / "my" / folder).mkdir(exist_ok=True)
            write_image(tmp_path / "my" / folder / f"{name}.png", picture)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    dicts: list[dict[str, Any]] = [OPERATIONS, TRAINING_SAMPLERS, FOREGROUNDS, LOSSES, METRICS]
    before = [dict(entries) for entries in dicts]
    yield tmp_path
    for entries, old in zip(dicts, before, strict=True):
        entries.clear()
        entries.update(old)
    for path in tmp_path.glob("*.py"):
        sys.modules.pop(path.stem, None)


@pytest.mark.parametrize("document", [document for document in DOCUMENTS if blocks(document)])
def test_the_blocks_of_a_document_run_one_after_the_other(document: str, workplace: Path) -> None:
    run = {"sh": run_shell, "python": run_python, "yaml": read_as_configuration, "text": lambda text, place: None}
    for line, language, text in blocks(document):
        assert language in run, f"{document}:{line}: expected a block of {', '.join(run)}, got {language!r}"
        name = re.match(r"# ([\w.]+\.(?:py|yaml))\n", text)  # a first line `# name` says which file the block is
        if name:
            Path(name[1]).write_text(text)
        run[language](text, f"{document}:{line}")


def run_shell(text: str, place: str) -> None:
    for command in commands(text):
        if any(command.startswith(beginning) for beginning in NOT_RUN):
            continue
        name, *words = shlex.split(command.replace("\\\n", " "), comments=True)
        if name not in MAINS:
            subprocess.run(["bash", "-euc", command], check=True)
            continue
        settings = [shorter for beginning, shorter in SHORTENED.items() if command.startswith(beginning)]
        words += [word for shorter in settings for setting in shorter for word in ("--set", setting)]
        with contextlib.ExitStack() as stack:
            if ">" in words:
                words, (_, file) = words[:-2], words[-2:]
                stack.enter_context(contextlib.redirect_stdout(stack.enter_context(open(file, "w"))))
            assert MAINS[name](words) == 0, f"{place}: {command}"
        for option, value in itertools.pairwise(words):
            assert option not in ("-o", "--out") or Path(value).exists(), f"{place}: {command} wrote no {value}"


def run_python(text: str, place: str) -> None:
    name = re.match(r"# (\w+)\.py\n", text)
    if name:
        importlib.import_module(name[1])
    else:
        exec(compile(text, place, "exec"), {"__name__": "__main__"})


def read_as_configuration(text: str, place: str) -> None:
    """The block fits the configuration class that its keys belong to; a part of a recipe may be all there is."""
    keys = re.findall(r"^(\w+):", text, flags=re.MULTILINE)
    path = Path("block.yaml")
    path.write_text(text)
    if "task" in keys:
        read_config(Experiment, path)
    elif "cells" in keys or "choices" in keys:
        assert Space.load(path).size() > 1
    elif "network" in keys:
        path.write_text((ROOT / "atldas/genotypes/cheapmatting.yaml").read_text() + text)
        NetworkConfig.of(Genotype.load(path), place)
    else:
        path.write_text(text if "schema" in keys else f"schema: 1\nsteps: 1\n{text}")
        read_config(TrainConfig, path)


def test_every_exception_is_for_a_command_that_is_there() -> None:
    shells = [block.text for document in DOCUMENTS for block in blocks(document) if block.language == "sh"]
    all_commands = [command for text in shells for command in commands(text)]
    for beginning in (*SHORTENED, *NOT_RUN):
        assert any(command.startswith(beginning) for command in all_commands), f"{beginning}: no such command"


def test_a_shell_block_is_split_into_commands() -> None:
    shell = "a -b && c\ncat > x <<'END'\nd && e\nEND\nf \\\n    -g  # why\n"
    assert commands(shell) == ["a -b", "c", "cat > x <<'END'\nd && e\nEND", "f \\\n    -g  # why"]


@pytest.mark.parametrize("document", [*DOCUMENTS, "cheapmatting/pretrained/README.md", "experiments/results/peers.md"])
def test_links_lead_to_files(document: str) -> None:
    links = re.findall(r"\]\(([^)#\s]+)", (ROOT / document).read_text())
    missing = [link for link in links if "://" not in link and not (ROOT / document).parent.joinpath(link).exists()]
    assert not missing


def test_paths_in_code_quotes_exist() -> None:
    """`cheapmatting/data/sample.py` in a text must not outlive a move of the file."""
    for document in (*DOCUMENTS, "cheapmatting/pretrained/README.md"):
        named = re.findall(r"`((?:atldas|cheapmatting|experiments|search_spaces|tests|benchmarks)/[\w./]+)`",
                           (ROOT / document).read_text())  # fmt: skip
        assert not [path for path in named if not (ROOT / path).exists()], document


def test_the_readme_is_short_and_its_pictures_are_pictures() -> None:
    lines = (ROOT / "README.md").read_text().splitlines()
    assert len(lines) <= 120
    pictures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", "\n".join(lines))
    assert pictures == ["docs/quickstart.png", "docs/page.png"]
    assert all(read_image(ROOT / picture).ndim == 3 for picture in pictures)
