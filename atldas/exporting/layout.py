"""Expressions of Python as text over as many lines as they need."""

from __future__ import annotations

import re
from typing import NamedTuple

WIDTH = 110  # characters of a line


class Call(NamedTuple):
    """An expression of several parts: `opening`, then (text in front, expression) for each, then `closing`."""

    opening: str
    parts: list[tuple[str, Expression]]
    closing: str


Expression = str | Call


def laid_out(expression: Expression, before: str, after: str = "") -> str:
    """The expression behind the text `before`, over as many lines as it needs."""
    line = before + _flat(expression) + after
    indent = re.match(" *", before)[0]  # type: ignore[index]
    if isinstance(expression, str) or len(line) <= WIDTH:
        return line
    inner = [laid_out(part, f"{indent}    {front}", ",") for front, part in expression.parts]
    return "\n".join([before + expression.opening, *inner, indent + expression.closing + after])


def _flat(expression: Expression) -> str:
    if isinstance(expression, str):
        return expression
    return expression.opening + ", ".join(f + _flat(part) for f, part in expression.parts) + expression.closing
