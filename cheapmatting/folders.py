"""Many photographs at once: which there are, what belongs to them, where the results go, and the work itself."""

from __future__ import annotations

import glob
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path, PurePath
from typing import NamedTuple

from atldas.common.errors import UserError
from atldas.common.interruption import Interruption
from atldas.common.progress import progress

from .data.image_folder import image_files
from .decoding import READABLE

WILDCARDS = "*?["
SHOWN = 20  # failures in the list at the end; every one is a warning as soon as it happens
log = logging.getLogger(__name__)


class Job(NamedTuple):
    """One photograph.

    Attributes:
        image: its file.
        partner: its trimap's or mask's file; None where a network makes the mask, or where there is none.
        output: what to write.
    """

    image: Path
    partner: Path | None
    output: Path

    def is_done(self) -> bool:
        """Whether the output is there, and no older than what it is made of."""
        if not self.output.exists():
            return False
        made = self.output.stat().st_mtime
        return all(path.stat().st_mtime <= made for path in (self.image, self.partner) if path and path.exists())


class Outcome(NamedTuple):
    """What came of the jobs: how many were done and skipped, the failed ones with the reason, and whether it ended."""

    done: int
    skipped: int
    failures: list[tuple[Path, str]]
    interrupted: bool

    def summary(self) -> str:
        """Counts in a line, then the failures."""
        counts = f"{self.done} done, {self.skipped} skipped, {len(self.failures)} failed"
        lines = [f"  {reason}" if str(path) in reason else f"  {path}: {reason}" for path, reason in self.failures]
        more = [f"  and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
        return "\n".join([counts, *lines[:SHOWN], *more])


def is_many(images: Path) -> bool:
    """Whether it is a folder or a glob, and not a file."""
    return images.is_dir() or (not images.exists() and any(sign in str(images) for sign in WILDCARDS))


def find_jobs(images: Path, partners: Path | None, out: Path) -> list[Job]:
    """The photographs of a folder and those below it, or of a glob, with their trimaps or masks, sorted by path.

    A partner has the photograph's path in its own folder, with any suffix. The outputs are PNG files in `out`, named by
    `output_names`. Files in `out` and in `partners` are no photographs.

    Raises:
        UserError: no photographs, or an output that would replace one.
    """
    root, paths = _found(images)
    if out.resolve() == root.resolve():
        raise UserError(f"--out {out}: expected another folder than the photographs', whose files would be mixed")
    others = [folder.resolve() for folder in (out, partners) if folder]
    paths = [path for path in paths if not any(folder in path.resolve().parents for folder in others)]
    names = [path.relative_to(root) for path in paths]
    outputs = [out / name for name in output_names(names)]
    found = _partners(partners) if partners else {}
    jobs = [
        Job(path, found.get(name.as_posix(), found.get(_stem(name))) if partners else None, output)
        for path, name, output in zip(paths, names, outputs, strict=True)
    ]
    if not jobs:
        raise UserError(f"{images}: expected photographs ({', '.join(READABLE)}), got none")
    return jobs


def _found(images: Path) -> tuple[Path, list[Path]]:
    """The folder that names are relative to, and the photographs."""
    if images.is_dir():
        return images, image_files(images)
    parts = images.parts
    first = next(i for i, part in enumerate(parts) if any(sign in part for sign in WILDCARDS))
    root = Path(*parts[:first])
    found = sorted(Path(path) for path in glob.glob(str(images), recursive=True))
    return root, [path for path in found if path.is_file() and path.suffix.lower() in READABLE]


def _partners(folder: Path) -> dict[str, Path]:
    """Files of a folder by their path in it, without suffix, and with a photograph's (`two.jpg` of `two.jpg.png`).

    Raises:
        UserError: two files of one name, of which nobody can say which is meant.
    """
    paths = image_files(folder)
    names = [_stem(path.relative_to(folder)) for path in paths]
    if twins := [name for name, count in Counter(names).items() if count > 1]:
        raise UserError(f"{folder}: expected one file of each name, got several of {', '.join(twins[:5])}")
    return dict(zip(names, paths, strict=True))


def _stem(name: PurePath) -> str:
    return name.with_suffix("").as_posix()


def output_names(names: Sequence[PurePath]) -> list[str]:
    """A name for the output of each photograph, such that none is lost: `cat.jpg` gives `cat.png`.

    Where two names would be the same, also in file systems that ignore case, both keep their suffix: `two.jpg` and
    `two.png` give `two.jpg.png` and `two.png.png`.
    """
    short, whole = [_stem(name) for name in names], [name.as_posix() for name in names]
    chosen = list(short)
    while True:
        counts = Counter(name.casefold() for name in chosen)
        better = [long if counts[now.casefold()] > 1 else now for now, long in zip(chosen, whole, strict=True)]
        if better == chosen:
            return [f"{name}.png" for name in chosen]
        chosen = better


def left_to_do(jobs: Sequence[Job], resume: bool, force: bool) -> list[Job]:
    """The jobs without those that need not be done.

    Args:
        resume: leave out what is done (see `Job.is_done`).
        force: outputs that are there may be replaced.

    Raises:
        UserError: outputs are there, and neither `resume` nor `force` is asked for.
    """
    if resume:
        return [job for job in jobs if not job.is_done()]
    there = [job.output for job in jobs if job.output.exists()]
    if there and not force:
        raise UserError(
            f"{there[0]}: {len(there)} of {len(jobs)} outputs are there already; --resume leaves them out, --force "
            "replaces them"
        )
    return list(jobs)


def run_jobs(jobs: Sequence[Job], work: Callable[[Job], None], *, workers: int = 1, skipped: int = 0) -> Outcome:
    """Do the jobs, `workers` at a time; a failure is kept, and the others go on.

    Ctrl-C and SIGTERM end it after the jobs that are being done. `skipped` is how many were left out before.
    """
    ended: list[tuple[Path, str]] = []
    with (
        Interruption() as interruption,
        ThreadPoolExecutor(workers) as pool,
        progress(len(jobs) + skipped, "matte", "photo", initial=skipped) as bar,
    ):
        futures = {pool.submit(_reason, work, job): job for job in jobs}
        try:
            for future in as_completed(futures):
                if not future.cancelled():
                    ended.append((futures[future].image, future.result()))
                    bar.update()
                if interruption.requested:
                    for waiting in futures:
                        waiting.cancel()
        finally:
            pool.shutdown(cancel_futures=True)  # at a second Ctrl-C
    failures = sorted(failure for failure in ended if failure[1])
    return Outcome(len(ended) - len(failures), skipped, failures, interruption.requested)


def _reason(work: Callable[[Job], None], job: Job) -> str:
    """Do one job; returns why it failed, or nothing."""
    try:
        work(job)
    except UserError as error:
        reason = str(error)
    except Exception as error:  # one photograph's defect must not end the work on thousands
        log.debug("%s", job.image, exc_info=True)
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    else:
        return ""
    log.warning("%s: failed: %s", job.image, reason)
    return reason
