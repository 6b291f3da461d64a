"""What goes out: words for people, and data for the programs that take push messages and webhooks."""

from __future__ import annotations

from typing import Any

import pytest

from apps.notifications import contents
from apps.notifications.contents import Rendered
from apps.notifications.models import Notification
from apps.notifications.transitions import Claimed
from apps.users.models import User
from project import ids
from tests.support import rows
from tests.support.database import capture

pytestmark = pytest.mark.django_db
DATA_CHANNELS = ["push", "webhook", "chat"]
PARTS = {"subject": "{{ order }} left", "body": "Hello {{ recipient.name }}", "html": ""}


@pytest.fixture(autouse=True)
def nothing_remembered() -> None:
    contents._cache.clear()


def claimed(notification: Notification, user: User) -> Claimed:
    return Claimed(ids.target_id(), notification.pk, user.pk, "x", 0, 6, None, 0, 1)


def going_out(notification: Notification, user: User, channel: str) -> tuple[Claimed, Rendered | None]:
    (one,) = contents.for_targets([claimed(notification, user)], channel)
    return one


@pytest.mark.parametrize("channel", DATA_CHANNELS)
def test_programs_are_told_what_it_is_about(channel: str) -> None:
    (ada,) = rows.people(external_id="ada")
    note = rows.notification(payload={"order": 17}, related_type="order", related_id="A-17")
    target, parts = going_out(note, ada, channel)
    assert parts is not None and (parts.subject, parts.text) == ("Title", "Body")
    assert parts.data == {
        "type": "notification",
        "notification_id": str(note.pk),
        "target_id": str(target.id),
        "timestamp": ids.time_of(target.notification_id).isoformat(timespec="milliseconds"),
        "recipient": "ada",
        "payload": {"order": 17},
        "related_object": {"type": "order", "id": "A-17"},
    }


def test_what_is_about_nothing_and_for_somebody_without_an_external_id() -> None:
    (ada,) = rows.people()
    _, parts = going_out(rows.notification(), ada, "push")
    assert parts is not None and parts.data["recipient"] is None and parts.data["payload"] == {}
    assert "related_object" not in parts.data


@pytest.mark.parametrize("channel", ["in_app", "email", "sms"])
def test_people_are_sent_words_alone(channel: str) -> None:
    (ada,) = rows.people(external_id="ada")
    _, parts = going_out(rows.notification(payload={"order": 17}), ada, channel)
    assert parts is not None and not parts.data


@pytest.mark.parametrize(
    ("public_url", "critical", "there"),
    [("https://a.example", False, True), ("https://a.example", True, False), ("", False, False)],
)
def test_a_foot_is_there_only_with_a_link(
    public_url: str, critical: bool, there: bool, settings: Any
) -> None:
    settings.PUBLIC_URL = public_url
    (ada,) = rows.people()
    parts = {"body": "x{% if unsubscribe_url %} out: {{ unsubscribe_url }}{% endif %}"}
    _, sent = going_out(rows.notification(content={"email": parts}, critical=critical), ada, "email")
    assert sent is not None
    assert sent.text.startswith("x out: https://a.example/") if there else sent.text == "x"


@pytest.mark.parametrize("channel", DATA_CHANNELS)
def test_a_template_and_data_together(channel: str) -> None:
    (ada,) = rows.people(external_id="ada", name="Ada")
    note = rows.notification(content={channel: PARTS}, payload={"order": 17})
    _, parts = going_out(note, ada, channel)
    assert parts is not None and (parts.subject, parts.text) == ("17 left", "Hello Ada")
    assert parts.data["payload"] == {"order": 17}


def test_link_avatar_and_actions_are_told_where_there_are_some() -> None:
    (ada,) = rows.people()
    action = {"id": "a", "label": "A", "link": "/a"}
    parts = {"body": "x", "link": "{{ link }}", "avatar": "{{ avatar }}", "actions": [action]}
    payload = {"link": "/orders/17", "avatar": "https://a.example/ada.png"}
    _, sent = going_out(rows.notification(content={"push": parts}, payload=payload), ada, "push")
    assert sent is not None and sent.avatar == payload["avatar"]
    assert {name: sent.data.get(name) for name in ("link", "avatar", "actions")} == {
        **payload,
        "actions": [action],
    }
    bare = {"body": "x", "link": "{{ link }}", "avatar": "{{ avatar }}"}
    _, sent = going_out(rows.notification(content={"push": bare}), ada, "push")
    assert sent is not None and sent.data.keys().isdisjoint({"link", "avatar", "actions"})


def test_each_target_has_its_own_data() -> None:
    ada, ben = rows.people(external_id="ada") + rows.people(external_id="ben")
    note = rows.notification()
    batch = [claimed(note, user) for user in (ada, ben, ada)]
    found = [parts.data for _, parts in contents.for_targets(batch, "webhook") if parts]
    assert [data["recipient"] for data in found] == ["ada", "ben", "ada"]
    assert [data["target_id"] for data in found] == [str(target.id) for target in batch]


@pytest.mark.parametrize(
    ("channel", "fields", "count"),
    [
        ("email", {}, 1),
        ("email", {"content": {"email": PARTS}}, 2),
        ("push", {}, 2),
        ("push", {"content": {"push": PARTS}}, 2),
    ],
)
def test_statements(channel: str, fields: dict[str, Any], count: int) -> None:
    people = rows.people(20)
    note = rows.notification(**fields)
    with capture() as statements:
        contents.for_targets([claimed(note, user) for user in people], channel)
    assert len(statements) == count  # the notifications; who they are for
