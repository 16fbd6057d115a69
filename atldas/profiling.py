"""The command `atldas profile`: how long every child of a space takes on the device at hand."""

from __future__ import annotations

import argparse
import csv
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from . import __version__
from .builder import Builder
from .common.atomic import atomic_path
from .common.config import from_dict, read_settings
from .common.device import choose
from .common.errors import UserError
from .common.interruption import Interruption
from .common.progress import progress
from .common.runfolder import open_run
from .common.verbs import interrupted
from .cost_tables import mac_tables
from .experiment import Experiment
from .genotype import Genotype
from .latency import Bench, Item, in_rounds, medians
from .profile_file import LatencyProfile, latency_profile
from .space import Space
from .supernet import Supernet
from .task import make_task
from .without_data import add_settings_option, parse_shape, task_class

TIMINGS, PROFILE = "timings.csv", "profile.yaml"
COLUMNS = ("round", "kind", "name", "part", "ms", "load")
FITTED, CHECKED = 20, 10

EXAMPLES = """examples:
  atldas profile darts --device cpu --out profiles/darts
  atldas profile matting_network experiments/searches/matting_search.yaml
  atldas search mine.yaml --set 'budget={latency_ms: 12, profile: profiles/darts/profile.yaml}'
"""


class Row(NamedTuple):
    """One timing; load: the machine's mean number of running processes in the last minute."""

    round: int
    item: Item
    part: str
    ms: float
    load: float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `atldas profile`."""
    parser.add_argument("space", help="a space's file, or a shipped name")
    parser.add_argument("experiment", nargs="?", help="a search's YAML file, whose task builds the network "
                        "(default: classification)")  # fmt: skip
    add_settings_option(parser)
    parser.add_argument("--input", metavar="N,C,H,W", help="the size of the input (default: the task's, a batch of 1)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps (default: auto)")
    parser.add_argument("--rounds", type=int, default=15, help="every figure is the median of so many (default: 15)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: profiles/SPACE_DEVICE")
    parser.add_argument("--resume", action="store_true", help="go on with an interrupted profile")


def run(options: argparse.Namespace) -> int:
    """Carry out `atldas profile`."""
    if options.rounds < 1:
        raise UserError(f"--rounds: expected 1 or more, got {options.rounds}")
    device = choose(options.device)
    space, supernet, shape = made(options.space, options.experiment, options.set, options.input)
    folder = options.out or Path("profiles") / f"{space.name}_{device.type}"
    found = profile(space, supernet, shape, device, options.rounds, folder, options.resume)
    if found is None:
        return interrupted(options.command)
    checked = found.checked
    print(
        f"on {checked.networks} networks that it was not fitted to: Spearman {checked.spearman:.3f}, "
        f"worst error {100 * checked.worst_error:.1f}%\nthe profile is {folder / PROFILE}; beside it {TIMINGS}"
    )
    return 0


def made(
    name: str, experiment: str | None, assignments: Sequence[str], size: str | None
) -> tuple[Space, Supernet, tuple[int, ...]]:
    """The space, its supernet and the input's shape.

    Raises:
        UserError: the task cannot build the supernet.
    """
    torch.manual_seed(0)
    cpu = torch.device("cpu")
    if experiment:
        settings, source = read_settings(experiment, assignments)
        read = from_dict(Experiment, settings, source)
        task, _ = make_task(read.task, read.task_options, read.seed, cpu, source)
        build, shape = task.build, task.input_shape
    else:
        kind, settings = task_class(assignments)
        section = Genotype("the command line", {}, settings)

        def build(builder: Builder) -> torch.nn.Module:
            network: torch.nn.Module = kind.network_of(section, builder)
            return network

        shape = kind.input_shape
    space = Space.load(name)
    given = parse_shape(size, "batch, channels, height and width", "1,3,32,32") if size else tuple(shape)
    return space, Supernet(space, build), given


def profile(
    space: Space, supernet: Supernet, shape: tuple[int, ...], device: torch.device, rounds: int, folder: Path,
    resume: bool = False, fitted: int = FITTED, checked: int = CHECKED,
) -> LatencyProfile | None:  # fmt: skip
    """Time everything and write timings.csv and profile.yaml; None if the user interrupted it.

    Raises:
        UserError: a folder that cannot be used, or a space with too few children.
    """
    if space.size() < 2 * (fitted + checked):
        raise UserError(f"space {space.name}: expected {2 * (fitted + checked)} children or more, got {space.size()}")
    supernet = supernet.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    macs = mac_tables(supernet, shape)
    machine = described(device)
    open_run(folder, {"space": space.name, "input_shape": shape, "rounds": rounds, "device": machine}, resume,
             (TIMINGS, PROFILE))  # fmt: skip
    with torch.inference_mode(), Interruption() as interruption:
        bench = Bench(supernet, shape, device, fitted, checked, seed=0)
        rows = measured(bench, rounds, folder / TIMINGS, interruption)
        if rows is None:
            return None
        model = bench.model(medians([(row.item, row.part, row.ms) for row in rows]))
    loads = [row.load for row in rows]
    machine |= {"mean_load": round(sum(loads) / len(loads), 2), "highest_load": max(loads)}
    found = latency_profile(model, macs, shape, machine, rounds, fitted, checked)
    found.save(folder / PROFILE)
    return found


def measured(bench: Bench, rounds: int, path: Path, interruption: Interruption) -> list[Row] | None:
    """The timings, those of an interrupted profile from its file; None if interrupted again."""
    rows = _kept(path)
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerow(COLUMNS)
        csv.writer(file).writerows(_cells(row) for row in rows)
    done = {(row.round, row.item) for row in rows}
    left = [pair for pair in in_rounds(list(bench.items), rounds, seed=0) if pair not in done]
    with (
        path.open("a", newline="", encoding="utf-8") as file,
        progress(rounds * len(bench.items), "profile", "timing", initial=len(done)) as bar,
    ):
        for number, item in left:
            if interruption.requested:
                return None
            found = bench.items[item]()
            new = [Row(number, item, part, ms, _load()) for part, ms in found.items()]
            csv.writer(file).writerows(_cells(row) for row in new)
            file.flush()
            rows += new
            bar.update()
    return rows


def _kept(path: Path) -> list[Row]:
    """The rows of an interrupted profile, without those of the last item, which may not be all there."""
    if not path.exists():
        return []
    rows: list[Row] = []
    with path.open(newline="", encoding="utf-8") as file:
        for cells in csv.DictReader(file):
            try:
                item = Item(cells["kind"], cells["name"])
                rows.append(Row(int(cells["round"]), item, cells["part"], float(cells["ms"]), float(cells["load"])))
            except (TypeError, ValueError):  # a line that was cut off
                break
    return [row for row in rows if (row.round, row.item) != (rows[-1].round, rows[-1].item)]


def _cells(row: Row) -> tuple[object, ...]:
    return row.round, row.item.kind, row.item.name, row.part, repr(row.ms), row.load


def described(device: torch.device) -> dict[str, Any]:
    """What decides times: the device, threads, versions."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
    return {
        "type": device.type, "name": name, "threads": torch.get_num_threads(), "torch": str(torch.__version__),
        "atldas": __version__, "system": platform.platform(),
    }  # fmt: skip


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _load() -> float:
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else 0.0
