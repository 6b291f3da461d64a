"""Rendering of texts that others write: Liquid, because it is safe by design and what this field uses.

A template sees plain data only (the payload and the recipient), no objects, files or includes. Plain text
and subjects are not escaped; in HTML every value is, without exception. A name the data lacks is empty.

Whatever a template or a payload does, it costs a bounded time and memory: `limits.py` says how much, and
what ran into a limit is not tried again with the same data.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import orjson
from liquid import BoundTemplate
from liquid.exceptions import LiquidError, LiquidSyntaxError, ResourceLimitError

from apps.content.limits import BoundedEnvironment, OutOfTime, source_error
from apps.content.plain import Pieces, filled, pieces_of

PERSONAL = {"recipient", "unsubscribe_url"}  # names of the context that are another's for each recipient
_REMEMBERED = 200  # combinations of source and data that ran into a limit
_MESSAGE = 300  # characters of an error


class RenderingError(Exception):
    """A template that does not parse or does not render; the message is for its author."""


_TEXT = BoundedEnvironment(autoescape=False)
_HTML = BoundedEnvironment(autoescape=True)


@lru_cache(maxsize=2_000)
def _compiled(source: str, html: bool) -> BoundTemplate | str:
    """The template, or why it does not parse: so that a bad one costs its time once, too."""
    if refused := source_error(source):
        return refused
    try:
        return (_HTML if html else _TEXT).from_string(source)
    except LiquidError as error:
        return _told(error)


def syntax_error(source: str) -> str | None:
    """Why the source does not parse or names a filter that does not exist, with its line; or None."""
    template = _compiled(source, False)
    return template if isinstance(template, str) else _unknown_filter(template, source)


def _unknown_filter(template: BoundTemplate, source: str) -> str | None:
    for name, (where, *_) in template.analyze(include_partials=False).filters.items():
        if name not in _TEXT.filters:
            line, column = where.line_col(source)
            return f"Line {line}, column {column + 1}: there is no filter “{name[:50]}”."
    return None


def names_used(source: str) -> set[str]:
    """The names the source takes from its data (`order` of `{{ order.id }}`); none if it does not parse."""
    template = _compiled(source, False)
    return set() if isinstance(template, str) else set(template.global_variables(include_partials=False))


@lru_cache(maxsize=2_000)
def _pieces(source: str, html: bool) -> Pieces | None:
    template = _compiled(source, html)
    return None if isinstance(template, str) else pieces_of(template)


_too_costly: dict[tuple[str, bool, int], str] = {}


def render(source: str, context: Mapping[str, Any], *, html: bool = False) -> str:
    """The source with the context filled in; a name the context lacks is empty. Raises RenderingError."""
    if "{" not in source:
        return source
    pieces = _pieces(source, html)
    if pieces is not None and (text := filled(pieces, context, html=html)) is not None:
        return text.replace("\0", "") if "\0" in text else text
    if _too_costly and (known := _too_costly.get(_key(source, context, html))):
        raise RenderingError(known)
    template = _compiled(source, html)
    if isinstance(template, str):
        raise RenderingError(template)
    try:
        text = _rendered(template, context)
    except ResourceLimitError as error:
        _remember(_key(source, context, html), _told(error))
        raise RenderingError(_told(error)) from error
    except Exception as error:  # the library lets through what Python's functions raise on odd values
        raise RenderingError(_told(error)) from error
    return text.replace("\0", "") if "\0" in text else text  # which Postgres does not take


def _rendered(template: BoundTemplate, context: Mapping[str, Any]) -> str:
    try:
        return template.render(context)
    except OutOfTime:  # once more: it may have been the machine's fault
        return template.render(context)


def _key(source: str, context: Mapping[str, Any], html: bool) -> tuple[str, bool, int]:
    """The same for all recipients of a notification: they share its payload."""
    payload = {name: value for name, value in context.items() if name not in PERSONAL}
    try:
        return source, html, hash(orjson.dumps(payload, default=str))
    except TypeError:  # nested deeper than any honest payload
        return source, html, 0


def _remember(key: tuple[str, bool, int], message: str) -> None:
    if len(_too_costly) >= _REMEMBERED:
        _too_costly.clear()
    _too_costly[key] = message


def _told(error: Exception) -> str:
    if not isinstance(error, LiquidError):
        return f"{type(error).__name__}: {error}"[:_MESSAGE]
    message = str(error.message)[:_MESSAGE]
    try:
        place = error.context()
    except ValueError:
        place = None  # past the end
    if place:
        return f"Line {place[0]}, column {place[1] + 1}: {message}"
    return f"At the end: {message}" if isinstance(error, LiquidSyntaxError) else message
