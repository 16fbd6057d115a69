"""The interface in OpenAPI 3.1, and the same as a page that needs no script and nothing from elsewhere."""

from __future__ import annotations

import json
from html import escape
from typing import Any

from atldas import __version__

from ..inference.regions import REGIONS
from .answers import FORMATS, MEDIA_TYPES, RESULT_NAMES
from .limits import Limits

FILE = {"type": "string", "format": "binary"}
IMAGE = {**FILE, "description": "The photograph: PNG, JPEG, WebP, TIFF, BMP or AVIF."}
WIDTH = {"type": "string", "default": "2%", "description": "Of the unknown band: pixels, or percent of the diagonal."}
FAULTS = {
    "400": "A file or a field that cannot be used.",
    "403": "A web page of another site asks.",
    "408": "The request did not arrive in time.",
    "413": "Too many bytes or pixels.",
    "415": "Not a form with files.",
    "421": "A host name that is not this server's.",
    "503": "The queue is full, or the time is over; the header Retry-After says when to try again.",
}


def description(limits: Limits) -> dict[str, Any]:
    """The OpenAPI document."""
    bounds = (
        f"At most {limits.max_bytes} bytes a request, {limits.max_pixels} pixels an image, {limits.queue} requests at "
        f"once, {limits.timeout:g} s. Uploads are not stored. No address is fetched."
    )
    return {
        "openapi": "3.1.0",
        "info": {"title": "CheapMatting", "version": __version__, "description": bounds},
        "paths": {
            "/v1/matte": {"post": _matte()},
            "/v1/trimap": {"post": _trimap()},
            "/healthz": {"get": _plain("Whether the server lives, and what computes.", "application/json")},
            "/metrics": {"get": _plain("Counters for Prometheus.", "text/plain")},
        },
        "components": {
            "schemas": {"Error": {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}}}
        },
    }


def _matte() -> dict[str, Any]:
    fields = {
        "image": IMAGE,
        "trimap": {**FILE, "description": "0 background, 128 unknown, 255 foreground. Either this or mask."},
        "mask": {**FILE, "description": "A mask, RGBA cut-out or rough alpha, from which the trimap is made."},
        "width": {**WIDTH, "description": WIDTH["description"] + " Only with mask."},
        "result": _choice(RESULT_NAMES, "What is answered."),
        "background": {"type": "string", "description": "A colour such as #30a040, or a file, for result=composite."},
        "format": _choice(FORMATS, "The format of the answer."),
        "bits": _choice(("8", "16"), "The depth of result=alpha."),
        "views": _choice(("1", "2", "4"), "Average mirror images: better, as much slower."),
        "region": {
            "type": "string",
            "enum": list(REGIONS),
            "description": "What the network sees; by default as the server.",
        },
    }
    return _form("The matte of one photograph.", fields, ["image"], list(MEDIA_TYPES.values()))


def _trimap() -> dict[str, Any]:
    points = {"type": "array", "items": {"type": "string", "pattern": "^-?[0-9]+,-?[0-9]+$"}}
    fields = {
        "mask": {**FILE, "description": "A mask, RGBA cut-out or rough alpha. Either this or image and marks."},
        "image": IMAGE,
        "rectangle": {"type": "string", "description": "X,Y,WIDTH,HEIGHT in pixels, around all of the foreground."},
        "inside": {**points, "description": "X,Y of a point of the foreground; may be repeated."},
        "outside": {**points, "description": "X,Y of a point of the background; may be repeated."},
        "width": WIDTH,
    }
    return _form("A trimap from a mask, or from a photograph and marks.", fields, [], ["image/png"])


def _choice(words: tuple[str, ...], what: str) -> dict[str, Any]:
    return {"type": "string", "enum": list(words), "default": words[0], "description": what}


def _form(what: str, fields: dict[str, Any], required: list[str], answers: list[str]) -> dict[str, Any]:
    schema = {"type": "object", "required": required, "properties": fields, "additionalProperties": False}
    error = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    responses: dict[str, Any] = {"200": {"description": "A picture.", "content": {kind: {} for kind in answers}}}
    responses |= {status: {"description": why, "content": error} for status, why in FAULTS.items()}
    body = {"required": True, "content": {"multipart/form-data": {"schema": schema}}}
    return {"summary": what, "requestBody": body, "responses": responses}


def _plain(what: str, media_type: str) -> dict[str, Any]:
    return {"summary": what, "responses": {"200": {"description": what, "content": {media_type: {}}}}}


STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; margin: .5rem 0 1.5rem; }
td, th { text-align: left; vertical-align: top; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid #8884; }
code, pre { font: .9em ui-monospace, monospace; } pre { overflow: auto; background: #8882; padding: 1rem; }
"""


def description_page(limits: Limits) -> str:
    """The document as HTML."""
    whole = description(limits)
    parts = [
        f"<h1>{whole['info']['title']} {whole['info']['version']}</h1><p>{escape(whole['info']['description'])}</p>"
    ]
    for path, methods in whole["paths"].items():
        for method, operation in methods.items():
            parts.append(f"<h2><code>{method.upper()} {path}</code></h2><p>{escape(operation['summary'])}</p>")
            if "requestBody" in operation:
                schema = operation["requestBody"]["content"]["multipart/form-data"]["schema"]
                parts.append(
                    _table(("Field", "Values", "What"), [_row(*item) for item in schema["properties"].items()])
                )
                answers = [(status, answer["description"]) for status, answer in operation["responses"].items()]
                parts.append(_table(("Status", "What"), answers))
    document = escape(json.dumps(whole, indent=2))
    parts.append(f"<details><summary>The OpenAPI document (/openapi.json)</summary><pre>{document}</pre></details>")
    head = "<meta charset=utf-8><meta name=viewport content='width=device-width'><title>CheapMatting: API</title>"
    return f"<!doctype html><html lang=en><head>{head}<style>{STYLE}</style></head><body>{''.join(parts)}</body></html>"


def _row(name: str, schema: dict[str, Any]) -> tuple[str, str, str]:
    values = ", ".join(schema.get("enum", [])) or ("file" if schema.get("format") == "binary" else "text")
    default = f" (default: {schema['default']})" if "default" in schema else ""
    return name, values + default, schema["description"]


def _table(heads: tuple[str, ...], rows: list[Any]) -> str:
    head = "".join(f"<th>{escape(text)}</th>" for text in heads)
    body = "".join("<tr>" + "".join(f"<td>{escape(text)}</td>" for text in row) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"
