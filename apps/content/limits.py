"""What a template may cost. Somebody hostile may have written it, or the data it is given.

Most limits count, so that the same template with the same data always ends the same way; the time is the
last resort, for what is slow within them. It is the thread's CPU time: a busy machine fails no template.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

from liquid import BoundTemplate, Environment, RenderContext, Token
from liquid.builtin.expressions.primitive import RangeLiteral
from liquid.exceptions import (
    FilterArgumentError,
    LiquidError,
    LoopIterationLimitError,
    ResourceLimitError,
)

MAX_SOURCE = 100_000  # characters
MAX_TAG = 4_000  # characters from {{ to }}, or from {% to %}
MAX_TAGS = 5_000
MAX_GAP = 100  # white space in a row within a tag
MAX_VERBATIM = 50  # {% raw %} and {% doc %}
MAX_OUTPUT_BYTES = 200_000
MAX_LOOP_ITERATIONS = 10_000
MAX_STEPS = 50_000  # tags and filters come by while rendering
MAX_CPU_SECONDS = 0.15
MAX_TEXT = 200_000  # characters a filter takes or makes
MAX_ITEMS = 10_000  # of a list a filter takes or makes
MAX_BITS = 4_096  # of a whole number a filter makes


class OutOfTime(ResourceLimitError):
    """It took too long."""


class _Context(RenderContext):
    """Counts steps and looks at the clock from time to time."""

    __slots__ = ("_disabled_tags", "_started", "_steps")

    @property
    def disabled_tags(self) -> list[str]:
        """Asked for before every tag, whatever it is: the one place where all of them come by."""
        self._steps += 1
        if not self._steps & 15:
            self._check()
        return self._disabled_tags

    @disabled_tags.setter
    def disabled_tags(self, tags: list[str]) -> None:
        self._disabled_tags = tags  # by the constructor only
        self._steps = 0
        self._started = 0.0

    def filter(self, name: str, token: Token | None) -> Callable[..., object]:
        self._steps += 1
        self._check()  # each time: one filter may take milliseconds
        return super().filter(name, token)

    def _check(self) -> None:
        if self._steps > MAX_STEPS:
            raise ResourceLimitError(f"more than {MAX_STEPS:,} steps", token=None)
        now = time.thread_time()
        if not self._started:
            self._started = now
        elif now - self._started > MAX_CPU_SECONDS:
            raise OutOfTime(f"it takes longer than {MAX_CPU_SECONDS} s", token=None)


class _Template(BoundTemplate):
    context_class = _Context

    def render(self, data: Mapping[str, Any]) -> str:
        """As the library's, without the layers of globals that no template of ours has."""
        buffer = self._get_buffer()
        self.render_with_context(_Context(self, globals=data), buffer)
        return buffer.getvalue()


class BoundedEnvironment(Environment):
    """Liquid without other templates to reach, without a way around escaping, and with every limit set."""

    template_class = _Template
    loop_iteration_limit = MAX_LOOP_ITERATIONS
    output_stream_limit = MAX_OUTPUT_BYTES
    local_namespace_limit = MAX_OUTPUT_BYTES
    context_depth_limit = 20

    def setup_tags_and_filters(self, *, extra: bool = False) -> None:
        super().setup_tags_and_filters(extra=extra)
        for tag in ("include", "render"):
            del self.tags[tag]
        for name in ("safe", "escapejs"):  # "values are escaped" has no exception
            del self.filters[name]
        self.filters = {name: _bounded(name, function) for name, function in self.filters.items()}

    def error(self, exc: Any, msg: str | None = None, token: Token | None = None) -> None:
        """Give an error the place of its tag, where its own is only "the end of the expression"."""
        if isinstance(exc, LiquidError) and (exc.token is None or exc.token.start_index < 0):
            exc.token = token
        super().error(exc, msg, token)


def _bounded_range(self: RangeLiteral, start: Any, stop: Any) -> range:
    made = _make_range(self, start, stop)
    if made.stop - made.start > MAX_LOOP_ITERATIONS:
        raise LoopIterationLimitError(f"a range of more than {MAX_LOOP_ITERATIONS:,}", token=self.token)
    return made


# There is no hook for it, and `(1..1000000000) | reverse` or `reversed` make a list before any other limit.
_make_range = RangeLiteral._make_range
RangeLiteral._make_range = _bounded_range  # type: ignore[method-assign]


