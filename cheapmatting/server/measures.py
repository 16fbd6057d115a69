"""What `/metrics` tells Prometheus."""

from __future__ import annotations

import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SECONDS = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)
TOGETHER = (1, 2, 4, 8, 16)
CLIENT_GONE = 499  # nginx's number for a client that closed the connection


class Measures:
    """The counters of one server.

    Args:
        queue: how many places of the queue are taken.
    """

    def __init__(self, queue: Callable[[], int]) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "cheapmatting_requests", "Answered requests.", ["route", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "cheapmatting_request_seconds", "From a request's first byte to its answer's last.", ["route"],
            buckets=SECONDS, registry=self.registry,
        )  # fmt: skip
        self.together = Histogram(
            "cheapmatting_requests_per_call", "How many requests a call of the network computed.",
            buckets=TOGETHER, registry=self.registry,
        )  # fmt: skip
        places = Gauge("cheapmatting_queue_places_taken", "Requests received or computed now.", registry=self.registry)
        places.set_function(queue)
        ProcessCollector(registry=self.registry)

    def text(self) -> bytes:
        """All of them in Prometheus' text format."""
        return generate_latest(self.registry)


class Measured:
    """Counts and times the requests of an app; routes that are not in `routes` are counted as one."""

    def __init__(self, app: ASGIApp, measures: Measures, routes: tuple[str, ...]) -> None:
        self.app, self.measures, self.routes = app, measures, routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status, start = 500, time.perf_counter()

        async def observed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, observed)
        finally:
            route = scope["path"] if scope["path"] in self.routes else "other"
            self.measures.requests.labels(route, status).inc()
            self.measures.seconds.labels(route).observe(time.perf_counter() - start)
