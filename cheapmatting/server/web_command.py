"""`cheapmatting web`: the server with its page, in the browser; or the page alone, as a folder."""

from __future__ import annotations

import argparse
import tempfile
import webbrowser
from pathlib import Path

from .browser_runtime import FETCH, TARBALL
from .command import add_server_options, serve

EXAMPLES = f"""examples:
  cheapmatting web
  cheapmatting web --no-browser --port 9000 --region near
  {FETCH}
  cheapmatting web --runtime {TARBALL}
  cheapmatting web --static site --runtime {TARBALL}
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `web`."""
    parser.add_argument("--no-browser", action="store_true", help="only print the page's address")
    parser.add_argument(
        "--static",
        type=Path,
        metavar="DIR",
        help="write the page for any static host, where the browser itself computes",
    )
    parser.add_argument(
        "--runtime",
        type=Path,
        metavar="FILE|DIR",
        help=f"npm's package for computing in the browser, packed or unpacked; `{FETCH}` fetches it",
    )
    add_server_options(parser)


def run(options: argparse.Namespace) -> int:
    """Serve the page until Ctrl-C, or write it; photographs do not leave this machine.

    Raises:
        UserError: as `serve` and `write_site`.
    """
    when_ready = None if options.no_browser else webbrowser.open
    if options.static is None and options.runtime is None:
        return serve(options, with_page=True, when_ready=when_ready)
    from ..model.lookup import DEFAULT_WEIGHTS
    from .site import write_site

    weights = options.weights or DEFAULT_WEIGHTS
    if options.static is not None:
        print(f"the network: {write_site(options.static, weights, options.runtime)}")
        print(f"written to {options.static}; try it with: python -m http.server -d {options.static}")
        return 0
    with tempfile.TemporaryDirectory(prefix="cheapmatting") as place:
        page = Path(place) / "page"

        def make_site() -> Path:
            write_site(page, weights, options.runtime)
            return page

        return serve(options, with_page=True, when_ready=when_ready, make_site=make_site)
