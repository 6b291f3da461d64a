"""Types and templates as an organization sees them: its own, and the system's that it has not replaced."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import NamedTuple, TypeVar

from django.db import transaction
from django.db.models import Q, QuerySet

from apps.content.models import NotificationTemplate, NotificationType, TemplateVersion
from project import db

Row = TypeVar("Row", NotificationTemplate, NotificationType)


def seen(rows: QuerySet[Row], organization_id: int) -> QuerySet[Row]:
    """The organization's rows and the system's: both where there are two of one slug."""
    return rows.filter(Q(organization=organization_id) | Q(organization__isnull=True))


def find(rows: QuerySet[Row], organization_id: int, slug: str) -> Row | None:
    """What this slug means to the organization: its own before the system's."""
    own_first = seen(rows, organization_id).filter(slug=slug).order_by("organization_id")  # null is last
    return own_first.first()


def page(
    rows: QuerySet[Row], organization_id: int, slug: str | None, *, backwards: bool, limit: int
) -> list[Row]:
    """The next so many after (or before) this slug, one of each slug."""
    found = seen(rows, organization_id)
    if slug is not None:
        found = found.filter(slug__lt=slug) if backwards else found.filter(slug__gt=slug)
    order = "-slug" if backwards else "slug"
    return list(found.order_by(order, "organization_id").distinct("slug")[:limit])


class Standing(NamedTuple):
    """Where a template stands. uses: notifications of all its versions, some minutes late."""

    current: int | None = None  # number of the version that new notifications get
    draft: int | None = None  # number
    uses: int = 0
    last_used_at: datetime | None = None


_STANDINGS = """
SELECT t.id, c.number, d.number, coalesce(u.uses, 0), u.last_at
FROM unnest(%b::bigint[]) AS g(id) CROSS JOIN LATERAL (SELECT * FROM content_template WHERE id = g.id) t
LEFT JOIN LATERAL (SELECT number FROM content_templateversion WHERE id = t.current_id) c ON true
LEFT JOIN LATERAL (
    SELECT number FROM content_templateversion WHERE template_id = t.id AND published_at IS NULL
) d ON true
CROSS JOIN LATERAL (
    SELECT sum(u.count)::bigint AS uses, max(u.last_at) AS last_at
    FROM content_templateversion v JOIN content_templateuse u ON u.version_id = v.id
    WHERE v.template_id = t.id
) u
"""


def standings(template_ids: Collection[int]) -> dict[int, Standing]:
    """Where these templates stand, in one statement for any number."""
    return {id: Standing(*values) for id, *values in db.rows(_STANDINGS, [list(template_ids)])}


def version_of(template: NotificationTemplate, which: int | str) -> TemplateVersion | None:
    """A version by its number, or the "draft", or the "current" one; None if there is no such."""
    versions = TemplateVersion.objects.filter(template=template).select_related("template")
    if which == "current":
        return versions.filter(pk=template.current_id or 0).first()
    if which == "draft":
        return versions.filter(published_at__isnull=True).first()
    return versions.filter(number=which).first()


def delete_unpublished(template: NotificationTemplate) -> bool:
    """Delete the template with its draft, unless some version was ever published: what was accepted with
    that may still be waiting, and says what it says for as long as it is kept."""
    with transaction.atomic():  # also in the admin's own
        locked = NotificationTemplate.objects.select_for_update().filter(pk=template.pk)
        if not locked.exists() or template.versions.filter(published_at__isnull=False).exists():
            return False
        locked.delete()
    return True


def uses_type(type: NotificationType) -> str | None:
    """The slug of a template that would be of no type without this one, or None."""
    if type.organization_id is not None and _has_system_twin(type):
        return None
    templates = NotificationTemplate.objects.filter(type=type.slug)
    if type.organization_id is not None:
        templates = templates.filter(organization=type.organization_id)
    return templates.order_by("pk").values_list("slug", flat=True).first()


def _has_system_twin(type: NotificationType) -> bool:
    return NotificationType.objects.filter(slug=type.slug, organization__isnull=True).exists()
