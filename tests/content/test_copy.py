"""Templates of the releases before versions, each as the first version of one that has them."""

from __future__ import annotations

import importlib

import pytest

from apps.content import catalog
from apps.content.models import TemplateVersion
from apps.content.payloads import faults_of, schema_faults
from project import db
from tests.support import rows

pytestmark = pytest.mark.django_db
copy = importlib.import_module("apps.content.migrations.0005_copy")

_OLD = """
INSERT INTO content_notificationtemplate
    (organization_id, name, channel, subject, body, html, track, variables)
VALUES (1, %s, %s, %s, %s, %s, %s, %s)
"""


def copied(*old: tuple[object, ...]) -> TemplateVersion:
    rows.people()
    for row in old:
        db.execute(_OLD, row)
    db.execute("SET CONSTRAINTS ALL IMMEDIATE")
    db.execute("DELETE FROM content_template WHERE organization_id IS NOT NULL")
    for statement in (
        copy.COPY,
        copy.CURRENT.replace("v.template_id = t.id", "v.template_id = t.id AND t.slug = 'old'"),
    ):
        db.execute(statement)
    return TemplateVersion.objects.select_related("template").get(template__slug="old")


def test_channels_become_one_template_that_needs_what_any_of_them_did() -> None:
    made = copied(
        ("old", "email", "Hi", "Text", "<p>Text</p>", True, ["order", "day"]),
        ("old", "sms", "", "Short", "", False, ["order"]),
    )
    assert made.content == {
        "email": {"en": {"subject": "Hi", "body": "Text", "html": "<p>Text</p>"}},
        "sms": {"en": {"body": "Short"}},
    }
    assert made.schema == {"type": "object", "required": ["day", "order"]}
    assert made.track and made.number == 1 and made.published_at and made.template.current == made
    assert catalog.find(1, templates=["old"]).templates["old"].version.id == made.pk


def test_one_that_needed_nothing_takes_any_payload() -> None:
    made = copied(("old", "sms", "", "Short", "", False, []))
    assert made.schema == {} and schema_faults(made.schema) == [] and faults_of(made.schema, {"x": 1}) == []
