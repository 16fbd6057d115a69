"""`cheapmatting web`: the server with its page, in the browser."""

from __future__ import annotations

import argparse
import webbrowser

from .command import add_server_options, serve

EXAMPLES = """examples:
  cheapmatting web
  cheapmatting web --no-browser --port 9000 --region near
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `web`."""
    parser.add_argument("--no-browser", action="store_true", help="only print the page's address")
    add_server_options(parser)


def run(options: argparse.Namespace) -> int:
    """Serve the page until Ctrl-C; photographs do not leave this machine.

    Raises:
        UserError: as `serve`.
    """
    return serve(options, with_page=True, when_ready=None if options.no_browser else webbrowser.open)
