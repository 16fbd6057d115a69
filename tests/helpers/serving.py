"""A server on a free port of this machine, in a thread."""

from __future__ import annotations

import io
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import uvicorn
from PIL import Image
from starlette.applications import Starlette

from cheapmatting.inference.matte import Matter
from cheapmatting.server.connections import PunctualProtocol


@contextmanager
def serving(app: Starlette, http: type[PunctualProtocol] = PunctualProtocol) -> Iterator[str]:
    """The address of `app`, served until the end of the block; requests that run are finished."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        config = uvicorn.Config(app, http=http, log_config=None, ws="none", timeout_graceful_shutdown=20)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            until(lambda: server.started)
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


def until(true: Any) -> None:
    """Wait until a function returns something true; an error after 20 s."""
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end, "waited for 20 s"
        time.sleep(0.01)


def png(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()


class HeldMatter(Matter):
    """Waits for `release` in every matte, and counts how many began."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.release = threading.Event()
        self.began: list[tuple[int, ...]] = []

    def matte(self, image: Any, trimap: Any) -> Any:
        self.began.append(np.shape(trimap))
        assert self.release.wait(20)
        return super().matte(image, trimap)
