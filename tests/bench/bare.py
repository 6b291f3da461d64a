"""The floor of the API: a bare Django view on the same server that does one INSERT and one COMMIT."""

from __future__ import annotations

import os

import django
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.urls import path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
settings.ROOT_URLCONF = "tests.bench.bare"
settings.MIDDLEWARE = []
django.setup()

from django.core.handlers.wsgi import WSGIHandler  # noqa: E402

from project import db, ids  # noqa: E402

_INSERT = """
INSERT INTO notifications_notification (id, title, body, template, payload, channels, all_channels, priority,
    bulk, max_attempts, related_type, related_id, metadata, recipient_count, organization_id)
SELECT id, 'Hello', 'Test', '', '{}', '{in_app,email}', false, 'normal', false, 6, '', '', '{}', 1, 1
FROM unnest(%b::uuid[]) AS g(id)
"""


def insert(request: HttpRequest, rows: int) -> HttpResponse:
    """Insert so many notifications and answer with the first's id."""
    made = [ids.uuid7() for _ in range(rows)]
    with db.one_transaction():
        db.execute(_INSERT, [made])
    return HttpResponse(str(made[0]), status=202, headers={"Content-Length": "36"})


urlpatterns = [path("<int:rows>/", insert)]
application = WSGIHandler()
