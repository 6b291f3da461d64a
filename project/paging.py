"""The paging of every list: a keyset on one unique column, behind opaque cursors.

No OFFSET and no COUNT: a page reads its rows and one more, wherever in the list it is. A cursor says
"after (or before) the row with this key", so rows that come or go meanwhile are neither shown twice nor
skipped.
"""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from zlib import crc32

from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter
from pydantic import BaseModel, ConfigDict, Field, create_model
from pydantic import ValidationError as InvalidModel
from rest_framework.request import Request

from project.api import field_error, field_errors, invalid

DEFAULT_PAGE_SIZE = 20
MAX_PAGE_SIZE = 100

PARAMETERS = [
    OpenApiParameter("after", OpenApiTypes.STR, description="The page after this cursor, from `page_info`."),
    OpenApiParameter(
        "before", OpenApiTypes.STR, description="The page before this cursor; not with `after`."
    ),
    OpenApiParameter(
        "page_size",
        {"type": "integer", "minimum": 1, "maximum": MAX_PAGE_SIZE, "default": DEFAULT_PAGE_SIZE},
        description="How many items at most.",
    ),
]


_OWN = frozenset(parameter.name for parameter in PARAMETERS)


class NoFilters(BaseModel):
    """A list that is not filtered; the base of the filters of those that are."""

    model_config = ConfigDict(extra="forbid")


Filters = TypeVar("Filters", bound=NoFilters)


def filters_of(request: Request, model: type[Filters]) -> tuple[Filters, list[dict[str, str]]]:
    """What is asked for, or none of it and what is wrong: to be told together with the paging's errors."""
    query = request.query_params
    try:
        return model.model_validate({name: query[name] for name in query if name not in _OWN}), []
    except InvalidModel as error:
        return model(), field_errors(error)


class PageInfo(BaseModel):
    """Cursors to the neighbouring pages. Null: there is none."""

    after: str | None = Field(description="Send it as `after` to get the next page.")
    before: str | None = Field(description="Send it as `before` to get the previous page.")
    page_size: int


def page_model(name: str, item: type[BaseModel]) -> type[BaseModel]:
    """The schema of a page of these items. name: of the component, unique in the API."""
    model: type[BaseModel] = create_model(name, items=(list[item], ...), page_info=(PageInfo, ...))  # type: ignore[valid-type]
    return model


@dataclass(frozen=True)
class Page:
    """One page in list order, and what its neighbours are asked for with."""

    items: list[Any]
    page_info: dict[str, Any]

    def body(self, represent: Callable[[Any], Any]) -> dict[str, Any]:
        return {"items": [represent(item) for item in self.items], "page_info": self.page_info}


def paginate(
    query: Mapping[str, str],
    rows: QuerySet[Any, Any],
    column: str,
    *,
    newest_first: bool = True,
    errors: Sequence[Mapping[str, str]] = (),
) -> Page:
    """The page these query parameters ask for, or a 400 problem that names every bad one.

    column: unique among `rows` and indexed in that order; a field of the model itself. `rows` has no
    order of its own and may be of models or of `values()` that include the column. errors: of the view's
    own parameters, to be told together with these.
    """

    def read(key: Any, backwards: bool, limit: int) -> list[Any]:
        descending = newest_first != backwards
        beyond = rows if key is None else rows.filter(**{f"{column}__{'lt' if descending else 'gt'}": key})
        return list(beyond.order_by(f"-{column}" if descending else column)[:limit])

    parse = rows.model._meta.get_field(column).to_python
    return paginate_by(query, read, column=column, parse=parse, errors=errors)


def paginate_by(
    query: Mapping[str, str],
    read: Callable[[Any, bool, int], list[Any]],
    *,
    column: str,
    parse: Callable[[str], Any],
    errors: Sequence[Mapping[str, str]] = (),
) -> Page:
    """As `paginate`, for rows that are not a queryset.

    read: takes the key to go on from (None: from the start), whether backwards, and how many at most; it
    returns rows from there on, in the direction of reading. parse: the key from its text, or ValueError.
    """
    asked = _asked(query, column, parse, list(errors))
    backwards = asked.before is not None
    found = read(asked.before if backwards else asked.after, backwards, asked.page_size + 1)
    more = len(found) > asked.page_size
    items = found[: asked.page_size]
    if backwards:
        items.reverse()
    # Where we came from there is at least the row the cursor was made from.
    has_next, has_previous = (True, more) if backwards else (more, asked.after is not None)
    return Page(
        items,
        {
            "after": _cursor_of(items[-1], column) if items and has_next else None,
            "before": _cursor_of(items[0], column) if items and has_previous else None,
            "page_size": asked.page_size,
        },
    )


@dataclass(frozen=True)
class _Asked:
    after: Any
    before: Any
    page_size: int


def _asked(
    query: Mapping[str, str], column: str, parse: Callable[[str], Any], errors: list[Mapping[str, str]]
) -> _Asked:
    keys: dict[str, Any] = {}
    for name in ("after", "before"):
        keys[name] = None
        if name in query:
            try:
                keys[name] = parse(decode_cursor(column, query[name]))
            except (ValueError, ValidationError):
                errors.append(field_error(name, "invalid_cursor", "This is not a cursor of this list."))
    if "after" in query and "before" in query:
        errors.append(field_error("before", "conflict", "Send after or before, not both."))
    try:
        size = page_size_of(query.get("page_size"))
    except ValueError:
        errors.append(field_error("page_size", "out_of_range", f"A whole number, 1 to {MAX_PAGE_SIZE}."))
    if errors:
        raise invalid(errors)
    return _Asked(keys["after"], keys["before"], size)


def page_size_of(text: str | None) -> int:
    """Raises ValueError for anything but 1 to `MAX_PAGE_SIZE`."""
    if text is None:
        return DEFAULT_PAGE_SIZE
    if not (text.isascii() and text.isdecimal() and len(text) <= 4 and 1 <= int(text) <= MAX_PAGE_SIZE):
        raise ValueError(text)
    return int(text)


def encode_cursor(column: str, key: object) -> str:
    """A checksum, the column and the key. The checksum finds typing errors; a cursor gives no rights."""
    payload = f"{column}:{key}".encode()
    return urlsafe_b64encode(crc32(payload).to_bytes(4) + payload).decode().rstrip("=")


def decode_cursor(column: str, cursor: str) -> str:
    """The key's text. Raises ValueError for what `encode_cursor` did not make for this column."""
    try:
        payload = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))[4:].decode()
    except (binascii.Error, UnicodeError) as error:
        raise ValueError(cursor) from error
    name, _, key = payload.partition(":")
    if name != column or encode_cursor(column, key) != cursor:
        raise ValueError(cursor)
    return key


def _cursor_of(item: Any, column: str) -> str:
    return encode_cursor(column, item[column] if isinstance(item, dict) else getattr(item, column))
