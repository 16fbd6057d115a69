"""A server under load: mixed sizes, broken uploads and dropped connections; every answer is checked.

    python benchmarks/serve_load.py                # ten minutes; writes experiments/results/serve_load.md
    python benchmarks/serve_load.py --minutes 1 --clients 4 --out runs/serve_load.md

It starts `cheapmatting serve` on a free port of this machine and ends it again. The right answers are those of the
library in this process. The exit status is 1 if an answer is wrong, or the memory of the server goes on growing.
"""

from __future__ import annotations

import argparse
import io
import random
import re
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from atldas.common.errors import UserError, exit_status
from atldas.common.machine import prepare

prepare()  # before PyTorch is imported

import httpx
import numpy as np
from PIL import Image

from atldas.common.atomic import write_text
from cheapmatting.arrays import Bytes
from cheapmatting.images import read_image
from cheapmatting.inference.matte import Matter
from cheapmatting.pipeline import example
from cheapmatting.trimap import read_trimap

OUT = Path("experiments/results/serve_load.md")
# (width, height) of the photographs: odd ones, ones in both directions, some equal in size but not in content.
SIZES = (
    (64, 48), (97, 131), (160, 120), (160, 120), (233, 175), (240, 320), (320, 240), (320, 240), (401, 299),
    (480, 360), (480, 360), (631, 473),
)  # fmt: skip
CLASSES = {"up to 0.05 megapixels": 50_000, "up to 0.15": 150_000, "larger": 10**9}
TOLERANCE = 1  # levels: requests that are computed together may be rounded otherwise
PATIENCE = 60.0  # seconds for an answer
GROWTH = 0.05  # how far the peak memory of a part of the run may be from the plateau
PARTS, WARM_UP = 10, 3  # parts of the run, of which the first ones are not the plateau


class Pair(NamedTuple):
    """A photograph to send and the right answer: files as PNG, alpha uint8 [H, W]."""

    image: bytes
    trimap: bytes
    alpha: Bytes

    @property
    def pixels(self) -> int:
        return int(self.alpha.size)

    @property
    def files(self) -> dict[str, bytes]:
        return {"image": self.image, "trimap": self.trimap}


class Record:
    """What the clients saw: `seconds` and numbers by kind of request, and lines of what was wrong."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self.refused = 0  # a full queue: asked again
        self.pixels = 0
        self.faults: list[str] = []
        self._lock = threading.Lock()

    def add(self, kind: str, seconds: float, pixels: int, fault: str | None) -> None:
        with self._lock:
            self.seconds[kind].append(seconds)
            self.pixels += pixels
            self.faults += [f"{kind}: {fault}"] if fault else []

    def count_refusal(self) -> None:
        with self._lock:
            self.refused += 1


# --- What a client does: each function returns what is wrong, or None ---


class Client(NamedTuple):
    """One client's connection, and where it writes to."""

    address: str
    http: httpx.Client
    record: Record

    def ask(self, files: dict[str, bytes], **texts: str) -> httpx.Response:
        """The answer; while the queue is full, ask again."""
        while True:
            answer = self.http.post(f"{self.address}/v1/matte", files=files, data=texts)
            if answer.status_code != 503:
                return answer
            self.record.count_refusal()
            time.sleep(0.2)


def whole(client: Client, pair: Pair) -> str | None:
    answer = client.ask(pair.files, result="alpha")
    if answer.status_code != 200:
        return f"expected 200, got {answer.status_code}: {answer.text[:100]}"
    found = np.asarray(Image.open(io.BytesIO(answer.content)))
    if found.shape != pair.alpha.shape:
        return f"expected an alpha {pair.alpha.shape}, got {found.shape}"
    off = int(np.abs(found.astype(int) - pair.alpha).max())
    return None if off <= TOLERANCE else f"the alpha of {pair.alpha.shape} is off by {off} levels"


