"""Renders foregrounds with hair, fur and threads, and with their exact alpha, for the training of matting networks.

    python experiments/data/render_foregrounds.py --out DIR --count 1000 --seed 1

Needs Blender as a Python package: `pip install -e ".[render]"`. Each picture depends only on the seed, its number and
the kinds asked for; pictures that are there already are skipped, so that a stopped run goes on where it was.
DIR then holds one WebP cut-out a picture (straight alpha, cropped to the subject) and manifest.tsv.
"""

from __future__ import annotations

import argparse
import importlib.util
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent))
from rendering import finish
from rendering.kinds import KINDS, choose
from rendering.strands import fit

PICTURES_A_PROCESS = 20
COLUMNS = ("file", "seed", "index", "kind", "width", "height", "soft_fraction")


@dataclass(frozen=True)
class Job:
    """One picture to render."""

    seed: int
    index: int
    kind: str
    folder: str
    size: int
    colour_samples: int
    alpha_samples: int
    threads: int

    @property
    def path(self) -> Path:
        """Where the picture goes; the name tells all that the manifest needs to know."""
        return Path(self.folder) / f"{self.kind}__{self.seed}_{self.index:05d}.webp"


def plan(options: argparse.Namespace) -> list[Job]:
    """All the pictures of a run, in order."""
    sizes = (options.size, options.colour_samples, options.alpha_samples, options.threads)
    jobs = []
    for index in range(options.count):
        kind = choose(np.random.default_rng([options.seed, index, 0]), options.kinds)
        jobs.append(Job(options.seed, index, kind, str(options.out), *sizes))
    return jobs


def render_picture(job: Job) -> Path:
    """Draws a subject, renders it and writes the cut-out."""
    from rendering import scene

    rng = np.random.default_rng([job.seed, job.index, 1])
    subject = KINDS[job.kind][1](rng)
    fit(subject)
    quality = scene.Quality(job.size, job.colour_samples, job.alpha_samples, job.threads)
    premultiplied, alpha = scene.render(subject, rng, quality)
    colours = finish.straight_colours(premultiplied, alpha)
    colours = colours * finish.exposure(colours, alpha, rng.uniform(0.1, 0.3))
    write_picture(finish.crop(finish.bytes_rgba(finish.tone(colours), alpha)), job.path)
    return job.path


def write_picture(picture: np.ndarray, path: Path) -> None:
    """Writes an RGBA picture whole or not at all; alpha is exact, colours under alpha zero are kept."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    Image.fromarray(picture).save(temporary, "WEBP", quality=95, alpha_quality=100, exact=True, method=4)
    temporary.replace(path)


def describe(path: Path) -> dict[str, str]:
    """The manifest's row for a picture."""
    kind, numbers = path.stem.split("__")
    seed, index = numbers.split("_")
    with Image.open(path) as picture:
        alpha = np.asarray(picture.convert("RGBA"))[..., 3]
    height, width = alpha.shape
    values = (path.name, seed, str(int(index)), kind, str(width), str(height), f"{finish.soft_share(alpha):.4f}")
    return dict(zip(COLUMNS, values, strict=True))


def read_manifest(path: Path) -> dict[str, dict[str, str]]:
    """The rows of a manifest by file name; none where it is missing or has other columns."""
    if not path.exists():
        return {}
    lines = [line.split("\t") for line in path.read_text().splitlines()]
    if not lines or tuple(lines[0]) != COLUMNS:
        return {}
    rows = [dict(zip(COLUMNS, line, strict=True)) for line in lines[1:] if len(line) == len(COLUMNS)]
    return {row["file"]: row for row in rows}


def write_manifest(folder: Path) -> int:
    """Lists the pictures of a folder in manifest.tsv. Returns how many there are."""
    known = read_manifest(folder / "manifest.tsv")
    rows = [known.get(path.name) or describe(path) for path in sorted(folder.glob("*__*_*.webp"))]
    lines = ["\t".join(COLUMNS), *("\t".join(row[column] for column in COLUMNS) for row in rows)]
    temporary = folder / f".manifest.{os.getpid()}.part"
    temporary.write_text("\n".join(lines) + "\n")
    temporary.replace(folder / "manifest.tsv")
    return len(rows)


def span(seconds: float) -> str:
    """A time for people: 75 becomes 0:01:15."""
    seconds = round(seconds)
    return f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"


def follow_parent() -> None:
    """Ends this process soon after the one that started it is gone, also when that one was killed."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(2)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def rendered(jobs: list[Job], processes: int) -> Iterator[tuple[Job, BaseException | None]]:
    """Renders pictures, several at once; each as it is done, with what went wrong, if anything did.

    Blender does not return all of its memory, so processes are replaced now and then: by a new pool, since one with
    `max_tasks_per_child` waits for ever where all of its processes end at once (CPython's issue 115634).
    """
    context = multiprocessing.get_context("spawn")
    for first in range(0, len(jobs), PICTURES_A_PROCESS * processes):
        with ProcessPoolExecutor(processes, context, follow_parent) as pool:
            some = jobs[first : first + PICTURES_A_PROCESS * processes]
            waiting = {pool.submit(render_picture, job): job for job in some}
            for future in as_completed(waiting):
                yield waiting[future], future.exception()


def run(jobs: list[Job], folder: Path, processes: int) -> int:
    """Renders what is missing. Returns how many pictures failed."""
    missing = [job for job in jobs if not job.path.exists()]
    print(f"{len(jobs) - len(missing)} of {len(jobs)} pictures are there, {len(missing)} to render", flush=True)
    failed, start = 0, time.monotonic()
    for done, (job, error) in enumerate(rendered(missing, processes), 1):
        failed += error is not None
        rate = (time.monotonic() - start) / done
        state = job.path.name if error is None else f"{job.path.name} failed: {error!r}"
        print(
            f"{done}/{len(missing)} {state}, {rate:.1f} s a picture, {span(rate * (len(missing) - done))} left",
            flush=True,
        )
        if done % 10 == 0:
            write_manifest(folder)
    print(f"{write_manifest(folder)} pictures are listed in {folder / 'manifest.tsv'}")
    return failed


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    result.add_argument("--out", type=Path, required=True, help="folder of the pictures and manifest.tsv")
    result.add_argument("--count", type=int, default=1000, help="number of pictures in all")
    result.add_argument("--seed", type=int, default=0)
    result.add_argument("--size", type=int, default=448, help="side of the frame in pixels, before the crop")
    result.add_argument(
        "--kinds", nargs="+", choices=list(KINDS), default=list(KINDS), metavar="KIND", help=", ".join(KINDS)
    )
    result.add_argument("--processes", type=int, default=1, help="pictures rendered at once; at most one a core")
    result.add_argument("--threads", type=int, default=1, help="threads of each process")
    result.add_argument("--colour-samples", type=int, default=7, help="samples a pixel for colour, then denoised")
    result.add_argument("--alpha-samples", type=int, default=96, help="most samples a pixel for alpha")
    return result


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns the exit status."""
    options = parser().parse_args(arguments)
    if importlib.util.find_spec("bpy") is None:
        print('error: Blender is not installed as a Python package; run: pip install -e ".[render]"', file=sys.stderr)
        return 2
    options.out.mkdir(parents=True, exist_ok=True)
    failed = run(plan(options), options.out, options.processes)
    if failed:
        print(f"error: {failed} pictures failed; run the same command again to retry them", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
