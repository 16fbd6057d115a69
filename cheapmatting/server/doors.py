"""Who may ask: a web page of another site, and a name that somebody points at this machine, may not.

A page anywhere can make its visitor's browser send a form to a server on the visitor's own machine. Such a request
names the page's origin, and one through a foreign name (DNS rebinding) names that host.
"""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a server that listens there."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Doors:
    """Refuses foreign hosts (421) and origins (403).

    Args:
        hosts: names in the header Host that are served; None: all.
        origins: other sites whose pages may ask, such as `https://example.org`.
    """

    def __init__(self, app: ASGIApp, hosts: tuple[str, ...] | None, origins: tuple[str, ...]) -> None:
        self.app, self.hosts, self.origins = app, hosts, origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = self._refusal(Headers(scope=scope)) if scope["type"] == "http" else None
        await (refusal or self.app)(scope, receive, send)

    def _refusal(self, headers: Headers) -> JSONResponse | None:
        host, origin = headers.get("host", ""), headers.get("origin")
        if self.hosts is not None and _name(host) not in self.hosts:
            return _error(
                421, f"host: expected {', '.join(self.hosts)}, got {host[:60]}; name others with --allow-host"
            )
        if origin is not None and origin not in self.origins and urlsplit(origin).netloc != host:
            return _error(403, f"origin: a page of {origin[:60]} may not ask; name its origin with --cors")
        return None


def _name(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _error(status: int, text: str) -> JSONResponse:
    return JSONResponse({"error": text}, status)
