"""The secrets a webhook endpoint's messages are signed with, as Standard Webhooks writes them.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md: a message carries
a signature by each secret, so that a receiver may change over from one to the next when it likes.
"""

from __future__ import annotations

import base64
import secrets
from datetime import datetime, timedelta
from typing import NamedTuple

import orjson

from project import sealing

OVERLAP = timedelta(hours=24)  # a rotated secret goes on signing for so long beside its successor
MOST = 5  # secrets at a time; who rotates more often ends the oldest sooner
_BYTES = 32


class Secret(NamedTuple):
    """`whsec_…`, and when it ends (UTC), if it has been rotated out."""

    text: str
    ends_at: datetime | None = None


def make() -> str:
    """A new secret: random bytes in base64, behind the prefix the specification asks for."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(_BYTES)).decode()


def sealed(kept: list[Secret]) -> str:
    """As a row keeps them, newest first."""
    return sealing.seal(orjson.dumps([tuple(secret) for secret in kept]).decode())


def opened(sealed: str, now: datetime) -> list[Secret]:
    """Those of a row that sign now, newest first; none of an empty text. Raises CannotOpen."""
    kept = orjson.loads(sealing.unseal(sealed)) if sealed else []
    found = [Secret(text, datetime.fromisoformat(ends_at) if ends_at else None) for text, ends_at in kept]
    return [secret for secret in found if secret.ends_at is None or secret.ends_at > now]


def rotated(kept: list[Secret], now: datetime) -> list[Secret]:
    """A new secret before these; the one it follows ends after the overlap."""
    ends_at = now + OVERLAP
    older = [secret if secret.ends_at else secret._replace(ends_at=ends_at) for secret in kept]
    return [Secret(make()), *older][:MOST]
