"""A connection without a request is closed in time; one whose request is being answered is not."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from small import photograph, small_network

httpx = pytest.importorskip("httpx", reason="the extra web is not installed")
pytest.importorskip("uvicorn", reason="the extra web is not installed")

from serving import HeldMatter, png, serving, until  # noqa: E402

from cheapmatting.server.app import make_app  # noqa: E402
from cheapmatting.server.connections import PunctualProtocol  # noqa: E402


class Hasty(PunctualProtocol):
    seconds = 0.3


@pytest.fixture(scope="module")
def matter() -> HeldMatter:
    return HeldMatter(small_network().eval(), "cpu", engine="torch")


@pytest.fixture
def address(matter: HeldMatter) -> Iterator[str]:
    with serving(make_app(matter), Hasty) as url:
        yield url


def connected(address: str) -> socket.socket:
    host, port = address.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=20)


def is_closed(connection: socket.socket) -> bool:
    """Whether the other side closes it while a byte is sent now and then."""
    connection.settimeout(0.02)
    try:
        connection.sendall(b"x")
        return connection.recv(1000) == b""
    except TimeoutError:
        return False
    except (ConnectionResetError, BrokenPipeError):
        return True


@pytest.mark.parametrize("begun", [b"", b"GET /healthz HTTP/1.1\r\nHost: "])
def test_a_connection_without_a_request_is_closed(address: str, begun: bytes) -> None:
    with connected(address) as silent:
        silent.sendall(begun)
        assert silent.recv(1000) == b""


def test_bytes_now_and_then_do_not_keep_it_open(address: str) -> None:
    with connected(address) as dripping:
        dripping.sendall(b"GET /healthz HTTP/1.1\r\nX-Name: ")
        until(lambda: is_closed(dripping))


@pytest.mark.parametrize("length", [0, 999_999])  # the second has a body that never ends, and is answered all the same
def test_nor_after_an_answer(address: str, length: int) -> None:
    with connected(address) as dripping:
        dripping.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % length)
        assert dripping.recv(1000).startswith(b"HTTP/1.1 200")
        until(lambda: is_closed(dripping))


def test_a_request_that_is_computed_takes_its_time(address: str, matter: HeldMatter) -> None:
    image, trimap = photograph(40, 41)
    files = {"image": png(image), "trimap": png(trimap)}
    with ThreadPoolExecutor(1) as clients:
        asked = clients.submit(httpx.post, f"{address}/v1/matte", files=files, timeout=30)
        until(lambda: matter.began)
        with connected(address) as later:
            assert later.recv(1000) == b""  # so the limit is over for the earlier connection too
        matter.release.set()
        assert asked.result().status_code == 200
