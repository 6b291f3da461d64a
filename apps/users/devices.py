"""Devices: registered by the apps on them each time they start, so mostly known already."""

from __future__ import annotations

from uuid import UUID

from apps.users import people, places
from apps.users.models import Device
from apps.users.place_schemas import DeviceInput
from project import db, ids
from project.api import Problem

# A token that comes back with another person, or after its device was deactivated, is a new device: what is
# still under way to the address of the former one must not reach it.
_REGISTER = """
INSERT INTO users_device AS d (id, organization_id, user_id, kind, token, digest, name, is_active,
                               created_at, updated_at, deactivated_reason)
SELECT %(id)s::uuid, %(organization_id)s::bigint, %(user_id)s::bigint, %(kind)s::text, %(token)s::text,
       %(digest)s::text, coalesce(%(name)s::text, ''), true, carillon_now(), carillon_now(), ''
WHERE %(most)s::int > (
    SELECT count(*) FROM users_device
    WHERE user_id = %(user_id)s::bigint AND is_active
      AND NOT (kind = %(kind)s::text AND digest = %(digest)s::text)
)
ON CONFLICT (organization_id, kind, digest) DO UPDATE SET
    id = CASE WHEN d.user_id = excluded.user_id AND d.is_active THEN d.id ELSE excluded.id END,
    created_at = CASE WHEN d.user_id = excluded.user_id AND d.is_active THEN d.created_at
                      ELSE excluded.created_at END,
    name = CASE WHEN d.user_id = excluded.user_id THEN coalesce(%(name)s::text, d.name)
                ELSE excluded.name END,
    user_id = excluded.user_id, is_active = true, updated_at = excluded.updated_at,
    deactivated_at = NULL, deactivated_reason = ''
RETURNING id, name, created_at, id = %(id)s::uuid
"""


def register(organization_id: int, user_id: int, given: DeviceInput) -> tuple[Device, bool]:
    """The person's device with this token, active, and whether it is new to them.

    It is nobody else's from here on. Raises the problem that says that they have too many.
    """
    values = {
        "id": ids.uuid7(),
        "organization_id": organization_id,
        "user_id": user_id,
        "kind": given.kind,
        "token": given.token,
        "digest": places.digest(given.token),
        "name": given.name,
        "most": places.MAX_DEVICES,
    }
    with db.one_transaction():
        people.lock(user_id)  # two at once must not both find room for one
        found = db.rows(_REGISTER, values)
    if not found:
        raise Problem(
            409,
            "too_many_devices",
            f"A person may have {places.MAX_DEVICES} active devices: remove one first.",
        )
    ((id, name, created_at, made),) = found
    return Device(id=id, kind=given.kind, name=name, created_at=created_at), made


def remove(organization_id: int, id: UUID, *, user_id: int | None = None) -> bool:
    """Forget the device with its token; False if there is none. user_id: it must be theirs."""
    rows = Device.objects.filter(pk=id, organization=organization_id)
    deleted, _ = (rows if user_id is None else rows.filter(user=user_id)).delete()
    return deleted > 0
