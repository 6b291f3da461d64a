"""UUIDv7 (RFC 9562, section 5.7): ids that sort by time, made here so that Postgres 15 will do."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from uuid import UUID

_VERSION = 7 << 76
_VARIANT = 2 << 62
_RANDOM = (1 << 62) - 1
_52_BITS = (1 << 52) - 1


def uuid7() -> UUID:
    """A new id: 48 bits of milliseconds, 74 random bits."""
    random = int.from_bytes(os.urandom(10), "big")
    milliseconds = time.time_ns() // 1_000_000
    return UUID(
        int=milliseconds << 80 | _VERSION | (random >> 64 & 0xFFF) << 64 | _VARIANT | random & _RANDOM
    )


def time_of(id: UUID) -> datetime:
    """When it was made, UTC, to the millisecond."""
    return datetime.fromtimestamp((id.int >> 80) / 1000, UTC)


def target_id() -> UUID:
    """A UUIDv7 whose last byte is zero: its attempts are numbered there, see `attempt_id`."""
    return UUID(int=uuid7().int & ~0xFF)


def target_ids(count: int) -> list[UUID]:
    """So many of them, at half the price each."""
    base = (time.time_ns() // 1_000_000) << 80 | _VERSION | _VARIANT
    random = os.urandom(8 * count)
    return [
        UUID(
            int=base
            | (n := int.from_bytes(random[8 * i : 8 * i + 8], "big")) >> 52 << 64
            | (n & _52_BITS) << 8
        )
        for i in range(count)
    ]


def attempt_id(target: UUID, number: int) -> UUID:
    """The id of a target's attempt: the target's with the attempt's number (1-255) in its last byte.

    It is known before the attempt is written, so it can go out with the message; writing it twice is a
    conflict, not a double; and the attempts of a target are one range of the primary key.
    """
    if not 1 <= number <= MAX_ATTEMPT_NUMBER:
        raise ValueError(f"attempt {number} of {target}")
    return UUID(int=target.int | number)


MAX_ATTEMPT_NUMBER = 255
