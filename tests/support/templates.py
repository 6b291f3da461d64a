"""Templates for tests, published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from apps.content.models import NotificationTemplate, NotificationType, TemplateVersion
from apps.users.models import DEFAULT_ORGANIZATION_ID
from project import clock, db


def template(
    slug: str,
    content: Mapping[str, Mapping[str, Any]],
    *,
    needs: Sequence[str] = (),
    type: str = "",
    organization_id: int | None = DEFAULT_ORGANIZATION_ID,
    **fields: Any,
) -> TemplateVersion:
    """A template whose first version is published. content: channel -> part -> Liquid, in English; needs:
    names its payload must have."""
    made = NotificationTemplate.objects.create(slug=slug, organization_id=organization_id, type=type)
    in_english = {channel: {"en": parts} for channel, parts in content.items()}
    return version(made, in_english, needs=needs, **fields)


def version(
    of: NotificationTemplate, content: Mapping[str, Any], *, needs: Sequence[str] = (), **fields: Any
) -> TemplateVersion:
    """The template's next version, published. content: channel -> language -> part -> Liquid."""
    schema = {"type": "object", "required": list(needs)} if needs else {}
    made = TemplateVersion.objects.create(
        template=of,
        number=of.versions.count() + 1,
        content=content,
        published_at=clock.now(),
        **{"schema": schema, **fields},
    )
    of.current = made
    of.save()
    return made


def type_of(slug: str, **fields: Any) -> NotificationType:
    """A type of the default organization."""
    values = {"name": slug, "category": "immediate", "organization_id": DEFAULT_ORGANIZATION_ID}
    return NotificationType.objects.create(slug=slug, **(values | fields))


def forget_seeds() -> None:
    """Only what the test makes: without the types and templates that a database begins with."""
    db.execute("TRUNCATE content_template, content_notificationtype CASCADE")  # past the trigger of versions
