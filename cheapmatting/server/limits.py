"""What a server accepts, and the refusal of the rest."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Bounds of what a request may cost.

    Attributes:
        max_bytes: of a request's body; more is 413.
        max_pixels: of each image, read from its header before it is decoded; more is 413.
        queue: requests that are received, wait or are computed at once; one more is 503.
        timeout: seconds for receiving a request (then 408), and for waiting and computing together (then 503).
        batch: requests of one size that a call of the network may compute, where `Matter.together` allows as many.
    """

    max_bytes: int = 64 * 2**20
    max_pixels: int = 25_000_000
    queue: int = 16
    timeout: float = 120.0
    batch: int = 4


class RefusalError(Exception):
    """A request that is not carried out.

    Attributes:
        status: of HTTP, 4xx or 503.
        reason: one line for the client.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


class ClientGoneError(Exception):
    """The client closed the connection: nobody reads an answer."""
