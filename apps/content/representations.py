"""Templates and versions as the API answers them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from apps.content import payloads
from apps.content.listing import Standing
from apps.content.messages import Words
from apps.content.models import NotificationTemplate, TemplateUse, TemplateVersion
from apps.content.versioning import Difference


def template(row: NotificationTemplate, standing: Standing) -> dict[str, Any]:
    """`TemplateOutput`. How often others use the system's is nobody's business."""
    system = row.organization_id is None
    return {
        "slug": row.slug,
        "system": system,
        "type": row.type,
        "default_language": row.default_language,
        "current": standing.current,
        "draft": standing.draft,
        "uses": None if system else standing.uses,
        "last_used_at": None if system else standing.last_used_at,
        "created_at": row.created_at,
    }


def version_summary(
    of: NotificationTemplate, row: TemplateVersion, use: TemplateUse | None
) -> dict[str, Any]:
    """`VersionSummary`."""
    system = of.organization_id is None
    return {
        "number": row.number,
        "current": row.pk == of.current_id,
        "note": row.note,
        "created_at": row.created_at,
        "created_by": None if system else row.created_by_id,
        "published_at": row.published_at,
        "published_by": None if system else row.published_by_id,
        "uses": None if system else use.count if use else 0,
        "last_used_at": None if system or use is None else use.last_at,
    }


def version(
    of: NotificationTemplate, row: TemplateVersion, use: TemplateUse | None, *, undeclared: Collection[str]
) -> dict[str, Any]:
    """`VersionOutput`."""
    return version_summary(of, row, use) | {
        "content": row.content,
        "schema": row.schema,
        "example": row.example,
        "defaults": row.defaults,
        "track": row.track,
        "undeclared": sorted(undeclared),
    }


def comparison(
    before: TemplateVersion, after: TemplateVersion, differences: Iterable[Difference]
) -> dict[str, Any]:
    """`ComparisonOutput`."""
    return {
        "before": before.number,
        "after": after.number,
        "differences": [difference._asdict() for difference in differences],
    }


def preview(
    version: TemplateVersion,
    payload: Mapping[str, Any],
    rendered: Mapping[str, Mapping[str, Words | str]],
) -> dict[str, Any]:
    """`TemplatePreview`."""
    words = [
        {"channel": channel, "language": language, **_words(made)}
        for channel, languages in rendered.items()
        for language, made in languages.items()
    ]
    return {"version": version.number, "faults": list(payloads.told(version, payload)), "words": words}


def _words(made: Words | str) -> dict[str, Any]:
    error = made if isinstance(made, str) else None
    words = Words("", "") if isinstance(made, str) else made
    actions = [action._asdict() for action in words.actions]
    return {**words._asdict(), "actions": actions, "error": error}
