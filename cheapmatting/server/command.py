"""`cheapmatting serve` and `cheapmatting web`: the options, and the server's life from its socket to SIGTERM."""

from __future__ import annotations

import argparse
import math
import signal
import socket
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from atldas.common.errors import UserError

from ..inference.options import add_computing_options, computing, parse_memory

EXAMPLES = """examples:
  cheapmatting serve
  cheapmatting serve --port 9000 --max-pixels 8000000 --max-memory 3GiB
  cheapmatting serve --cors https://example.org
  curl -F image=@photo.jpg -F trimap=@trimap.png -o cutout.png http://127.0.0.1:8000/v1/matte
  curl -F image=@photo.jpg -F mask=@mask.png -F result=alpha -o alpha.png http://127.0.0.1:8000/v1/matte
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `serve`."""
    add_server_options(parser)


def add_server_options(parser: argparse.ArgumentParser) -> None:
    """The options that `serve` and `web` share."""
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1, this machine)")
    parser.add_argument("--port", type=int, default=8000, help="0: any free one, which is printed (default: 8000)")
    parser.add_argument("--weights", metavar="FILE|RUN|NAME", help="as for matte (default: cheapmatting-light)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps (default: auto)")
    add_computing_options(parser)
    parser.add_argument("--max-bytes", default="64MiB", metavar="SIZE", help="of a request (default: 64MiB)")
    parser.add_argument("--max-pixels", type=int, default=25_000_000, help="of an image (default: 25000000)")
    parser.add_argument("--queue", type=int, default=16, help="requests at once; more are refused (default: 16)")
    parser.add_argument(
        "--batch", type=int, default=4, metavar="N",
        help="small images of one size that are computed in one call (default: 4; 1: each alone)",
    )  # fmt: skip
    parser.add_argument("--timeout", type=float, default=120, metavar="SECONDS", help="of a request (default: 120)")
    parser.add_argument(
        "--cors", action="append", default=[], metavar="ORIGIN", help="a site whose pages may ask; repeatable"
    )
    parser.add_argument(
        "--allow-host", action="append", default=[], metavar="NAME",
        help="a further name of this server; repeatable (default: localhost; all, where other machines reach it)",
    )  # fmt: skip


def run(options: argparse.Namespace) -> int:
    """Serve until SIGTERM or Ctrl-C.

    Raises:
        UserError: options that cannot be used, or an address that is taken.
    """
    return serve(options, with_page=False)


def serve(
    options: argparse.Namespace, with_page: bool, when_ready: Any = None, make_site: Callable[[], Path] | None = None
) -> int:
    """Serve until SIGTERM or Ctrl-C, then finish the requests that are there.

    Args:
        with_page: as for `make_app`.
        when_ready: called with the address when the app is served there.
        make_site: makes the `site` of `make_app`; called when the options are checked and the port is ours, for it
            takes long.
    """
    _require_extra()
    import uvicorn

    from ..inference.matte import Matter
    from ..model.lookup import DEFAULT_WEIGHTS
    from .app import make_app
    from .connections import PunctualProtocol
    from .doors import LOCAL_NAMES, is_loopback
    from .limits import Limits

    _check(options)
    max_bytes = parse_memory(options.max_bytes, "--max-bytes")
    limits = Limits(max_bytes, options.max_pixels, options.queue, options.timeout, options.batch)
    listening = _listening(options.host, options.port)
    with listening:
        site = make_site() if make_site is not None else None
        matter = Matter(options.weights or DEFAULT_WEIGHTS, options.device, **computing(options))
        hosts = (*LOCAL_NAMES, *options.allow_host) if is_loopback(options.host) else tuple(options.allow_host) or None
        app = make_app(matter, limits, with_page=with_page, site=site, hosts=hosts, origins=tuple(options.cors))
        config = uvicorn.Config(
            app, http=PunctualProtocol, log_config=None, access_log=False, server_header=False,
            timeout_graceful_shutdown=math.ceil(options.timeout),
        )  # fmt: skip
        for number in (signal.SIGTERM, signal.SIGINT):  # uvicorn raises its signal again when all is finished
            signal.signal(number, signal.SIG_IGN)
        host = f"[{options.host}]" if ":" in options.host else options.host
        address = f"http://{host}:{listening.getsockname()[1]}/"
        print(matter.computed_by, file=sys.stderr)
        print(address, flush=True)
        if when_ready is not None:
            when_ready(address)
        uvicorn.Server(config).run(sockets=[listening])
    return 0


def _require_extra() -> None:
    missing = [
        name for name in ("starlette", "uvicorn", "python_multipart", "prometheus_client") if not find_spec(name)
    ]
    if missing:
        raise UserError(f"expected {', '.join(missing)} to be installed: pip install 'cheapmatting[web]'")


def _check(options: argparse.Namespace) -> None:
    for name, least in (("max_pixels", 1), ("queue", 1), ("batch", 1)):
        if getattr(options, name) < least:
            raise UserError(f"--{name.replace('_', '-')}: expected {least} or more, got {getattr(options, name)}")
    if not 0 < options.timeout < math.inf:
        raise UserError(f"--timeout: expected seconds, more than 0, got {options.timeout:g}")
    if not 0 <= options.port < 2**16:
        raise UserError(f"--port: expected 0 to 65535, got {options.port}")
    for origin in options.cors:
        if origin == "*" or "://" not in origin or origin.endswith("/"):
            raise UserError(f"--cors: expected an origin such as https://example.org, got {origin[:60]}")


def _listening(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=128)
    except OSError as error:
        raise UserError(
            f"{host}:{port}: cannot listen there ({error.strerror or error}); choose another --port"
        ) from error
