"""Tracked e-mails from the template to the click: what is pinned, what goes out, what it costs."""

from __future__ import annotations

import re
from typing import Any

import pytest

from apps.delivery import engine
from apps.notifications import contents, tracking
from apps.notifications.statuses import Status
from tests.api_helpers import Api
from tests.support import rows
from tests.support.adapters import accepting
from tests.support.database import capture
from tests.support.rows import LANE
from tests.support.templates import template
from tests.support.templates import version as make

pytestmark = pytest.mark.django_db
HTML = '<body><a href="https://a.example/?who={{ recipient.name }}&amp;x=1">Look</a></body>'
PUBLIC = "https://carillon.example.com"


@pytest.fixture(autouse=True)
def reachable(settings: Any) -> None:
    settings.PUBLIC_URL = PUBLIC
    contents._cache.clear()


def pinned(**fields: Any) -> dict[str, Any]:
    return {"subject": "Hi", "body": "Look: https://a.example/", "html": HTML, "track": True} | fields


def sent(adapter: Any, parts: dict[str, Any], channel: str = "email", count: int = 1) -> list[Any]:
    """The messages of a notification with this content."""
    scripted = adapter(accepting)
    note = rows.notification(content={channel: parts})
    (person,) = rows.people(name="Ada & Ben")
    lane = LANE.replace("email", channel)
    rows.targets(note, Status.QUEUED, count, channel=channel, lane=lane, user_id=person.pk)
    engine.work(lane)
    assert len(scripted.sent) == count
    return list(scripted.sent)


def test_a_tracked_template_is_pinned_sent_and_comes_back(api: Api, rung: list[str], adapter: Any) -> None:
    version = template("one", {"email": {"subject": "Hi", "body": "Look", "html": HTML}}, track=True)
    (person,) = rows.people(name="Ada & Ben")
    assert api.post("/api/notifications/", {"template": "one", "targets": [person.pk]}).status_code == 202
    make(version.template, {"email": {"en": {"body": "Gone"}}})  # of no consequence for what was accepted
    scripted = adapter(accepting)
    engine.work(LANE)
    (message,) = scripted.sent
    (token,) = re.findall(rf'<a href="{PUBLIC}/t/c/([^"]+)">Look</a>', message.html)
    assert tracking.clicked(token) == (message.target, "https://a.example/?who=Ada & Ben&x=1")
    (pixel,) = re.findall(rf'<img src="{PUBLIC}/t/o/([^"]+)\.gif"[^>]*></body>$', message.html)
    assert tracking.opened(pixel) == message.target
    assert message.text == "Look"


def test_each_target_has_links_of_its_own_and_a_repeat_has_the_same(adapter: Any) -> None:
    first, second = sent(adapter, pinned(), count=2)
    assert first.html != second.html
    assert first.html == tracking.rewrite(
        HTML.replace("{{ recipient.name }}", "Ada &amp; Ben"), first.target, public_url=PUBLIC
    )


@pytest.mark.parametrize(
    ("fields", "public", "channel"),
    [
        ({"track": False}, PUBLIC, "email"),
        ({}, "", "email"),
        ({}, PUBLIC, "sms"),
        ({"html": ""}, PUBLIC, "email"),
    ],
)
def test_nothing_is_rewritten_where_it_is_not_asked_for_or_not_possible(
    fields: dict[str, Any], public: str, channel: str, *, adapter: Any, settings: Any, monkeypatch: Any
) -> None:
    settings.PUBLIC_URL = public
    monkeypatch.setattr(tracking, "rewrite", None)  # not even called
    (message,) = sent(adapter, pinned(**fields), channel)
    assert message.html == pinned(**fields)["html"].replace("{{ recipient.name }}", "Ada &amp; Ben")
    assert message.text == "Look: https://a.example/"


def test_what_was_accepted_by_an_older_version_is_not_tracked(adapter: Any) -> None:
    parts = pinned()
    del parts["track"]
    assert "/t/" not in sent(adapter, parts)[0].html


@pytest.mark.parametrize("count", [2, 200])
def test_tracking_costs_no_statement(count: int, adapter: Any) -> None:
    costs = []
    for track in (False, True):
        contents._cache.clear()
        with capture() as statements:
            sent(adapter, pinned(track=track), count=count)
        costs.append(sum("INSERT INTO users" not in sql and "nextval" not in sql for sql in statements))
    assert costs[0] == costs[1]
