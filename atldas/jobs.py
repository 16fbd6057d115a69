"""Independent runs of the command `atldas`, several at a time: on this machine, or on a cluster, by joblib.

Each run is a process of its own, so that its memory and its CPU time are its own, and its death is nobody else's.
What asks for it is a thread here, or a worker of the cluster. A cluster starts what a lost worker did again elsewhere.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import joblib

from .common.errors import UserError
from .common.interruption import Interruption
from .common.progress import progress
from .common.runfolder import CONFIG

INTERRUPTED = 130
LOOKS = 0.2  # seconds between two looks for an interruption


@dataclass(frozen=True)
class Job:
    """One run.

    Attributes:
        name: for messages; `folder` is the run's, given as --out; what it prints goes to `folder`.txt.
        arguments: of the command, without --out and --resume.
        threads: of PyTorch; 0: as the environment says.
    """

    name: str
    arguments: tuple[str, ...]
    folder: Path
    threads: int = 0


@dataclass(frozen=True)
class Outcome:
    """The exit status of a job, and the last line that it printed."""

    job: Job
    status: int
    said: str


def run_job(job: Job, stop: Interruption | None = None) -> Outcome:
    """Carry out a job, or go on with it if its folder holds a run that was begun."""
    if stop is not None and stop.requested:
        return Outcome(job, INTERRUPTED, "interrupted before it began")
    job.folder.parent.mkdir(parents=True, exist_ok=True)
    words = [sys.executable, "-m", "atldas.attached", *job.arguments, "--out", str(job.folder)]
    words += ["--resume"] if (job.folder / CONFIG).exists() else []
    environment = {**os.environ, **({"OMP_NUM_THREADS": str(job.threads)} if job.threads else {})}
    said = job.folder.with_name(job.folder.name + ".txt")
    with (
        said.open("w", encoding="utf-8") as output,
        # In a session of its own: Ctrl-C here must not be a second signal there, which ends a run at once.
        subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=output, stderr=output, env=environment, start_new_session=True
        ) as process,
    ):
        status = _awaited(process, stop)
    if status and stop is not None and stop.requested:  # also one that was not yet ready to hear of it
        status = INTERRUPTED
    lines = [line for line in said.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return Outcome(job, status, lines[-1] if lines else "")


def _awaited(process: subprocess.Popen[bytes], stop: Interruption | None) -> int:
    told = False
    while True:
        try:
            return process.wait(LOOKS if stop is not None and not told else None)
        except subprocess.TimeoutExpired:
            if stop is not None and stop.requested:
                told = True
                process.terminate()  # it saves a checkpoint after its step


def run_jobs(
    jobs: Sequence[Job], at_once: int, cluster: str | None = None, address: str | None = None
) -> list[Outcome]:
    """Carry out jobs, `at_once` at a time or as many as the cluster takes; in the order given.

    Raises:
        UserError: there is no such cluster, or what it needs is not installed.
    """
    with Interruption() as stop, progress(len(jobs), "compare", "run") as bar:
        place: AbstractContextManager[object]
        if cluster is None:
            place = joblib.parallel_config(backend="threading", n_jobs=at_once)
        else:
            place = CLUSTERS[cluster](address)
        with place:
            listening = None if cluster else stop  # a worker elsewhere hears nothing of a signal here
            calls = (joblib.delayed(run_job)(job, listening) for job in jobs)
            outcomes: list[Outcome] = []
            for outcome in joblib.Parallel(return_as="generator_unordered")(calls):
                outcomes.append(outcome)
                bar.update()
    return sorted(outcomes, key=lambda outcome: jobs.index(outcome.job))


@contextmanager
def _dask(address: str | None) -> Iterator[None]:
    """Dask's workers, through joblib's own backend; every worker must see the same files."""
    try:
        distributed = importlib.import_module("distributed")
    except ModuleNotFoundError:
        raise UserError("--cluster dask: needs the extra `cluster`: pip install 'cheapmatting[cluster]'") from None
    if address is None:
        raise UserError("--cluster dask: expected --address tcp://HOST:PORT of its scheduler, got none")
    try:
        client = distributed.Client(address, timeout=10)
    except (OSError, ValueError) as error:
        raise UserError(f"--address {address}: no Dask scheduler answers ({error})") from error
    with client, joblib.parallel_config(backend="dask", wait_for_workers_timeout=60):
        yield


CLUSTERS: dict[str, Callable[[str | None], AbstractContextManager[object]]] = {"dask": _dask}
