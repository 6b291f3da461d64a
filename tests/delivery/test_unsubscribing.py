"""From the header of an e-mail to the last check before a call: the way of somebody who has had enough."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.test import Client

from apps.content import rendering
from apps.delivery import engine
from apps.integrations.contract import Message
from apps.notifications import contents
from apps.notifications.models import Notification
from apps.notifications.statuses import Status
from apps.preferences import unsubscribing
from apps.preferences.models import Choice
from apps.users.models import User
from tests.support import rows
from tests.support.adapters import accepting
from tests.support.database import capture
from tests.support.rows import LANE

pytestmark = pytest.mark.django_db
PUBLIC = "https://carillon.example.com"
PARTS = {
    "subject": "Hi",
    "body": "Out: {{ unsubscribe_url }}",
    "html": '<a href="{{ unsubscribe_url }}">Out</a>',
}


@pytest.fixture(autouse=True)
def reachable(settings: Any) -> None:
    settings.PUBLIC_URL = PUBLIC
    settings.DEBUG = False
    contents._cache.clear()


@pytest.fixture
def ada(db: None) -> User:
    (person,) = rows.people()
    return person


def queue(person: User, lane: str = LANE, count: int = 1, **fields: Any) -> Notification:
    note = rows.notification(kept=True, **{"type": "news", **fields})
    channel = lane.partition(".")[0]
    rows.targets(note, Status.QUEUED, count, channel=channel, lane=lane, user_id=person.pk)
    return note


def sent(adapter: Any, lane: str = LANE) -> list[Message]:
    scripted = adapter(accepting)
    engine.work(lane)
    return list(scripted.sent)


def test_from_the_header_to_the_next_mail_that_does_not_come(ada: User, adapter: Any) -> None:
    queue(ada)
    (message,) = sent(adapter)
    waiting, critical = queue(ada), queue(ada, critical=True)
    response = Client().post(message.unsubscribe_url.removeprefix(PUBLIC), {"List-Unsubscribe": "One-Click"})
    assert response.status_code == 200
    (urgent,) = sent(adapter)
    (target,) = waiting.targets.all()
    assert (target.status, target.reason, target.attempts) == ("skipped", "opted_out", 0)
    assert urgent.target == critical.targets.get().id and urgent.unsubscribe_url == ""
    rows.assert_books_balance()


def test_each_mail_has_a_link_of_its_own_and_a_row_of_nothing(ada: User, adapter: Any) -> None:
    queue(ada, count=3)
    messages = sent(adapter)
    for message in messages:
        said = unsubscribing.read(message.unsubscribe_url.removeprefix(f"{PUBLIC}/u/"))
        assert said == (message.target, ada.pk, "news")
    assert len({message.unsubscribe_url for message in messages}) == 3
    assert not Choice.objects.exists()


@pytest.mark.parametrize(
    ("public", "debug", "there"),
    [
        (PUBLIC, False, True),
        ("", False, False),
        ("", True, False),
        ("http://carillon.example.com", False, False),
        ("http://127.0.0.1:8000", True, True),
        ("https://bücher.example", False, False),  # a header is ASCII: xn--bcher-kva.example
    ],
)
def test_there_is_a_link_where_one_click_can_work(
    public: str, debug: bool, there: bool, *, ada: User, adapter: Any, settings: Any
) -> None:
    settings.PUBLIC_URL, settings.DEBUG = public, debug
    queue(ada)
    (message,) = sent(adapter)
    assert message.unsubscribe_url.startswith(f"{public}/u/") if there else message.unsubscribe_url == ""


@pytest.mark.parametrize("channel", ["sms", "push", "webhook"])
def test_only_an_email_has_one(channel: str, ada: User, monkeypatch: Any) -> None:
    monkeypatch.setattr(unsubscribing, "url", None)  # not even called
    note = queue(ada, f"{channel}.normal")
    (target,) = note.targets.all()
    claimed = contents.Claimed(target.id, note.pk, ada.pk, "x", 0, 6, None, 0, 1)
    ((_, parts),) = contents.for_targets([claimed], channel)
    assert parts is not None and parts.unsubscribe == ""


def test_a_template_can_show_the_same_link(ada: User, adapter: Any) -> None:
    queue(ada, content={"email": PARTS})
    (message,) = sent(adapter)
    assert message.text == f"Out: {message.unsubscribe_url}"
    assert re.findall('href="(.*)"', message.html) == [message.unsubscribe_url]


def test_a_critical_mail_shows_none_and_a_payloads_own_stands(ada: User, adapter: Any) -> None:
    queue(ada, content={"email": PARTS}, critical=True)
    queue(ada, content={"email": PARTS}, payload={"unsubscribe_url": "https://shop.example/out"})
    texts = sorted(message.text for message in sent(adapter))
    assert texts == ["Out: ", "Out: https://shop.example/out"]


def test_what_is_too_costly_is_still_known_by_its_payload() -> None:
    """The link is another for each recipient: it must not make each of them try anew."""
    contexts = [{"a": 1, "recipient": n, "unsubscribe_url": str(n)} for n in range(3)]
    assert len({rendering._key("x", context, False) for context in contexts}) == 1
    assert rendering._key("x", {"a": 2}, False) != rendering._key("x", {"a": 1}, False)


@pytest.mark.parametrize("count", [2, 200])
def test_links_cost_no_statement(count: int, ada: User, adapter: Any, settings: Any) -> None:
    costs = []
    for public in ("", PUBLIC):
        settings.PUBLIC_URL = public
        contents._cache.clear()
        queue(ada, count=count)
        with capture() as statements:
            assert len(sent(adapter)) == count
        costs.append(sum("nextval" not in sql for sql in statements))
    assert costs[0] == costs[1]
