"""The app on Ray Serve, with two replicas on this machine."""

from __future__ import annotations

import io
import re
import socket
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image
from small import photograph

httpx = pytest.importorskip("httpx", reason="the extra web is not installed")
ray = pytest.importorskip("ray", reason="Ray is not installed (pip install -e '.[ray]')")

from serving import png, until  # noqa: E402

from cheapmatting.inference.matte import Matter  # noqa: E402

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # Ray's own
    from ray import serve

    from cheapmatting.server.on_ray import Options, application

pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        serve.start(http_options={"host": "127.0.0.1", "port": port})
        serve.run(application(Options(replicas=2, max_pixels=10_000)))
        yield f"http://127.0.0.1:{port}"
    finally:
        serve.shutdown()
        ray.shutdown()


def test_two_replicas_give_the_librarys_answers(address: str) -> None:
    matter = Matter(device="cpu", engine="torch")
    pairs = [photograph(40 + 3 * seed, 70 - 2 * seed, seed) for seed in range(6)]

    def off(pair: tuple[np.ndarray, np.ndarray]) -> float:
        files = {"image": png(pair[0]), "trimap": png(pair[1])}
        answer = httpx.post(f"{address}/v1/matte", files=files, data={"result": "alpha"}, timeout=60)
        assert answer.status_code == 200, answer.text
        return float(np.abs(np.asarray(Image.open(io.BytesIO(answer.content))) - 255 * matter.matte(*pair)).max())

    with ThreadPoolExecutor(4) as clients:
        assert max(clients.map(off, pairs)) <= 1

    started: set[str] = set()  # of the processes that answer

    def both() -> bool:
        text = httpx.get(f"{address}/metrics").text
        started.update(re.findall(r"^process_start_time_seconds (\S+)$", text, flags=re.MULTILINE))
        return len(started) == 2

    until(both)


def test_limits_and_options_are_those_that_were_given(address: str) -> None:
    files = dict(zip(("image", "trimap"), map(png, photograph(200, 200)), strict=True))
    answer = httpx.post(f"{address}/v1/matte", files=files, timeout=60)
    assert answer.status_code == 413
    assert answer.json()["error"].startswith("image: expected at most 10000 pixels, got 200 x 200")
    assert httpx.get(f"{address}/healthz").json()["status"] == "ok"
    with pytest.raises(ValueError, match="max_pixel\n"):
        Options.model_validate({"max_pixel": "8000000"})
    assert Options.model_validate({"max_pixels": "8000000"}).max_pixels == 8_000_000
