"""Suppression: which addresses must not be written to, since when and until when.

Addresses are compared as they are kept, so every caller gives them as `apps.users.normalise` spells them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence, Set
from dataclasses import dataclass
from datetime import datetime

import orjson
from django.db import models

from project import db

Found = Set[tuple[int | None, str, str]]  # organization (None: every one), channel, address


class Cause(models.TextChoices):
    """Why nothing may be sent to an address."""

    BOUNCED = "bounced", "a message came back for good"
    COMPLAINED = "complained", "its owner reported a message as spam"
    OPTED_OUT = "opted_out", "its owner told the provider to stop"
    INVALID = "invalid", "the provider refused it as dead"
    MANUAL = "manual", "entered by a person or a service"


@dataclass(frozen=True, slots=True)
class Fact:
    """Something learned about an address. `organization_id` None: for every organization."""

    organization_id: int | None
    channel: str
    address: str
    cause: str  # of `Cause`
    until: datetime | None = None  # None: for good
    note: str = ""  # why, in somebody's words
    client_id: int | None = None  # the service that said so


# In one order, whoever writes: two transactions with the same addresses wait for each other, not in a circle.
# Of several about one address only the one that holds longest is given: no row can be written twice at once.
_SUPPRESS = """
INSERT INTO preferences_suppression AS s (organization_id, channel, address, cause, until, note, client_id)
SELECT DISTINCT ON (address COLLATE "C", channel COLLATE "C", organization_id)
       organization_id, channel, address, cause, until, note, client_id
FROM unnest(%b::bigint[], %b::text[], %b::text[], %b::text[], %b::timestamptz[], %b::text[], %b::bigint[])
  WITH ORDINALITY AS g(organization_id, channel, address, cause, until, note, client_id, place)
ORDER BY address COLLATE "C", channel COLLATE "C", organization_id, until DESC NULLS FIRST, place
ON CONFLICT (address, channel, organization_id) DO UPDATE
SET (cause, until, note, client_id, created_by_id, created_at)
  = (excluded.cause, excluded.until, excluded.note, excluded.client_id, NULL, excluded.created_at)
WHERE s.until IS NOT NULL AND (excluded.until IS NULL OR excluded.until > s.until)
"""


def suppress(facts: Sequence[Fact]) -> int:
    """Write these down in the caller's transaction; how many of them were new.

    Of what is known of an address and what is told, the one that holds longer stands, with its cause, its
    time and its note; of two that hold as long, the one known before.
    """
    if not facts:
        return 0
    rows = [
        (one.organization_id, one.channel, one.address, one.cause, one.until, one.note, one.client_id)
        for one in facts
    ]
    return db.execute(_SUPPRESS, [list(column) for column in zip(*rows, strict=True)])


_LIFT = """
DELETE FROM preferences_suppression
WHERE address = %(address)s AND channel = %(channel)s AND cause = ANY(%(causes)s::text[])
  AND (%(organization_id)s::bigint IS NULL OR organization_id = %(organization_id)s::bigint)
"""


def lift(channel: str, address: str, *, organization_id: int | None = None, causes: Collection[str]) -> None:
    """Forget what was known of this address for one of these causes, in the caller's transaction.

    organization_id: whose; None lifts every organization's. Whoever lifts several addresses in one
    transaction does so in their order, as `suppress` writes.
    """
    values = {"address": address, "channel": channel, "causes": list(causes)}
    db.execute(_LIFT, values | {"organization_id": organization_id})


# LATERAL … OFFSET 0 is one probe of the index per pair, whatever the statistics say of the table's size.
# The pairs travel as a document: two arrays of text cost more than all the probes of an empty table.
AMONG = """FROM json_each(%(addresses)s::json) AS g(channel, addresses)
CROSS JOIN LATERAL json_array_elements_text(g.addresses) AS a(address)
CROSS JOIN LATERAL (
    SELECT organization_id, channel, address FROM preferences_suppression
    WHERE address = a.address AND channel = g.channel AND (until IS NULL OR until > carillon_now()) OFFSET 0
) s
"""
_AMONG = f"SELECT s.organization_id, s.channel, s.address {AMONG}"


def among(pairs: Collection[tuple[str, str]]) -> set[tuple[int | None, str, str]]:
    """Of these (channel, address) what is suppressed now, and for whom; one statement, none for no pairs."""
    return set(db.rows(_AMONG, {"addresses": document(pairs)})) if pairs else set()


def document(pairs: Iterable[tuple[str, str]]) -> str:
    """These (channel, address) as `AMONG` takes them."""
    by_channel: dict[str, list[str]] = {}
    for channel, address in pairs:
        by_channel.setdefault(channel, []).append(address)
    return orjson.dumps(by_channel).decode()


def holds(found: Found, organization_id: int, channel: str, address: str) -> bool:
    """Whether what `among` found keeps this organization from writing to the address."""
    return (None, channel, address) in found or (organization_id, channel, address) in found


_FORGET = """
DELETE FROM preferences_suppression WHERE id IN (
    SELECT id FROM preferences_suppression
    WHERE until <= carillon_now() ORDER BY until LIMIT %s FOR UPDATE SKIP LOCKED
)
"""


def forget_over(limit: int) -> int:
    """Delete those that hold no longer; how many."""
    return db.execute(_FORGET, [limit])
