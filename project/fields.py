"""Types of fields that several bodies and queries have."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, BeforeValidator
from pydantic_core import PydanticCustomError

_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def _is_rfc_3339(value: object) -> object:
    """Pydantic would also take numbers, and guess their unit."""
    if isinstance(value, datetime) or (isinstance(value, str) and _RFC_3339.fullmatch(value)):
        return value
    raise PydanticCustomError("time", "Send an RFC 3339 time with its offset, such as 2027-01-31T09:00:00Z.")


def _utc(value: datetime) -> datetime:
    """What is beyond the year 9999 in UTC could be written and never be read."""
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise PydanticCustomError("time", "This time is out of range.") from None


Time = Annotated[AwareDatetime, BeforeValidator(_is_rfc_3339), AfterValidator(_utc)]  # as UTC

_LOST_PLUS = re.compile(r" (?=\d\d:\d\d$)")


def _with_plus(value: object) -> object:
    """A + that was not escaped in the address arrives as a space."""
    return _LOST_PLUS.sub("+", value) if isinstance(value, str) else value


QueryTime = Annotated[Time, BeforeValidator(_with_plus)]
