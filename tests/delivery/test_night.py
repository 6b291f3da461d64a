"""The whole story: five messages in somebody's night, one in the morning, and an end of it.

Over the real API, the sweeper and the engine; only the provider and the clock are the test's.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.test import Client

from apps.delivery import engine, sweeper
from apps.integrations.contract import Message
from apps.notifications import contents
from project import clock
from tests.api_helpers import Api
from tests.notifications.api_support import accepted, send
from tests.support import rows, templates
from tests.support.adapters import accepting
from tests.support.database import move_clock

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("rung")]
PUBLIC = "https://carillon.example.com"
MADRID = ZoneInfo("Europe/Madrid")
DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
NIGHT = [{"days": DAYS, "start": "22:00", "end": "08:00"}]
ITEMS = "{% for item in items %}* {{ item.title }} ({{ item.type_name }})\n{% endfor %}"


class Night:
    """Of one person in Madrid: their messages, and what they get of them."""

    def __init__(self, api: Api, scripted: Any) -> None:
        self._api, self._scripted, self._real = api, scripted, clock.now()
        today = self._real.astimezone(MADRID)
        self.eleven = today.replace(hour=23, minute=0, second=0, microsecond=0) + timedelta(days=1)
        self.eight = (self.eleven + timedelta(days=1)).replace(hour=8)

    def at(self, moment: datetime) -> None:
        move_clock((moment - self._real).total_seconds())

    def tell(self, **fields: Any) -> list[str]:
        """Five messages, a minute apart; their addresses in the API."""
        found = []
        for minute in range(5):
            self.at(self.eleven + timedelta(minutes=minute))
            words = {"title": f"Comment {minute + 1}", "body": "Somebody has answered you."}
            asked = {"targets": ["lola"], "channels": ["email"], "type": "comments"}
            body = accepted(send(self._api, **(words | asked | fields)))
            found.append(f"/api/notifications/{body['id']}/targets/{body['targets'][0]['id']}/")
        return found

    def get(self, path: str) -> dict[str, Any]:
        story: dict[str, Any] = self._api.get(path).json()
        return story

    def goes_on(self) -> list[Message]:
        """One sweep, and whatever is in the lane; what the provider was asked to send."""
        before = len(self._scripted.sent)
        sweeper.sweep()
        engine.work("email.normal")
        rows.assert_books_balance()
        rows.assert_shapes_hold()
        return list(self._scripted.sent[before:])


@pytest.fixture
def night(api: Api, adapter: Any, settings: Any) -> Night:
    settings.PUBLIC_URL, settings.HOLD_SPREAD, settings.DEBUG = PUBLIC, 0, False
    contents._cache.clear()
    templates.type_of("comments", name="Comments")
    templates.type_of("digest_email", name="Digests", category="digest")
    words = {"subject": "{{ count }} messages", "body": ITEMS}
    templates.template("digest_email", {"email": words}, type="digest_email")
    lola = {"email": "lola@example.com", "timezone": "Europe/Madrid"}
    assert api.put("/api/users/lola/", lola).status_code == 201
    return Night(api, adapter(accepting))


def clock_of(moment: datetime) -> str:
    """As explanations tell it."""
    utc = moment.astimezone(ZoneInfo("UTC"))
    return f"{utc:%Y-%m-%d %H:%M} UTC ({moment:%H:%M} in Europe/Madrid)"


def test_five_with_the_same_key_are_one_in_the_morning(night: Night, api: Api) -> None:
    assert api.put("/api/users/lola/preferences/", {"quiet": NIGHT}).status_code == 200
    paths = night.tell(collapse_key="thread-9")
    assert night.goes_on() == []
    held = night.get(paths[0])
    assert (held["target"]["status"], held["target"]["reason"]) == ("held", "quiet_hours")
    assert datetime.fromisoformat(held["decisions"][0]["until"]) == night.eight
    assert held["explanation"][1].startswith(
        f"Held until {clock_of(night.eight)}: the person's quiet hours 22:00–08:00"
    )
    night.at(night.eight - timedelta(seconds=1))
    assert night.goes_on() == []
    night.at(night.eight)
    (message,) = night.goes_on()
    assert message.text == "Somebody has answered you." and message.subject == "Comment 5"
    assert night.goes_on() == []
    *others, last = [night.get(path) for path in paths]
    assert (last["target"]["status"], sorted(last["merged"])) == (
        "sent",
        sorted(one["target"]["id"] for one in others),
    )
    for one in others:
        assert (one["target"]["status"], one["target"]["reason"]) == ("skipped", "replaced")
        assert one["merged_into"] == last["target"]["id"]
        assert "a newer message with the same collapse_key took its place" in one["explanation"][-1]


def test_five_for_the_digest_are_one_in_the_morning_until_she_has_enough(night: Night, api: Api) -> None:
    wishes = {"types": {"comments": "daily"}, "quiet": NIGHT}
    assert api.put("/api/users/lola/preferences/", wishes).status_code == 200
    paths = night.tell()
    held = night.get(paths[4])
    assert held["explanation"][1:] == [
        f"Held until {clock_of(night.eight)}: the person takes this in a daily digest."
    ]
    assert night.goes_on() == []
    night.at(night.eight)
    (message,) = night.goes_on()
    assert message.subject == "5 messages"
    assert message.text.split("\n")[:5] == [f"* Comment {n} (Comments)" for n in range(1, 6)]
    for path in paths:
        story = night.get(path)
        assert (story["target"]["reason"], story["merged_into"]) == ("merged", str(message.target))
        assert story["explanation"][-1].startswith("Merged at ")
        assert "it goes out together with others" in story["explanation"][-1]

    # The next night she presses her mail client's button, while others wait.
    night.eleven += timedelta(days=1)
    night.eight += timedelta(days=1)
    waiting = night.tell()
    response = Client().post(message.unsubscribe_url.removeprefix(PUBLIC), {"List-Unsubscribe": "One-Click"})
    assert response.status_code == 200
    night.at(night.eight)
    assert night.goes_on() == []
    for path in waiting:
        story = night.get(path)
        assert (story["target"]["status"], story["target"]["reason"]) == ("skipped", "opted_out")
        assert "the person turned off digest_email by email on" in story["explanation"][-1]
        assert "(by a mail client)" in story["explanation"][-1]


def test_what_she_switches_off_in_the_night_does_not_come_in_the_morning(night: Night, api: Api) -> None:
    assert api.put("/api/users/lola/preferences/", {"quiet": NIGHT}).status_code == 200
    paths = night.tell()
    changed = api.send("PATCH", "/api/users/lola/preferences/", {"types": {"comments": {"email": "off"}}})
    assert changed.status_code == 200
    night.at(night.eight)
    assert night.goes_on() == []
    for path in paths:
        story = night.get(path)
        assert (story["target"]["status"], story["target"]["reason"]) == ("skipped", "opted_out")
        assert "the person turned off comments by email on" in story["explanation"][-1]
    (later, *_) = night.tell()
    assert night.get(later)["explanation"][1].startswith("Skipped: the person turned off comments by email")
