"""Rendering of texts that others write: Liquid, because it is safe by design and what this field uses.

A template sees plain data only (the payload and the recipient), no objects, files or includes; loops and
output are bounded. Plain text and subjects are not escaped, HTML is.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from liquid import BoundTemplate, Environment
from liquid.exceptions import LiquidError

MAX_OUTPUT_BYTES = 200_000
MAX_LOOP_ITERATIONS = 10_000


class RenderingError(Exception):
    """A template that does not parse or does not render; the message is for its author."""


class _BoundedEnvironment(Environment):
    loop_iteration_limit = MAX_LOOP_ITERATIONS
    output_stream_limit = MAX_OUTPUT_BYTES
    local_namespace_limit = MAX_OUTPUT_BYTES
    context_depth_limit = 20


_TEXT = _BoundedEnvironment(autoescape=False)
_HTML = _BoundedEnvironment(autoescape=True)
for _environment in (_TEXT, _HTML):
    for _tag in ("include", "render"):  # there are no other templates to reach
        _environment.tags.pop(_tag, None)


@lru_cache(maxsize=2_000)
def _compiled(source: str, html: bool) -> BoundTemplate:
    try:
        return (_HTML if html else _TEXT).from_string(source)
    except LiquidError as error:
        raise RenderingError(str(error)) from error


def syntax_error(source: str) -> str | None:
    """Why the source does not parse, or None."""
    try:
        _compiled(source, False)
    except RenderingError as error:
        return str(error)
    return None


def render(source: str, context: dict[str, Any], *, html: bool = False) -> str:
    """The source with the context filled in; a name the context lacks is empty. Raises RenderingError."""
    if "{" not in source:
        return source
    try:
        return _compiled(source, html).render(context)
    except LiquidError as error:
        raise RenderingError(str(error)) from error
