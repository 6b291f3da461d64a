"""Where a person is reached beside e-mail and SMS: their devices and endpoints.

A place has an address of its own, `kind:id`, which is what a target carries: tokens and URLs stay in their
tables, and are looked up just before a message leaves.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from datetime import datetime
from operator import itemgetter
from typing import NamedTuple
from uuid import UUID

from apps.users import signing
from project import db, sealing

DEVICE_KINDS = {"fcm": "push", "apns": "push", "webpush": "push"}  # kind -> channel
ENDPOINT_KINDS = {
    "webhook": "webhook",
    "slack": "chat",
    "slack_webhook": "chat",
    "teams": "chat",
    "apprise": "chat",
}
MAX_DEVICES = 20  # active ones of a person
MAX_ENDPOINTS = 20

_MOST = dict.fromkeys(DEVICE_KINDS.values(), MAX_DEVICES) | dict.fromkeys(
    ENDPOINT_KINDS.values(), MAX_ENDPOINTS
)
CHANNELS = frozenset(_MOST)  # those whose addresses are places

Places = dict[tuple[int, str], list[str]]  # addresses, by person and channel


class Destination(NamedTuple):
    """What an adapter needs of a place: a token, a subscription or a URL; and a webhook's secrets."""

    address: str
    secrets: tuple[str, ...] = ()  # newest first


def most(channel: str) -> int:
    """How many places a person may have in this channel; 1 in one that has no places but an address."""
    return _MOST.get(channel, 1)


def digest(text: str) -> str:
    """SHA-256 of a token or a URL, in hexadecimal: what makes it unique."""
    return hashlib.sha256(text.encode()).hexdigest()


# LATERAL … OFFSET 0 is one probe of the index per person, whatever the statistics say of the table's size.
_OF_USER = """
SELECT g.id, p.kind, p.id FROM unnest(%(user_ids)b::bigint[]) AS g(id)
CROSS JOIN LATERAL (SELECT kind, id FROM {table} WHERE user_id = g.id AND is_active OFFSET 0) p
"""
_DEVICES = _OF_USER.format(table="users_device")
_ENDPOINTS = _OF_USER.format(table="users_endpoint")


def places(user_ids: Collection[int], channels: Collection[str]) -> Places:
    """The active places of these people in these channels, oldest first, in one statement.

    None for no people and for channels that have no places.
    """
    kinds = {kind for kind, channel in _KINDS.items() if channel in channels}
    sources = [sql for sql, those in _SOURCES if kinds & those]
    if not user_ids or not sources:
        return {}
    rows = db.rows("UNION ALL".join(sources), {"user_ids": list(user_ids)})
    found: Places = {}
    for user_id, kind, id in sorted(rows, key=itemgetter(2)):
        if kind in kinds:
            found.setdefault((user_id, _KINDS[kind]), []).append(f"{kind}:{id}")
    return found


_KINDS = DEVICE_KINDS | ENDPOINT_KINDS
_SOURCES = ((_DEVICES, DEVICE_KINDS.keys()), (_ENDPOINTS, ENDPOINT_KINDS.keys()))


_TOKENS = """
SELECT d.kind, d.id, d.token FROM unnest(%b::uuid[]) AS g(id)
CROSS JOIN LATERAL (SELECT kind, id, token FROM users_device WHERE id = g.id AND is_active LIMIT 1) d
"""
_URLS = """
SELECT e.kind, e.id, e.address, e.secrets, carillon_now() FROM unnest(%b::uuid[]) AS g(id)
CROSS JOIN LATERAL (
    SELECT kind, id, address, secrets FROM users_endpoint WHERE id = g.id AND is_active LIMIT 1
) e
"""


def destinations(addresses: Collection[str]) -> dict[str, Destination | None]:
    """Where these addresses lead now: one statement for devices, one for endpoints.

    What is not among them is gone: deactivated, removed, or in other hands. None: it was sealed with a key
    that is no longer among ours, which is for an operator to mend, and nothing is gone.
    """
    devices, endpoints = _split(addresses)
    found: dict[str, Destination | None] = {}
    if devices:
        for kind, id, token in db.rows(_TOKENS, [devices]):
            found[f"{kind}:{id}"] = Destination(token)
    if endpoints:
        for kind, id, address, secrets, now in db.rows(_URLS, [endpoints]):
            found[f"{kind}:{id}"] = _opened(address, secrets, now)
    return {address: found[address] for address in addresses if address in found}


def _opened(address: str, secrets: str, now: datetime) -> Destination | None:
    try:
        texts = tuple(secret.text for secret in signing.opened(secrets, now))
        return Destination(sealing.unseal(address), texts)
    except sealing.CannotOpen:
        return None


# Locked in the order of their ids, whoever deactivates.
_DEACTIVATE = """
UPDATE {table} SET is_active = false, deactivated_at = carillon_now(), deactivated_reason = %(reason)s
WHERE id IN (
    SELECT p.id FROM (SELECT unnest(%(ids)b::uuid[]) AS id ORDER BY 1) g
    CROSS JOIN LATERAL (
        SELECT id FROM {table} WHERE id = g.id AND is_active FOR NO KEY UPDATE
    ) p
)
"""
_DEACTIVATE_DEVICES = _DEACTIVATE.format(table="users_device")
_DEACTIVATE_ENDPOINTS = _DEACTIVATE.format(table="users_endpoint")


def deactivate(addresses: Collection[str], reason: str) -> int:
    """Nothing more goes to these, until they are registered again; how many were active.

    In the caller's transaction. reason: a code of 60 characters at most.
    """
    devices, endpoints = _split(addresses)
    count = 0
    for sql, ids in ((_DEACTIVATE_DEVICES, devices), (_DEACTIVATE_ENDPOINTS, endpoints)):
        if ids:
            count += db.execute(sql, {"ids": ids, "reason": db.text(reason, 60)})
    return count


def _split(addresses: Iterable[str]) -> tuple[list[UUID], list[UUID]]:
    """The ids of the devices and of the endpoints among these; what is no place's address is neither."""
    devices: set[UUID] = set()
    endpoints: set[UUID] = set()
    for address in addresses:
        kind, _, id = address.partition(":")
        if kind in _KINDS and (parsed := _uuid(id)):
            (devices if kind in DEVICE_KINDS else endpoints).add(parsed)
    return sorted(devices), sorted(endpoints)


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
