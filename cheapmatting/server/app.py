"""The app: its routes, and what becomes of faults."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from starlette.applications import Starlette
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Message

from atldas import __version__
from atldas.common.errors import UserError

from ..decoding import TooManyPixelsError
from ..inference.matte import Matter
from .answers import MATTE_FILES, MATTE_TEXTS, TRIMAP_FILES, TRIMAP_REPEATED, TRIMAP_TEXTS, matte_work, trimap_work
from .description import description, description_page
from .doors import Doors
from .limits import ClientGoneError, Limits, RefusalError
from .measures import CLIENT_GONE, Measured, Measures
from .parameters import Fields
from .site import BACK_ENDS, IN_BROWSER, PAGE
from .work_queue import Work, WorkQueue

# The page loads nothing from elsewhere and sends nothing there; pictures are made in it (blob:). It may compile
# WebAssembly, and is isolated from other origins, for else browsers give WebAssembly no threads.
PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; img-src 'self' blob: data:; "
    "frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}
DOCS_HEADERS = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"}
RETRY_AFTER = "5"  # seconds


def make_app(
    matter: Matter,
    limits: Limits = Limits(),  # noqa: B008
    *,
    with_page: bool = False,
    site: Path | None = None,
    hosts: tuple[str, ...] | None = None,
    origins: tuple[str, ...] = (),
) -> Starlette:
    """An ASGI app with one network for all requests.

    Args:
        with_page: `/` is the page for people.
        site: a folder of `write_site`, with which the page offers the browser as well.
        hosts, origins: see `Doors`; browsers let the pages of `origins` read the answers.
    """
    queue = WorkQueue(limits.queue, limits.timeout, limits.batch)
    measures = Measures(lambda: queue.taken)

    async def matte(request: Request) -> Response:
        read = partial(Fields.of, files=MATTE_FILES, texts=MATTE_TEXTS)

        def work(fields: Fields) -> Work:
            return matte_work(matter, fields, limits.max_pixels, called=measures.together.observe)

        return await _answer(request, queue, limits, read, work)

    async def trimap(request: Request) -> Response:
        read = partial(Fields.of, files=TRIMAP_FILES, texts=TRIMAP_TEXTS, repeated=TRIMAP_REPEATED)
        return await _answer(request, queue, limits, read, lambda fields: trimap_work(fields, limits.max_pixels))

    async def health(request: Request) -> Response:
        return JSONResponse({"status": "ok", "version": __version__, "computed_by": matter.computed_by})

    async def metrics(request: Request) -> Response:
        return Response(measures.text(), media_type="text/plain; version=0.0.4")

    async def openapi(request: Request) -> Response:
        return JSONResponse(description(limits))

    async def back_ends(request: Request) -> Response:
        return JSONResponse(["local", *(IN_BROWSER if site else [])])

    async def docs(request: Request) -> Response:
        return HTMLResponse(description_page(limits), headers={**PAGE_HEADERS, **DOCS_HEADERS})

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(queue.close)

    routes: list[BaseRoute] = [
        Route("/v1/matte", matte, methods=["POST"]),
        Route("/v1/trimap", trimap, methods=["POST"]),
        Route("/healthz", health),
        Route("/metrics", metrics),
        Route("/openapi.json", openapi),
        Route("/docs", docs),
    ]
    known = tuple(route.path for route in routes if isinstance(route, Route))
    if with_page:
        routes.append(Route(f"/{BACK_ENDS}", back_ends))
        routes.append(Mount("/", _Page(directory=site or PAGE, html=True)))
    middleware = [
        Middleware(Measured, measures=measures, routes=known),
        Middleware(Doors, hosts=hosts, origins=origins),
        Middleware(CORSMiddleware, allow_origins=origins, allow_methods=["GET", "POST"]),
    ]
    handlers = {
        RefusalError: _refused, UserError: _misused, HTTPException: _known, ClientGoneError: _gone,
        ClientDisconnect: _gone, Exception: _failed,
    }  # fmt: skip
    return Starlette(routes=routes, middleware=middleware, exception_handlers=handlers, lifespan=lifespan)  # type: ignore[arg-type]


async def _answer(
    request: Request, queue: WorkQueue, limits: Limits,
    read: Callable[[FormData], Awaitable[Fields]], work_of: Callable[[Fields], Work],
) -> Response:  # fmt: skip
    """Take a place, receive the form, have the work done when its turn comes."""
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise RefusalError(415, "expected a form with files (multipart/form-data)")
    if request.url.query:  # leaving out what was asked for would be no answer to it
        raise RefusalError(400, f"expected fields of the form, got a query in the address: {request.url.query[:60]}")
    with queue.place() as place:
        fields = await _received(request, limits, read)
        data, media_type = await place.computed(work_of(fields), _until_gone(request))
    return Response(data, media_type=media_type)


async def _received(request: Request, limits: Limits, read: Callable[[FormData], Awaitable[Fields]]) -> Fields:
    try:
        body = await asyncio.wait_for(_body(request, limits), limits.timeout)
    except asyncio.TimeoutError as error:  # another class than TimeoutError in Python 3.10
        raise RefusalError(408, f"expected the whole request within {limits.timeout:g} s") from error
    if not body.rstrip().endswith(b"--"):
        raise RefusalError(400, "expected a whole form, got one that is cut short")

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    async with Request(request.scope, receive).form(max_files=4, max_fields=100, max_part_size=1024) as form:
        return await read(form)


async def _body(request: Request, limits: Limits) -> bytes:
    """The body, up to the limit of bytes: a client may leave out the length, or lie."""
    if int(request.headers.get("content-length", "0")) > limits.max_bytes:
        raise _too_many_bytes(limits)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limits.max_bytes:
            raise _too_many_bytes(limits)
    return bytes(body)


def _too_many_bytes(limits: Limits) -> RefusalError:
    return RefusalError(413, f"expected at most {limits.max_bytes} bytes")


async def _until_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


class _Page(StaticFiles):
    """The page's files, with headers that keep it to itself."""

    def file_response(self, *args: object, **kwargs: object) -> Response:
        response = super().file_response(*args, **kwargs)  # type: ignore[arg-type]
        response.headers.update(PAGE_HEADERS)
        return response


def _error(status: int, text: str) -> JSONResponse:
    headers = {"Retry-After": RETRY_AFTER} if status == 503 else {}
    if status in (408, 413):
        headers["Connection"] = "close"  # the rest of the body is not wanted
    return JSONResponse({"error": text}, status, headers)


async def _refused(request: Request, error: RefusalError) -> Response:
    return _error(error.status, error.reason)


async def _misused(request: Request, error: UserError) -> Response:
    return _error(413 if isinstance(error, TooManyPixelsError) else 400, str(error))


async def _known(request: Request, error: HTTPException) -> Response:
    return _error(error.status_code, error.detail)


async def _gone(request: Request, error: Exception) -> Response:
    return Response(status_code=CLIENT_GONE)


async def _failed(request: Request, error: Exception) -> Response:
    return _error(500, "a defect of this server; its log has more")
