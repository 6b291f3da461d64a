"""The floor of the API: bare Django views on the same server that do one INSERT and one COMMIT a request.

They read what `tests/load` sends, at the same addresses, and parse none of it.
"""

from __future__ import annotations

import os

import django
from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
settings.ROOT_URLCONF = "tests.bench.bare"
settings.MIDDLEWARE = []
django.setup()

from django.core.handlers.wsgi import WSGIHandler  # noqa: E402

from project import db, ids  # noqa: E402

BULK = 500  # as tests/load/bulk.js
_INSERT = """
INSERT INTO notifications_notification (id, title, body, template, payload, channels, all_channels, priority,
    bulk, max_attempts, related_type, related_id, metadata, recipient_count, organization_id)
SELECT id, 'Hello', 'Test', '', '{}', '{in_app,email}', false, 'normal', false, 6, '', '', '{}', 1, 1
FROM unnest(%b::uuid[]) AS g(id)
"""


def insert(request: HttpRequest, rows: int) -> HttpResponse:
    """Insert so many notifications and answer with the first's id."""
    _read(request)
    made = [ids.uuid7() for _ in range(rows)]
    with db.one_transaction():
        db.execute(_INSERT, [made])
    return HttpResponse(str(made[0]), status=202, headers={"Content-Length": "36"})


def users(request: HttpRequest) -> HttpResponse:
    """The answer the scenarios take their people from."""
    _read(request)
    return JsonResponse({"results": [{"user": {"id": 1}}]})


def _read(request: HttpRequest) -> None:
    """To its end: a server that answers before cuts the connection."""
    assert request.body


urlpatterns = [
    path("api/users/", users),
    path("api/notifications/", insert, {"rows": 1}),
    path("api/notifications/bulk/", insert, {"rows": BULK}),
]
application = WSGIHandler()