def cut_image(client: Client, pair: Pair) -> str | None:
    return _refusal(client.ask({**pair.files, "image": pair.image[: len(pair.image) // 2]}), 400)


def no_trimap(client: Client, pair: Pair) -> str | None:
    return _refusal(client.ask({"image": pair.image}), 400)


def no_image(client: Client, pair: Pair) -> str | None:
    return _refusal(client.ask({**pair.files, "image": b"GIF89a, or so it says"}), 400)


def no_form(client: Client, pair: Pair) -> str | None:
    answer = client.http.post(f"{client.address}/v1/matte", content=pair.image, headers={"content-type": "image/png"})
    return _refusal(answer, 415)


def half_an_upload(client: Client, pair: Pair) -> str | None:
    return _dropped(client, pair, 0.5)


def gone_before_the_answer(client: Client, pair: Pair) -> str | None:
    return _dropped(client, pair, 1.0)


# Kind -> how often, and what is done.
ACTIONS: dict[str, tuple[int, Callable[[Client, Pair], str | None]]] = {
    "whole": (14, whole),
    "cut image": (1, cut_image),
    "no trimap": (1, no_trimap),
    "no image": (1, no_image),
    "no form": (1, no_form),
    "half an upload": (1, half_an_upload),
    "gone before the answer": (1, gone_before_the_answer),
}


def _refusal(answer: httpx.Response, status: int) -> str | None:
    if answer.status_code != status:
        return f"expected {status}, got {answer.status_code}"
    return None if "error" in answer.json() else "expected an error in words, got none"


def _dropped(client: Client, pair: Pair, share: float) -> str | None:
    """Send a share of the body, then close the connection without a word."""
    request = httpx.Request("POST", f"{client.address}/v1/matte", files=pair.files, data={"result": "alpha"})
    body = request.read()
    head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
    with socket.create_connection((request.url.host, request.url.port or 80), timeout=PATIENCE) as connection:
        connection.sendall(f"POST /v1/matte HTTP/1.1\r\n{head}\r\n".encode() + body[: int(share * len(body))])
    return None


# --- The load ---


def load(
    address: str, pairs: Sequence[Pair], clients: int, seconds: float, most: int = sys.maxsize, seed: int = 0
) -> Record:
    """Ask from several clients at once.

    Args:
        seconds, most: a client ends after so long, or after so many requests.
    """
    record, end = Record(), time.monotonic() + seconds

    def client(number: int) -> None:
        rng = random.Random(seed * 1000 + number)
        with httpx.Client(timeout=PATIENCE, trust_env=False) as http:
            mine = Client(address, http, record)
            for _ in range(most):
                if time.monotonic() >= end:
                    break
                kind = rng.choices(list(ACTIONS), [weight for weight, _ in ACTIONS.values()])[0]
                pair = rng.choice(pairs)
                begun = time.perf_counter()
                try:
                    fault = ACTIONS[kind][1](mine, pair)
                except (httpx.HTTPError, OSError) as error:
                    fault = f"{type(error).__name__}: {error}"
                record.add(_class(pair) if kind == "whole" else kind, time.perf_counter() - begun,
                           pair.pixels if kind == "whole" else 0, fault)  # fmt: skip

    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return record


def _class(pair: Pair) -> str:
    return next(name for name, most in CLASSES.items() if pair.pixels <= most)


def make_pairs(matter: Matter, sizes: Sequence[tuple[int, int]] = SIZES) -> list[Pair]:
    """Parts of the bundled photographs in other sizes, with the library's answers."""
    pairs = []
    for number, size in enumerate(sizes):
        name = ("chelsea", "astronaut")[number % 2]
        image, trimap = Image.fromarray(read_image(example(f"{name}.jpg"))), read_trimap(example(f"{name}_trimap.png"))
        photo = np.asarray(image.resize(size, Image.Resampling.BOX))
        marks = np.asarray(Image.fromarray(trimap).resize(size, Image.Resampling.NEAREST))
        alpha = np.rint(matter.matte(photo, marks) * 255).astype(np.uint8)
        pairs.append(Pair(_png(photo), _png(marks), alpha))
    return pairs


def _png(array: Bytes) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()


# --- The server's memory ---


class Memory(threading.Thread):
    """Reads the server's resident memory from its `/metrics`, several times a second, until it is stopped."""

    def __init__(self, address: str) -> None:
        super().__init__()
        self.address = address
        self.mib: list[float] = []
        self._ended = threading.Event()

    def run(self) -> None:
        with httpx.Client(timeout=PATIENCE, trust_env=False) as http:
            while not self._ended.wait(0.2):
                text = http.get(f"{self.address}/metrics").text
                found = re.search(r"^process_resident_memory_bytes (\S+)", text, flags=re.MULTILINE)
                self.mib += [float(found[1]) / 2**20] if found else []

    def stop(self) -> None:
        self._ended.set()
        self.join()


def peaks(mib: Sequence[float]) -> list[float]:
    """The peak of each of the run's parts, which are equally long."""
    cuts = [round(part * len(mib) / PARTS) for part in range(PARTS + 1)]
    return [max(mib[a:b]) for a, b in pairwise(cuts) if b > a]


def growth(of_parts: Sequence[float]) -> tuple[float, float]:
    """The plateau, which is the median of the later peaks, and the largest deviation of one of them, as a share."""
    later = of_parts[WARM_UP:]
    plateau = statistics.median(later)
    return plateau, max(abs(peak / plateau - 1) for peak in later)


# --- The table ---


def report(record: Record, seconds: float, of_parts: Sequence[float], about: str) -> str:
    """Markdown."""
    plateau, deviation = growth(of_parts)
    lines = [about, "", "| requests | number | wrong | median s | p95 s |", "|---|---:|---:|---:|---:|"]
    wrong = Counter(fault.partition(":")[0] for fault in record.faults)
    for kind in (*CLASSES, *(name for name in ACTIONS if name != "whole")):
        if times := sorted(record.seconds.get(kind, [])):
            p95 = times[min(len(times) - 1, int(0.95 * len(times)))]
            lines.append(f"| {kind} | {len(times)} | {wrong[kind]} | {statistics.median(times):.3f} | {p95:.3f} |")
    count = sum(map(len, record.seconds.values()))
    lines += [
        "",
        f"{count / seconds:.1f} requests and {record.pixels / seconds / 1e6:.2f} megapixels of mattes a second; "
        f"{record.refused} times the queue was full, and the client asked again.",
        "",
        f"Memory: peaks of {', '.join(f'{peak:.0f}' for peak in of_parts)} MiB in the {PARTS} parts of the run. The "
        f"plateau, the median from part {WARM_UP + 1} on, is {plateau:.0f} MiB; the largest deviation {deviation:.1%}.",
    ]
    return "\n".join([*lines, *record.faults[:20]]) + "\n"


@contextmanager
def served(words: Sequence[str]) -> Iterator[str]:
    """The address of `cheapmatting serve`, in a process of its own, which ends well when it is told to."""
    call = [sys.executable, "-m", "cheapmatting", "serve", "--port", "0", *words]
    with subprocess.Popen(call, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        address = server.stdout.readline().strip().rstrip("/")
        try:
            if not address:
                raise UserError("expected `cheapmatting serve` to start; it says above why it did not")
            yield address
        finally:
            server.send_signal(signal.SIGTERM)
    if server.returncode:
        raise UserError(f"expected the server to end with status 0, got {server.returncode}")


def run() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--engine", default="torch", help="as for matte (default: torch)")
    parser.add_argument("--out", type=Path, default=OUT, help=f"the table (default: {OUT})")
    options = parser.parse_args()
    seconds = 60 * options.minutes
    matter = Matter(device="cpu", engine=options.engine)
    pairs = make_pairs(matter)
    with served(["--device", "cpu", "--engine", options.engine]) as address:
        memory = Memory(address)
        memory.start()
        begun = time.monotonic()
        try:
            record = load(address, pairs, options.clients, seconds)
        finally:
            memory.stop()
        took = time.monotonic() - begun
    about = (
        f"`python benchmarks/serve_load.py --minutes {options.minutes:g} --clients {options.clients}`: "
        f"cheapmatting-light, {matter.computed_by}; clients and server share this machine."
    )
    text = report(record, took, peaks(memory.mib), about)
    write_text(options.out, text)
    print(text)
    return int(bool(record.faults) or growth(peaks(memory.mib))[1] > GROWTH)


if __name__ == "__main__":
    raise SystemExit(exit_status(run))
