"""Suppression: which addresses must not be written to, and since when we know.

Addresses are compared as they are kept, so every caller gives them as `apps.users.normalise` spells them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence, Set
from dataclasses import dataclass

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
    MANUAL = "manual", "entered by hand"


@dataclass(frozen=True, slots=True)
class Fact:
    """Something learned about an address. `organization_id` None: for every organization."""

    organization_id: int | None
    channel: str
    address: str
    cause: str  # of `Cause`


# In one order, whoever writes: two transactions with the same addresses wait for each other, not in a circle.
_SUPPRESS = """
INSERT INTO preferences_suppression (organization_id, channel, address, cause)
SELECT organization_id, channel, address, cause
FROM unnest(%b::bigint[], %b::text[], %b::text[], %b::text[]) AS g(organization_id, channel, address, cause)
ORDER BY address COLLATE "C", channel COLLATE "C", organization_id
ON CONFLICT DO NOTHING
"""


def suppress(facts: Sequence[Fact]) -> None:
    """Write these down in the caller's transaction. What is suppressed already keeps its cause."""
    if facts:
        rows = [(fact.organization_id, fact.channel, fact.address, fact.cause) for fact in facts]
        db.execute(_SUPPRESS, [list(column) for column in zip(*rows, strict=True)])


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
_AMONG = """
SELECT s.organization_id, s.channel, s.address
FROM json_each(%s::json) AS g(channel, addresses)
CROSS JOIN LATERAL json_array_elements_text(g.addresses) AS a(address)
CROSS JOIN LATERAL (
    SELECT organization_id, channel, address FROM preferences_suppression
    WHERE address = a.address AND channel = g.channel OFFSET 0
) s
"""


def among(pairs: Collection[tuple[str, str]]) -> set[tuple[int | None, str, str]]:
    """Of these (channel, address) what is suppressed, and for whom; one statement, none for no pairs."""
    if not pairs:
        return set()
    by_channel: dict[str, list[str]] = {}
    for channel, address in pairs:
        by_channel.setdefault(channel, []).append(address)
    return set(db.rows(_AMONG, [orjson.dumps(by_channel).decode()]))


def holds(found: Found, organization_id: int, channel: str, address: str) -> bool:
    """Whether what `among` found keeps this organization from writing to the address."""
    return (None, channel, address) in found or (organization_id, channel, address) in found
