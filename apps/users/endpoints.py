"""Endpoints: where people's webhooks and chat messages go, and the secrets that webhooks are signed with."""

from __future__ import annotations

from uuid import UUID

from apps.users import people, place_rules, places, signing
from apps.users.models import Endpoint
from apps.users.place_schemas import EndpointInput
from project import clock, db, ids, sealing
from project.api import Problem

# What comes back after it was deactivated is a new endpoint, as with devices, and has a new secret.
_ADD = """
INSERT INTO users_endpoint AS e (id, organization_id, user_id, kind, address, digest, secrets, is_active,
                                 created_at, deactivated_reason)
SELECT %(id)s::uuid, %(organization_id)s::bigint, %(user_id)s::bigint, %(kind)s::text, %(address)s::text,
       %(digest)s::text, %(secrets)s::text, true, carillon_now(), ''
WHERE %(most)s::int > (
    SELECT count(*) FROM users_endpoint
    WHERE user_id = %(user_id)s::bigint AND is_active
      AND NOT (kind = %(kind)s::text AND digest = %(digest)s::text)
)
ON CONFLICT (organization_id, user_id, kind, digest) DO UPDATE SET
    id = CASE WHEN e.is_active THEN e.id ELSE excluded.id END,
    secrets = CASE WHEN e.is_active THEN e.secrets ELSE excluded.secrets END,
    created_at = CASE WHEN e.is_active THEN e.created_at ELSE excluded.created_at END,
    is_active = true, deactivated_at = NULL, deactivated_reason = ''
RETURNING id, created_at, id = %(id)s::uuid
"""


def add(organization_id: int, user_id: int, given: EndpointInput) -> tuple[Endpoint, str | None, bool]:
    """The person's endpoint with this address, active; the secret of a new webhook; whether it is new.

    Raises the problem that says that they have too many.
    """
    secret = signing.make() if given.kind == "webhook" else None
    values = {
        "id": ids.uuid7(),
        "organization_id": organization_id,
        "user_id": user_id,
        "kind": given.kind,
        "address": sealing.seal(given.address),
        "digest": places.digest(given.address),
        "secrets": signing.sealed([signing.Secret(secret)]) if secret else "",
        "most": places.MAX_ENDPOINTS,
    }
    with db.one_transaction():
        people.lock(user_id)  # two at once must not both find room for one
        found = db.rows(_ADD, values)
    if not found:
        raise Problem(
            409,
            "too_many_endpoints",
            f"A person may have {places.MAX_ENDPOINTS} endpoints: remove one first.",
        )
    ((id, created_at, made),) = found
    endpoint = Endpoint(id=id, kind=given.kind, address=values["address"], created_at=created_at)
    return endpoint, secret if made else None, made


def rotate(organization_id: int, id: UUID) -> str | None:
    """A new secret for the webhook; None if there is no such one. The one before signs for 24 hours more."""
    with db.one_transaction():
        row = (
            Endpoint.objects.select_for_update(no_key=True)
            .filter(pk=id, organization=organization_id)
            .exclude(secrets="")
            .first()
        )
        if row is None:
            return None
        now = clock.now()
        kept = signing.rotated(signing.opened(row.secrets, now), now)
        row.secrets = signing.sealed(kept)
        row.save(update_fields=["secrets"])
    return kept[0].text


def remove(organization_id: int, id: UUID) -> bool:
    """Forget the endpoint, its address and its secrets; False if there is none."""
    deleted, _ = Endpoint.objects.filter(pk=id, organization=organization_id).delete()
    return deleted > 0


def shown(row: Endpoint) -> str:
    """The endpoint's address, cut off; where it was sealed with a key we no longer have, nothing of it."""
    try:
        return place_rules.masked(row.kind, sealing.unseal(row.address))
    except sealing.CannotOpen:
        return "…"
