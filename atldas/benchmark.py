"""`atldas benchmark nasbench201|nasbench_macro --table FILE`: strategies, or supernets, against a benchmark's table."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path

from .common.config import from_dict
from .common.config_errors import suggestion
from .common.device import choose as choose_device
from .common.errors import UserError
from .common.progress import progress, without_progress
from .compare import parse_seeds
from .experiment import Experiment, read_experiment
from .regret import CURVES_CSV, CURVES_MD, CURVES_PNG, stacked, write_regret
from .samplers import TRAINING_SAMPLERS
from .supernet_quality import (
    CELLS_CSV,
    QUALITY_CSV,
    QUALITY_MD,
    choose_cells,
    measure_supernet,
    qualities,
    write_quality,
)
from .table_driven import BENCHMARKS, Benchmark, Driver, TableOracle
from .tables import Table

LOOKUPS = "lookups.csv"
EXAMPLES = """examples:
  atldas benchmark nasbench201 --table nasbench201.csv.gz --units 20 --out runs/regret
  atldas benchmark nasbench201 --table nasbench201.csv.gz --supernet search.yaml --out runs/quality
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `atldas benchmark`."""
    parser.description = (
        "Without --supernet: strategies ask a table instead of training; curves of the best so far, in seconds.\n"
        "With --supernet: how well supernets rank NAS-Bench-201's cells, for each training sampler."
    )
    parser.add_argument("benchmark", choices=tuple(BENCHMARKS), help="whose table it is")
    parser.add_argument("--table", type=Path, required=True, help="a .csv, .csv.gz or .json file, see atldas/tables.py")
    parser.add_argument("--column", help="what is reported (default: c10_test200; mean_acc)")
    parser.add_argument("--judged-by", metavar="COLUMN", help="what strategies see (default: c10_val12; test_acc_0)")
    parser.add_argument("--strategy", metavar="A,B,C", help="(default: all that a table can drive)")
    parser.add_argument("--seeds", help="such as 0..9 or 1,5,7 (default: 0..9; with --supernet: 0)")
    parser.add_argument("--budget", type=_count, default=200, help="architectures that a strategy may ask for (200)")
    parser.add_argument("--units", type=float, help="nasbench201: the most convolution units of a cell, of 54")
    parser.add_argument(
        "--supernet", metavar="EXPERIMENT", help="train this search's supernet: a YAML file or a shipped name"
    )
    parser.add_argument("--samplers", default="uniform,strict_fairness", help="(default: uniform,strict_fairness)")
    parser.add_argument("--cells", type=_count, default=150, help="cells in each group (default: 150)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY.PATH=VALUE", help="with --supernet")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps (default: auto)")
    parser.add_argument("--resume", action="store_true", help="with --supernet: go on with what was begun")
    parser.add_argument("--out", type=Path, required=True, help="the folder of the results")


def _count(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 on, got {text!r}")
    return int(text)


def run(options: argparse.Namespace) -> int:
    """Carry out `atldas benchmark`."""
    if options.supernet:
        return _supernets(options)
    return _curves(options)


def _names(text: str, known: Sequence[str], option: str) -> list[str]:
    names = list(dict.fromkeys(name.strip() for name in text.split(",")))
    for name in names:
        if name not in known:
            raise UserError(
                f"{option}: expected some of {', '.join(known)}, got {name!r}{suggestion(name, list(known))}"
            )
    return names


def _curves(options: argparse.Namespace) -> int:
    benchmark: Benchmark = BENCHMARKS[options.benchmark]
    names = _names(options.strategy or ",".join(benchmark.strategies), benchmark.strategies, "--strategy")
    seeds = parse_seeds(options.seeds or "0..9")
    if options.units is not None and options.benchmark != "nasbench201":
        raise UserError("--units: expected the benchmark nasbench201, whose convolutions they count")
    _require_new(options.out, (CURVES_CSV, CURVES_MD, CURVES_PNG, LOOKUPS))
    driver = Driver(benchmark, options.units)
    options.out.mkdir(parents=True, exist_ok=True)
    judged = Table(options.table, options.judged_by or benchmark.judged, options.out / LOOKUPS)
    reported = Table(options.table, options.column or benchmark.reported, options.out / LOOKUPS)
    curves = {}
    with progress(len(names) * len(seeds), "benchmark", "run") as bar:
        for name in names:
            found = []
            for seed in seeds:
                oracle = TableOracle(judged, options.budget, f"benchmark: {name}, seed {seed}")
                with without_progress():
                    driver.drive(name, oracle, seed)
                best = oracle.best_so_far()
                figures = {c: reported.look_up(c, f"{oracle.purpose}: the best so far") for c in dict.fromkeys(best)}
                found.append([figures[code] for code in best])
                bar.update()
            curves[name] = stacked(found, options.budget)
    optimum = max(driver.allowed(reported.all_figures("benchmark: the optimum, for the regret")).values())
    cap = "" if options.units is None else f" Cells of at most {options.units:g} convolution units."
    note = (f"{reported.column} of the best so far by {judged.column}; mean ± sample standard deviation over "
            f"{len(seeds)} seeds.{cap} {options.table.name}.")  # fmt: skip
    write_regret(options.out, curves, seeds, optimum, [note])
    print((options.out / CURVES_MD).read_text(encoding="utf-8"), end="")
    print(f"{CURVES_CSV}, {CURVES_MD}, {CURVES_PNG} and {LOOKUPS} are in {options.out}")
    return 0


def _require_new(folder: Path, names: Sequence[str]) -> None:
    if found := [name for name in names if (folder / name).exists()]:
        raise UserError(f"{folder}: expected a folder without {', '.join(found)}; name another folder with --out")


def _supernets(options: argparse.Namespace) -> int:
    if options.benchmark != "nasbench201":
        raise UserError("--supernet: expected the benchmark nasbench201, whose networks can be built")
    samplers = _names(options.samplers, tuple(TRAINING_SAMPLERS), "--samplers")
    settings, source = read_experiment(options.supernet, options.set)
    experiment = from_dict(Experiment, settings, source)
    if experiment.space != "nasbench201":
        raise UserError(f"{options.supernet}: space: expected nasbench201, got {experiment.space}")
    if not options.resume:
        _require_new(options.out, (QUALITY_CSV, QUALITY_MD, CELLS_CSV, LOOKUPS, "supernets"))
    options.out.mkdir(parents=True, exist_ok=True)
    table = Table(options.table, options.column or BENCHMARKS["nasbench201"].reported, options.out / LOOKUPS)
    cells = choose_cells(table.all_figures("supernet quality: rank correlations"), options.cells)
    rows, figures = [], []
    for sampler in samplers:
        for seed in parse_seeds(options.seeds or "0"):
            seeded, place = dataclasses.replace(experiment, seed=seed), options.out / "supernets"
            found = measure_supernet(seeded, sampler, cells, place / f"{sampler}_seed_{seed}",
                                     choose_device(options.device), source)  # fmt: skip
            if found is None:
                print("interrupted; go on with --resume")
                return 130
            rows += qualities(sampler, seed, cells, found)
            figures += [(sampler, seed, name, code, figure, cells.figures[code])
                        for name, by_code in found.items() for code, figure in by_code.items()]  # fmt: skip
    note = (f"{table.column} of {options.table.name}; means (± sample standard deviation) over the seeds. "
            "Shuffled: the control, the table's figures dealt to the wrong cells.")  # fmt: skip
    write_quality(options.out, rows, figures, note)
    print((options.out / QUALITY_MD).read_text(encoding="utf-8"), end="")
    print(f"{QUALITY_CSV}, {QUALITY_MD} and {CELLS_CSV} are in {options.out}")
    return 0
