"""What a caller names, looked up: every miss is the problem that says so."""

from __future__ import annotations

from collections.abc import Iterable

from django.db import IntegrityError, transaction
from django.http import Http404

from apps.content import catalog, checking, listing, versioning
from apps.content.models import NotificationTemplate, TemplateVersion
from apps.content.payloads import Fault
from apps.content.schemas import DraftInput
from project.api import Problem, field_error, invalid

_TEMPLATES = NotificationTemplate.objects.all()


def seen(organization_id: int, slug: str) -> NotificationTemplate:
    """The template the organization sees under this slug. Raises Http404."""
    row = listing.find(_TEMPLATES, organization_id, slug)
    if row is None:
        raise Http404
    return row


def own(organization_id: int, slug: str, *, lock: bool = False) -> NotificationTemplate:
    """The organization's own template. Raises Http404; Problem 403 for the system's.

    lock: until the caller's transaction ends.
    """
    rows = NotificationTemplate.objects.select_for_update() if lock else _TEMPLATES
    row = rows.filter(organization=organization_id, slug=slug).first()
    if row is not None:
        return row
    seen(organization_id, slug)
    text = "It is the system's. Save a draft under its slug to have your own."
    raise Problem(403, "permission_denied", text)


def customised(organization_id: int, system: NotificationTemplate) -> NotificationTemplate:
    """The organization's own template in the place of the system's: a new one, or what another request has
    just begun."""
    try:
        with transaction.atomic():
            return versioning.create(
                organization_id, system.slug, type=system.type, default_language=system.default_language
            )
    except IntegrityError:
        return own(organization_id, system.slug)


def unpublished(template: NotificationTemplate) -> None:
    """Raises Problem 409 if some version was published: processes that send remember its language."""
    if template.versions.filter(published_at__isnull=False).exists():
        raise Problem(409, "published", "The default language is fixed by the first publication.")


def there(version: TemplateVersion | None) -> TemplateVersion:
    """Raises Http404 for none."""
    if version is None:
        raise Http404
    return version


def version_asked(
    template: NotificationTemplate, which: int | str, *, field: str = "version", published: bool = False
) -> TemplateVersion:
    """The version a field names. Raises the problem that names the field.

    published: a draft is none.
    """
    found = listing.version_of(template, which)
    if found is None or (published and found.published_at is None):
        what = "published version" if published else "version"
        raise invalid([field_error(field, "unknown_version", f"The template has no such {what}.")])
    return found


def a_type(organization_id: int, slug: str) -> None:
    """Raises the problem that names the field `type` unless there is one of this slug, or it is empty."""
    if slug and slug not in catalog.find(organization_id, types=[slug]).types:
        raise invalid([field_error("type", "unknown_type", "There is no type with this slug.")])


def no_faults(draft: DraftInput, template: NotificationTemplate) -> None:
    """Raises the problem that names every fault of a wording."""
    faults = checking.faults(
        draft.content,
        schema=draft.payload_schema,
        example=draft.example,
        defaults=draft.defaults,
        default_language=template.default_language,
        track=draft.track,
    )
    if faults:
        raise told(faults)


def told(faults: Iterable[Fault]) -> Problem:
    """The problem that names these faults."""
    return invalid([field_error(fault.path, fault.code, fault.detail) for fault in faults])
