"""`atldas compare EXPERIMENT --strategies a,b,c --seeds 0..4`: one search for each strategy and seed, side by side.

What is compared is the figure of each search's choice. With a benchmark's table that is also its true figure, which
is looked up after the choice was made, once, and counted.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from .common.config import from_dict, load_object, to_dict
from .common.errors import UserError
from .common.runfolder import open_run
from .comparison import MARKDOWN, PICTURE, RUNS, SUMMARY, RunRow, read_runs, write_comparison
from .experiment import Experiment, read_experiment
from .genotype import Genotype
from .halving import one_line
from .jobs import CLUSTERS, INTERRUPTED, Job, Outcome, run_jobs
from .space import Space
from .spent import SPENT, read_spent
from .tables import Table, table_code

SEARCHES, LOOKUPS = "searches", "lookups.csv"
WRITES = (SEARCHES, RUNS, SUMMARY, MARKDOWN, PICTURE, LOOKUPS)
EXAMPLES = """examples:
  atldas compare search.yaml --strategies atldas,random,evolution --seeds 0..4 --jobs 2 --out runs/compared
  atldas compare search.yaml --strategies atldas,evolution --set-for evolution strategy_options.cycles=50 \\
      --out runs/compared --resume
"""
CHANGEABLE = ("strategies", "seeds", "table", "column")  # when a comparison is resumed


class Planned(NamedTuple):
    """A search to be run: its settings, and the job that runs it."""

    strategy: str
    seed: int
    experiment: Experiment
    job: Job


def plan(options: argparse.Namespace) -> list[Planned]:
    """One search for each strategy and seed; every experiment is checked before the first one begins.

    Raises:
        UserError: faulty settings, strategies or seeds.
    """
    strategies, seeds = _words(options.strategies, "--strategies"), parse_seeds(options.seeds)
    own = read_experiment(options.experiment, options.set)[0].get("strategy", "atldas")
    for strategy, _ in options.set_for:
        if strategy not in strategies:
            raise UserError(f"--set-for {strategy}: expected one of --strategies, {', '.join(strategies)}")
    threads = 0 if options.cluster else max(1, (os.cpu_count() or 1) // options.jobs)
    found = []
    for strategy in strategies:
        for seed in seeds:
            settings = [*options.set, f"strategy={strategy}", f"seed={seed}"]
            settings += [] if strategy == own else ["strategy_options={}"]  # those in the file are its own strategy's
            settings += [assignment for name, assignment in options.set_for if name == strategy]
            experiment = from_dict(Experiment, *read_experiment(options.experiment, settings))
            words = ["search", options.experiment, "--device", options.device]
            words += [word for setting in settings for word in ("--set", setting)]
            words += [word for module in options.modules for word in ("--import", module)]
            name = f"{strategy.replace(':', '.')}_seed_{seed}"
            job = Job(f"{strategy}, seed {seed}", tuple(words), options.out / SEARCHES / name, threads)
            found.append(Planned(strategy, seed, experiment, job))
    return found


def parse_seeds(text: str) -> list[int]:
    """`0..4` or `1,5,7..9` as numbers, in order and without repetition.

    Raises:
        UserError: the text is none of these.
    """
    numbers: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,9})(?:\.\.(\d{1,9}))?\s*", part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if not first <= last < first + 10_000:
            raise UserError(f"--seeds: expected numbers such as 0..4 or 1,5,7, got {text!r}")
        numbers += range(first, last + 1)
    return list(dict.fromkeys(numbers))


def _words(text: str, option: str) -> list[str]:
    words = list(dict.fromkeys(word.strip() for word in text.split(",")))
    if not all(words):
        raise UserError(f"{option}: expected names with commas between them, got {text!r}")
    return words


def is_finished(planned: Planned) -> bool:
    """Whether the search has chosen."""
    return (planned.job.folder / "genotype.yaml").exists()


def collect(planned: Sequence[Planned], table: Table | None, before: Sequence[Mapping[str, str]]) -> list[RunRow]:
    """The rows of the finished searches. What stands in a row of `before` is not looked up again."""
    rows = []
    for one in filter(is_finished, planned):
        genotype = Genotype.load(one.job.folder / "genotype.yaml")
        spent = read_spent(one.job.folder / SPENT)
        row = RunRow(
            one.strategy, one.seed, float(list(genotype.provenance["scores"].values())[-1]), None, "",
            spent.get("seconds", 0.0), spent.get("cpu_seconds", 0.0), spent.get("images_trained", 0.0),
            spent.get("images_judged", 0.0), spent.get("peak_mib", 0.0), one_line(genotype),
        )  # fmt: skip
        rows.append(row if table is None else _looked_up(row, genotype, table, before))
    return rows


def _looked_up(row: RunRow, genotype: Genotype, table: Table, before: Sequence[Mapping[str, str]]) -> RunRow:
    place = f"{table.path.name}, {table.column}"
    key = (row.strategy, str(row.seed), row.child, place)
    for old in before:
        if key == tuple(old.get(name) for name in ("strategy", "seed", "child", "looked_up_in")):
            return dataclasses.replace(row, looked_up=float(old["looked_up"]), looked_up_in=place)
    found = table.look_up(table_code(genotype), f"compare: {row.strategy}, seed {row.seed}, after the choice")
    return dataclasses.replace(row, looked_up=found, looked_up_in=place)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `atldas compare`."""
    parser.description = "Run a search for each strategy and seed, and put what they found and cost side by side."
    parser.add_argument("experiment", help="a search's YAML file or shipped name; strategy and seed are replaced")
    parser.add_argument("--strategies", required=True, metavar="A,B,C", help="names, or package.module:Class")
    parser.add_argument("--seeds", default="0..2", metavar="0..4", help="such as 0..4 or 1,5,7 (default: 0..2)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY.PATH=VALUE", help="change one setting")
    parser.add_argument("--set-for", action="append", default=[], nargs=2, metavar=("STRATEGY", "KEY.PATH=VALUE"),
                        help="change one setting for one strategy")  # fmt: skip
    parser.add_argument("--jobs", type=_positive, default=1, help="searches at a time on this machine (default: 1)")
    parser.add_argument("--cluster", choices=tuple(CLUSTERS), help="run the searches on a cluster instead")
    parser.add_argument("--address", help="of the cluster's scheduler, such as tcp://host:8786")
    parser.add_argument("--table", type=Path, help="a benchmark's table, see atldas benchmark --help")
    parser.add_argument("--column", default="c10_test200", help="the figure to look up (default: c10_test200)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps (default: auto)")
    parser.add_argument("--resume", action="store_true",
                        help="go on: finished searches stay, interrupted ones go on, new ones are added")  # fmt: skip
    parser.add_argument("--out", type=Path, required=True, help="the folder of the comparison")


