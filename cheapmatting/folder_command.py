"""`cheapmatting matte` for a folder or a glob of photographs, and where the trimaps of one or many come from."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from atldas.common.errors import UserError
from atldas.common.verbs import interrupted

from .folders import Job, find_jobs, left_to_do, run_jobs
from .inference.options import computing, max_pixels, wanted
from .masks.makers import is_mask_maker
from .masks.options import width_of
from .masks.trimap_makers import network_of, trimap_by_file, trimap_by_network

if TYPE_CHECKING:  # both import PyTorch
    from .inference.files import TrimapSource
    from .inference.matte import Matter


def require_one_photograph(options: argparse.Namespace) -> None:
    """Check that the options of a folder are not given for one photograph.

    Raises:
        UserError: they are.
    """
    if options.out is not None or options.resume:
        name = "--resume" if options.out is None else "--out"
        raise UserError(
            f"{name}: expected a folder or a glob of photographs, got {options.image}; one is written by -o"
        )


def trimap_source(options: argparse.Namespace) -> TrimapSource:
    """Where the trimap of the one photograph comes from, as the options say.

    Raises:
        UserError: they name none, or two, or what cannot be used.
    """
    trimap = _the_trimap(options)
    if trimap is not None:
        return trimap
    if is_mask_maker(options.mask):
        return trimap_by_network(network_of(options), width_of(options))
    return trimap_by_file(Path(options.mask), width_of(options), max_pixels(options))


def _the_trimap(options: argparse.Namespace) -> Path | None:
    """TRIMAP or `--trimap`; None where there is `--mask`."""
    given = [value for value in (options.trimap, options.trimap_option, options.mask) if value is not None]
    if len(given) != 1:
        raise UserError(f"expected one of TRIMAP, --trimap and --mask, got {len(given) or 'none'}")
    trimap: Path | None = options.trimap or options.trimap_option
    if trimap is not None and options.width is not None:
        raise UserError("--width: expected --mask beside it; a trimap has its width already")
    return trimap


def matte_many(options: argparse.Namespace) -> int:
    """Matte the photographs of a folder or a glob; returns the exit status: 1 if some failed.

    Raises:
        UserError: options that do not fit together, or folders that cannot be used.
    """
    if options.out is None or options.output is not None:
        raise UserError(f"{options.image}: expected a folder to write to, with --out and without -o")
    if options.workers < 1:
        raise UserError(f"--workers: expected 1 or more, got {options.workers}")
    from .inference.files import matte_files

    what = replace(wanted(options), force=True)  # `left_to_do` sees to what is replaced
    partners, source_of = _sources(options)
    jobs = find_jobs(options.image, partners, options.out)
    todo = left_to_do(jobs, options.resume, options.force)
    matter = _matter(options)
    outcome = run_jobs(
        todo,
        lambda job: matte_files(matter, job.image, source_of(job), job.output, what),
        workers=options.workers,
        skipped=len(jobs) - len(todo),
    )
    print(matter.computed_by, file=sys.stderr)
    print(outcome.summary(), file=sys.stderr)
    if outcome.interrupted:
        return interrupted(options.command)
    print(options.out)
    return 1 if outcome.failures else 0


def _matter(options: argparse.Namespace) -> Matter:
    """The network; `--max-memory` is divided among the workers."""
    from .inference.matte import Matter
    from .model.lookup import DEFAULT_WEIGHTS

    settings = computing(options)
    if settings["max_memory"] is not None:
        settings["max_memory"] //= options.workers
    return Matter(options.weights or DEFAULT_WEIGHTS, options.device, options.views, **settings)


def _sources(options: argparse.Namespace) -> tuple[Path | None, Callable[[Job], TrimapSource]]:
    """The folder of trimaps or masks, if there is one, and the source of a job's trimap."""
    folder = _the_trimap(options)
    if folder is None and is_mask_maker(options.mask):
        make = trimap_by_network(network_of(options), width_of(options))
        return None, lambda job: make
    width, most = width_of(options), max_pixels(options)
    kind, partners = ("mask", Path(options.mask)) if folder is None else ("trimap", folder)
    if not partners.is_dir():
        raise UserError(f"{partners}: expected a folder of {kind}s, as there are many photographs")

    def source(job: Job) -> TrimapSource:
        if job.partner is None:
            raise UserError(f"{job.image}: expected a {kind} of the same name in {partners}, got none")
        return job.partner if kind == "trimap" else trimap_by_file(job.partner, width, most)

    return partners, source
