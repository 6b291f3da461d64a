"""What every receiver does with a value that somebody else wrote: take what can be kept, refuse nothing."""

from __future__ import annotations

import hashlib
import re
from typing import Any
from uuid import UUID

LONGEST_EVENT_ID = 180  # characters, of the contract's 200: a receiver may add a suffix
LONGEST_CODE = 60
LONGEST_ADDRESS = 254  # RFC 5321, section 4.5.3.1.3, less the brackets
LONGEST_MESSAGE_ID = 200

# What Postgres cannot keep: NUL, and halves of surrogate pairs.
_UNKEEPABLE = re.compile("[\x00\ud800-\udfff]")


def text(value: Any, most: int) -> str:
    """A string of at most `most` characters that can be kept; "" for what is none."""
    return _UNKEEPABLE.sub("", value)[:most] if isinstance(value, str) else ""


def reference(value: Any) -> UUID | None:
    """Our target or attempt as it came back; None for what is no UUID."""
    try:
        return UUID(value) if isinstance(value, str) else None
    except ValueError:
        return None


def event_id(value: Any, raw: bytes) -> str:
    """The vendor's id of an event, or a hash of its bytes where it has none that can be kept."""
    if isinstance(value, str) and value and text(value, LONGEST_EVENT_ID) == value:
        return value
    return f"sha256:{hashlib.sha256(raw).hexdigest()}"