def _positive(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 on, got {text!r}")
    return int(text)


def run(options: argparse.Namespace) -> int:
    """Carry out `atldas compare`. The status is 1 if a search failed and 130 if one was interrupted."""
    planned = plan(options)
    if options.table:  # a fault must not be found out after the searches
        Table(options.table, options.column)
        _require_codes(planned[0].experiment)
    _open(options, planned)
    todo = [one.job for one in planned if not is_finished(one)]
    outcomes = run_jobs(todo, options.jobs, options.cluster, options.address) if todo else []
    table = Table(options.table, options.column, options.out / LOOKUPS) if options.table else None
    rows = collect(planned, table, read_runs(options.out / RUNS))
    failed = [outcome for outcome in outcomes if outcome.status]
    if rows:
        task: Any = load_object(planned[0].experiment.task, options.experiment, "task")
        notes = _notes(rows, failed, options.table, options.column)
        write_comparison(options.out, rows, task.metric, task.larger_is_better, notes)
        print((options.out / MARKDOWN).read_text(encoding="utf-8"), end="")
        print(f"{SUMMARY}, {RUNS}, {MARKDOWN} and {PICTURE} are in {options.out}")
    return _status(failed)


def _require_codes(experiment: Experiment) -> None:
    """Check that a table can be asked for children of this space."""
    load_object(experiment.task, "experiment", "task")  # it may add operations
    space = Space.load(experiment.space)
    table_code(space.genotype({variable.name: 0 for variable in space.variables}))


def _open(options: argparse.Namespace, planned: Sequence[Planned]) -> None:
    """Make or reopen the folder. What must not change on the way stands in its config.yaml."""
    base = from_dict(Experiment, *read_experiment(options.experiment, options.set))
    settings = {
        "experiment": {name: value for name, value in to_dict(base).items() if name != "seed"},
        "set_for": {
            strategy: [assignment for name, assignment in options.set_for if name == strategy]
            for strategy in {one.strategy: None for one in planned}
        },
        "strategies": list(dict.fromkeys(one.strategy for one in planned)),
        "seeds": list(dict.fromkeys(one.seed for one in planned)),
        "table": str(options.table) if options.table else None,
        "column": options.column,
    }
    finished = {one.strategy for one in planned if is_finished(one)}
    free = [f"set_for.{one.strategy}" for one in planned if one.strategy not in finished]
    open_run(options.out, settings, options.resume, WRITES, (*CHANGEABLE, *free))


def _notes(rows: Sequence[RunRow], failed: Sequence[Outcome], table: Path | None, column: str) -> list[str]:
    notes = [
        "Deviations are sample standard deviations over the seeds; times and images are means; memory is the most."
    ]
    if table:
        distinct = len({row.child for row in rows})
        notes.append(f"{table.name}, {column}: {distinct} architectures were looked up, each after it was chosen.")
    if failed:
        notes.append(f"Without {len(failed)} searches that did not finish: {'; '.join(o.job.name for o in failed)}.")
    return notes


def _status(failed: Sequence[Outcome]) -> int:
    for outcome in failed:
        print(
            f"{outcome.job.name}: status {outcome.status}: {outcome.said} ({outcome.job.folder}.txt)", file=sys.stderr
        )
    if any(outcome.status == INTERRUPTED for outcome in failed):
        print("interrupted; go on with --resume", file=sys.stderr)
        return INTERRUPTED
    return 1 if failed else 0
