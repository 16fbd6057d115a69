"""Connections that bring no request: uvicorn alone lets one open for as long as it sends a byte now and then."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol


class PunctualProtocol(H11Protocol):
    """Closes a connection whose next request has no whole header in time, counted from its opening or last answer.

    How long the body may take is the app's affair.
    """

    seconds = 20.0
    _closing: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """As uvicorn calls it."""
        super().connection_made(transport)
        self._expect_request()

    def on_response_complete(self) -> None:
        """As uvicorn calls it."""
        super().on_response_complete()
        self._expect_request()

    def connection_lost(self, exc: Exception | None) -> None:
        """As uvicorn calls it."""
        super().connection_lost(exc)
        self._cancel()

    def _expect_request(self) -> None:
        self._cancel()
        self._closing = self.loop.call_later(self.seconds, self._close_idle)

    def _close_idle(self) -> None:
        if self.cycle is None or self.cycle.response_complete:  # no request is being answered
            self.transport.close()

    def _cancel(self) -> None:
        if self._closing is not None:
            self._closing.cancel()
