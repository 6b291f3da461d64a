"""Devices and endpoints for tests, made directly."""

from __future__ import annotations

from itertools import count
from typing import Any
from uuid import UUID

from apps.users import places, signing
from apps.users.models import Device, Endpoint, User
from project import ids, sealing

_numbers = count()
_ids = [UUID(int=0)]


def _next_id() -> UUID:
    """Later than the one before, also within a millisecond."""
    _ids.append(max(ids.uuid7(), UUID(int=_ids.pop().int + 1)))
    return _ids[-1]


def device(user: User, kind: str = "fcm", token: str = "", **fields: Any) -> Device:
    """An active device of this person, with a token of its own unless one is given."""
    token = token or f"token-{next(_numbers)}"
    known = {"token": token, "digest": places.digest(token), "organization_id": user.organization_id}
    return Device.objects.create(**{"id": _next_id(), "user": user, "kind": kind} | known | fields)


def endpoint(user: User, kind: str = "webhook", address: str = "", **fields: Any) -> Endpoint:
    """An active endpoint of this person; a webhook has a signing secret."""
    address = address or f"https://example.com/{next(_numbers)}"
    secrets = signing.sealed([signing.Secret(signing.make())]) if kind == "webhook" else ""
    known = {"address": sealing.seal(address), "digest": places.digest(address), "secrets": secrets}
    known |= {"organization_id": user.organization_id}
    return Endpoint.objects.create(**{"id": _next_id(), "user": user, "kind": kind} | known | fields)


def everywhere(user: User) -> list[Device | Endpoint]:
    """A device, a webhook and a chat of this person."""
    return [device(user), endpoint(user), endpoint(user, "slack")]