def _bounded(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A filter that refuses operands and results out of all proportion."""
    result_of: Callable[..., Any] = _SPECIAL.get(name, _plainly)

    @wraps(function)  # also copies the library's marks on the function
    def bounded(*operands: Any, **named: Any) -> Any:
        if named and named.keys() - {"environment", "allow_false"}:
            raise FilterArgumentError(f"{name} takes no named arguments", token=None)
        for operand in operands:
            _check_size(operand)
        result = result_of(function, *operands, **named)
        _check_size(result)
        return result

    return bounded


def _check_size(value: Any) -> None:
    if isinstance(value, str):
        too_big = len(value) > MAX_TEXT
    elif isinstance(value, list | tuple | dict):
        too_big = len(value) > MAX_ITEMS
    else:
        too_big = isinstance(value, int) and value.bit_length() > MAX_BITS
    if too_big:
        raise ResourceLimitError(f"a {type(value).__name__} too big for a filter", token=None)


def _plainly(function: Callable[..., Any], *operands: Any, **named: Any) -> Any:
    return function(*operands, **named)


def _replace(function: Callable[..., Any], value: Any, old: Any = "", new: Any = "") -> Any:
    """Its result can be as long as the product of its operands.

    They are taken as text, though written in the template: what was escaped is not put back by
    `replace: "&lt;", "<"`.
    """
    old, new = _as_text(old), _as_text(new)
    _limit(str(value).count(old) * len(new), MAX_TEXT, "text")
    return function(value, old, new)


def _as_text(value: Any) -> str:
    return str.__str__(value) if isinstance(value, str) else str(value)


def _join(function: Callable[..., Any], items: Any, separator: Any = " ", **named: Any) -> Any:
    if isinstance(items, list | tuple | range):
        _limit(len(items) * len(str(separator)), MAX_TEXT, "text")
    return function(items, separator, **named)


def _concat(function: Callable[..., Any], first: Any, second: Any) -> Any:
    """Twice the same big list in a list, and so on, would be little here and much in the output."""
    _limit(_weight(first) + _weight(second), MAX_TEXT, "list")
    return function(first, second)


def _weight(value: Any) -> int:
    if isinstance(value, str):
        return len(value)
    if isinstance(value, list | tuple):
        return sum(map(_weight, value)) + len(value)
    if isinstance(value, dict):
        return sum(map(_weight, value.values())) + len(value)
    return 10


def _uniq(function: Callable[..., Any], items: Any, *key: Any) -> Any:
    """It compares each with each."""
    if isinstance(items, list | tuple | range):
        _limit(len(items), MAX_ITEMS // 10, "list")
    return function(items, *key)


def _strip_html(function: Callable[..., Any], value: Any, **named: Any) -> Any:
    """Python's HTML parser is slow, and by the square of the length for some texts."""
    text = str(value)
    _limit(max(len(text) // 50, text.count("<") + text.count("&")), MAX_ITEMS // 10, "text")
    return function(value, **named)


def _date(function: Callable[..., Any], value: Any, form: Any, **named: Any) -> Any:
    """What is no date stays as it is, as Liquid has it."""
    _limit(max(len(str(value)), len(str(form))), 100, "date")
    try:
        return function(value, form, **named)
    except (ValueError, OverflowError, OSError):
        return str(value)


def _limit(size: int, most: int, what: str) -> None:
    if size > most:
        raise ResourceLimitError(f"a {what} too big for a filter", token=None)


_SPECIAL: dict[str, Callable[..., Any]] = {
    "concat": _concat,
    "date": _date,
    "join": _join,
    "replace": _replace,
    "replace_first": _replace,
    "replace_last": _replace,
    "strip_html": _strip_html,
    "uniq": _uniq,
}


_OPENING = re.compile(r"\{([{%])")
_GAP = re.compile(rf"\s{{{MAX_GAP}}}")
_VERBATIM = re.compile(r"\{%-?\s*(?:raw|doc)\b")


def source_error(source: str) -> str | None:
    """Why the source is not even looked at, or None. In time by its length, which the parser's is not."""
    if len(source) > MAX_SOURCE:
        return f"It is longer than {MAX_SOURCE:,} characters."
    if source.count("{{") + source.count("{%") > MAX_TAGS:
        return f"It has more than {MAX_TAGS:,} tags."
    for opening in _OPENING.finditer(source):
        closing = "}}" if opening[1] == "{" else "%}"
        end = source.find(closing, opening.end(), opening.end() + MAX_TAG)
        if end < 0:
            return f"{_line(source, opening)}: {opening[0]} without {closing} soon after."
        if _GAP.search(source, opening.end(), end):
            return f"{_line(source, opening)}: more than {MAX_GAP} spaces within a tag."
    if len(_VERBATIM.findall(source)) > MAX_VERBATIM:
        return f"It has more than {MAX_VERBATIM} raw or doc tags."
    return None


def _line(source: str, place: re.Match[str]) -> str:
    return f"Line {source.count(chr(10), 0, place.start()) + 1}"
