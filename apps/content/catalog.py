"""What a request may name: templates and types, an organization's in the place of the system's."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from apps.content import versions
from apps.content.versions import Version
from project import db


class TypeRules(NamedTuple):
    """A type, as far as sending cares. Times are in seconds."""

    slug: str
    category: str = "immediate"  # of `models.Category`
    channels: Sequence[str] = ()  # if the request names none; empty: all the person has
    critical: bool = False
    dedupe_window: int = 86_400
    cap_per_hour: int | None = None
    cap_per_day: int | None = None
    overflow: str = "skip"  # of `models.Overflow`
    fallback: Sequence[str] = ()
    name: str = ""  # as people read it

    def among(self, channels: Collection[str]) -> TypeRules:
        """The same with a chain of these channels only, say of those that a template has words for."""
        return self._replace(fallback=[channel for channel in self.fallback if channel in channels])


class Template(NamedTuple):
    """A template and what is current of it."""

    slug: str
    type: str  # slug; empty: of none
    version: Version


class Catalog(NamedTuple):
    """What was looked for and is there, by slug; types also of the templates that were found."""

    templates: dict[str, Template]
    types: dict[str, TypeRules]


NOTHING = Catalog({}, {})

# One probe of the unique index for each name, whatever the statistics say.
_FIND = """
WITH templates AS MATERIALIZED (
    SELECT t.* FROM unnest(%(templates)b::text[]) AS g(given) CROSS JOIN LATERAL (
        SELECT slug, type, current_id FROM content_template
        WHERE slug = g.given AND (organization_id = %(organization_id)s::bigint OR organization_id IS NULL)
          AND current_id IS NOT NULL
        ORDER BY organization_id NULLS LAST LIMIT 1
    ) t
)
SELECT slug, current_id, type, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL FROM templates
UNION ALL
SELECT y.slug, NULL, category, channels, critical, dedupe_window, cap_per_hour, cap_per_day, overflow,
       fallback, name
FROM (SELECT unnest(%(types)b::text[]) UNION SELECT type FROM templates WHERE type <> '') AS g(given)
CROSS JOIN LATERAL (
    SELECT * FROM content_notificationtype
    WHERE slug = g.given AND (organization_id = %(organization_id)s::bigint OR organization_id IS NULL)
    ORDER BY organization_id NULLS LAST LIMIT 1
) y
"""


def find(organization_id: int, *, templates: Collection[str] = (), types: Collection[str] = ()) -> Catalog:
    """These templates and types, and the templates' types, in one statement, none for no names; one more for
    versions this process has not met."""
    if not templates and not types:
        return NOTHING
    asked = {"organization_id": organization_id, "templates": list(templates), "types": list(types)}
    current: dict[str, tuple[int, str]] = {}
    rules: dict[str, TypeRules] = {}
    for slug, version_id, *values in db.rows(_FIND, asked):
        if version_id is not None:
            current[slug] = (version_id, values[0])
        else:
            rules[slug] = TypeRules(slug, *values)
    known = versions.load([id for id, _ in current.values()])
    return Catalog({slug: Template(slug, type, known[id]) for slug, (id, type) in current.items()}, rules)
