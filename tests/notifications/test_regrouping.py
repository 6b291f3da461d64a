"""The end of a hold: what is due for a person is looked at together. And what is held when wishes change.

Everybody lives in UTC here, unless said otherwise; the clock is moved to noon of tomorrow when a test begins.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection, transaction

from apps.notifications import holds
from apps.notifications.models import CapUse, Notification, NotificationTarget, TargetDecision
from apps.preferences import choices, suppression
from apps.preferences.choices import Wanted
from apps.preferences.models import UserPreference
from apps.preferences.suppression import Cause, Fact
from apps.users import people as users
from apps.users.models import User
from apps.users.schemas import UserInput
from project import clock, db
from tests.api_helpers import Api
from tests.notifications.api_support import accepted, send
from tests.support import rows, templates
from tests.support.database import (
    capture,
    in_threads,
    move_clock,
    other_connection,
    until,
    waits_for_a_lock,
)

pytestmark = pytest.mark.django_db
HOUR = 3600
DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
NIGHT = [{"days": DAYS, "start": "22:00", "end": "07:00"}]
DIGEST = {
    channel: {"subject": "{{ count }} {{ period }}", "body": "{% for i in items %}{{ i.title }};{% endfor %}"}
    for channel in ("email", "sms")
}


def set_clock(at: datetime) -> None:
    move_clock((at - clock.now()).total_seconds() + _moved())


def _moved() -> float:
    with connection.cursor() as cursor:
        cursor.execute("SELECT extract(epoch FROM carillon_now() - now())")
        return float(cursor.fetchone()[0])


@pytest.fixture
def noon(db: None, settings: Any) -> Iterator[datetime]:
    """Of tomorrow, UTC, and that is the time."""
    settings.HOLD_SPREAD = 0
    at = clock.now().replace(hour=12, minute=0, second=0, microsecond=0) + timedelta(days=1)
    set_clock(at)
    yield at
    if connection.connection is not None and not connection.in_atomic_block:
        connection.close()  # with its clock


@pytest.fixture(autouse=True)
def bells(rung: list[str]) -> list[str]:
    return rung


@pytest.fixture
def ada(noon: datetime) -> User:
    return rows.people(external_id="ada", email="ada@example.com")[0]


@pytest.fixture
def digest(ada: User) -> None:
    templates.type_of("digest_email", category="digest", name="Digests")
    templates.template("digest_email", DIGEST, type="digest_email")


def want(user: User, type: str, channel: str, how: str | None) -> None:
    with transaction.atomic():
        choices.write(user.pk, [Wanted(type, channel, how)], source="person")


def sleeps(user: User) -> None:
    UserPreference.objects.update_or_create(user=user, defaults={"quiet": NIGHT})


def post(api: Api, *people: User, **fields: Any) -> Any:
    """The one target of it."""
    wanted: dict[str, Any] = {"channels": ["email"], "targets": [one.pk for one in people]}
    (target,) = accepted(send(api, **(wanted | fields)))["targets"]
    return target["id"]


def release() -> int:
    count = 0
    while found := holds.release_due(1000):
        count += found
    rows.assert_books_balance()
    rows.assert_shapes_hold()
    return count


def stand(*ids: Any) -> list[tuple[str, str]]:
    return [(row["status"], row["reason"]) for row in map(rows.row, ids)]


def why(id: Any) -> dict[str, Any]:
    """The last decision's detail."""
    last = TargetDecision.objects.filter(target=id).latest("id")
    assert last.status == rows.row(id)["status"]
    return dict(last.detail)


def digests() -> list[NotificationTarget]:
    of_digests = Notification.objects.filter(template="digest_email")
    return list(NotificationTarget.objects.filter(notification__in=of_digests).order_by("id"))


OUT, MERGED, REPLACED = ("queued", ""), ("skipped", "merged"), ("skipped", "replaced")


# --- Each by itself ----------------------------------------------------------------------------------------


def test_what_is_due_is_expired_unwanted_held_on_or_out(api: Api, ada: User, noon: datetime) -> None:
    at = (noon + timedelta(hours=11)).isoformat()
    soon = (noon + timedelta(hours=11, seconds=1)).isoformat()
    ids = [
        post(api, ada, scheduled_at=at),
        post(api, ada, scheduled_at=at, channels=["sms"]),
        post(api, ada, scheduled_at=at, channels=["in_app"]),
        post(api, ada, scheduled_at=at, channels=["in_app"], expires_at=soon),
    ]
    want(ada, "", "sms", "off")
    sleeps(ada)
    set_clock(noon + timedelta(hours=11, seconds=1))
    assert release() == 4
    assert stand(*ids) == [("held", "quiet_hours"), ("skipped", "opted_out"), OUT, ("expired", "expires_at")]
    assert rows.row(ids[0])["held_until"] == noon + timedelta(hours=19)
    assert (why(ids[0])["rule"], why(ids[1])["rule"]) == ("quiet_hours", "choice")
    assert not TargetDecision.objects.filter(target__in=ids[2:]).exists()
    assert release() == 0
    set_clock(noon + timedelta(hours=19))
    assert release() == 1
    assert (stand(ids[0]), why(ids[0])) == ([OUT], {"rule": "replanned", "why": "opened"})


def test_a_hold_ends_at_expires_at_to_the_second(api: Api, ada: User, noon: datetime) -> None:
    sleeps(ada)
    set_clock(noon + timedelta(hours=11))
    end = noon + timedelta(hours=12)
    id = post(api, ada, expires_at=end.isoformat())
    assert rows.row(id)["held_until"] == end
    set_clock(end - timedelta(seconds=1))
    assert release() == 0
    set_clock(end)
    assert release() == 1
    assert stand(id) == [("expired", "expires_at")]


def test_who_is_deactivated_or_gone_meanwhile_gets_nothing(api: Api, ada: User, noon: datetime) -> None:
    at = (noon + timedelta(hours=1)).isoformat()
    first = post(api, ada, scheduled_at=at)
    (ben,) = rows.people()
    second = post(api, ben, scheduled_at=at)
    User.objects.filter(pk=ada.pk).update(is_active=False)
    ben.delete()
    set_clock(noon + timedelta(hours=1))
    assert release() == 2
    assert stand(first, second) == [("skipped", "inactive")] * 2


def test_a_type_that_is_gone_is_still_what_they_opted_out_of(api: Api, ada: User, noon: datetime) -> None:
    type = templates.type_of("news")
    id = post(api, ada, type="news", scheduled_at=(noon + timedelta(hours=1)).isoformat())
    want(ada, "news", "", "off")
    type.delete()
    set_clock(noon + timedelta(hours=1))
    release()
    assert stand(id) == [("skipped", "opted_out")]


# --- Those with the same key -------------------------------------------------------------------------------


def test_of_those_with_the_same_key_the_newest_goes(api: Api, ada: User, noon: datetime) -> None:
    (ben,) = rows.people()
    for one in (ada, ben):
        sleeps(one)
    templates.type_of("news")
    set_clock(noon + timedelta(hours=11))
    others = [
        post(api, ada, collapse_key="k", type="news"),
        post(api, ada, collapse_key="K"),
        post(api, ada),
        post(api, ada),
        post(api, ada, collapse_key="k", channels=["sms"]),
        post(api, ben, collapse_key="k"),
    ]
    same = []
    for minute in range(3):
        set_clock(noon + timedelta(hours=11, minutes=minute))
        same.append(post(api, ada, collapse_key="k"))
    set_clock(noon + timedelta(hours=19))
    assert release() == 9
    assert stand(*same) == [REPLACED, REPLACED, OUT]
    assert stand(*others) == [OUT] * 6
    assert [str(rows.row(one)["merged_into"]) for one in same[:2]] == [same[2]] * 2
    assert why(same[0]) == {"rule": "merge", "into": same[2], "why": "collapse_key"}


def test_an_older_one_goes_if_the_newest_is_not_wanted(api: Api, ada: User, noon: datetime) -> None:
    at = noon + timedelta(hours=1)
    asked = {"scheduled_at": at.isoformat(), "collapse_key": "k"}
    first = post(api, ada, **asked)
    second = post(api, ada, **asked, expires_at=(at + timedelta(seconds=1)).isoformat())
    set_clock(at + timedelta(seconds=1))
    release()
    assert stand(first, second) == [OUT, ("expired", "expires_at")]


# --- Digests -----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("digest")
def test_two_or_more_go_as_one(api: Api, ada: User, noon: datetime) -> None:
    templates.type_of("news", name="News of the day")
    want(ada, "news", "", "daily")
    ids = [post(api, ada, type="news", title=f"Title {n}", body=f"Body {n}") for n in range(3)]
    assert stand(*ids) == [("held", "digest")] * 3
    set_clock(noon + timedelta(hours=20))
    assert release() == 3
    (made,) = digests()
    assert stand(*ids) == [MERGED] * 3
    assert {rows.row(one)["merged_into"] for one in ids} == {made.id}
    assert why(ids[0]) == {"rule": "merge", "into": str(made.id), "why": "digest"}
    assert (made.status, made.user_id, made.address, made.lane, made.next_attempt_at) == (
        "queued", ada.pk, "ada@example.com", "email.normal", clock.now()
    )  # fmt: skip
    note = made.notification
    items = note.payload.pop("items")
    assert note.payload == {"period": "daily", "count": 3, "more": 0}
    assert (note.type, note.channels, note.recipient_count, note.client_id) == (
        "digest_email",
        ["email"],
        1,
        None,
    )
    assert items[0] == {
        "title": "Title 0",
        "body": "Body 0",
        "link": "",
        "type": "news",
        "type_name": "News of the day",
        "created_at": noon.isoformat(timespec="seconds"),
        "notification_id": str(rows.row(ids[0])["notification_id"]),
    }
    assert [one["title"] for one in items] == ["Title 0", "Title 1", "Title 2"]
    story = api.get(f"/api/notifications/{note.id}/targets/{made.id}/").json()
    assert sorted(story["merged"]) == sorted(ids)
    assert api.get(f"/api/notifications/{note.id}/").json()["summary"]["targets"] == 1


@pytest.mark.usefixtures("digest")
def test_weekly_ones_go_weekly(api: Api, ada: User, noon: datetime) -> None:
    want(ada, "", "email", "weekly")
    ids = [post(api, ada), post(api, ada)]
    set_clock(rows.row(ids[0])["held_until"])
    assert clock.now().weekday() == 0
    release()
    (made,) = digests()
    assert made.notification.payload["period"] == "weekly"


@pytest.mark.usefixtures("digest")
def test_a_single_one_goes_by_itself_and_none_is_empty(api: Api, ada: User, noon: datetime) -> None:
    want(ada, "", "email", "daily")
    (ben,) = rows.people()
    want(ben, "", "email", "daily")
    id, other, cancelled = post(api, ada), post(api, ben), post(api, ben)
    note = rows.row(cancelled)["notification_id"]
    assert api.post(f"/api/notifications/{note}/cancel/").json()["counts"]["removed_from_digest"] == 1
    set_clock(noon + timedelta(hours=20))
    assert release() == 2
    assert (stand(id, other), digests()) == ([OUT, OUT], [])
    set_clock(noon + timedelta(hours=44))
    assert (release(), digests()) == (0, [])


@pytest.mark.usefixtures("digest")
def test_each_channel_and_person_has_their_own_and_one_key_is_one_item(
    api: Api, ada: User, noon: datetime
) -> None:
    (ben,) = rows.people(email="ben@example.com")
    for one in (ada, ben):
        want(one, "", "", "daily")
    for one in (ada, ben):
        for channel in ("email", "email", "sms", "sms"):
            post(api, one, channels=[channel], collapse_key="k" if channel == "sms" else None)
    set_clock(noon + timedelta(hours=20))
    assert release() == 8
    assert sorted((one.user_id, one.channel) for one in digests()) == [(ada.pk, "email"), (ben.pk, "email")]
    stands = list(NotificationTarget.objects.filter(channel="sms").values_list("status", "reason"))
    assert sorted(stands) == [OUT, OUT, REPLACED, REPLACED]


@pytest.mark.usefixtures("digest")
def test_the_latest_hundred_are_told(api: Api, ada: User, noon: datetime) -> None:
    want(ada, "", "", "daily")
    for n in range(103):
        post(api, ada, title=f"{n} " + "x" * 490, body="y" * 900)
    set_clock(noon + timedelta(hours=20))
    release()
    (made,) = digests()
    payload = made.notification.payload
    assert (payload["count"], payload["more"], len(payload["items"])) == (103, 3, 100)
    assert payload["items"][0]["title"].startswith("3 ") and payload["items"][-1]["body"] == "y" * 500


@pytest.mark.usefixtures("digest")
def test_what_does_not_render_goes_by_itself(api: Api, ada: User, noon: datetime) -> None:
    templates.template("broken", {"email": {"subject": "x", "body": "{{ n | divided_by: 0 }}"}})
    want(ada, "", "", "daily")
    good, bad = [post(api, ada), post(api, ada)], post(api, ada, template="broken", payload={"n": 1})
    set_clock(noon + timedelta(hours=20))
    release()
    assert (stand(*good), stand(bad)) == ([MERGED] * 2, [OUT])
    (made,) = digests()
    assert made.notification.payload["count"] == 2


@pytest.mark.usefixtures("digest")
def test_one_of_two_that_does_not_render_leaves_no_digest(api: Api, ada: User, noon: datetime) -> None:
    templates.template("broken", {"email": {"subject": "x", "body": "{{ n | divided_by: 0 }}"}})
    want(ada, "", "", "daily")
    ids = [post(api, ada), post(api, ada, template="broken", payload={"n": 1})]
    set_clock(noon + timedelta(hours=20))
    release()
    assert (stand(*ids), digests()) == ([OUT, OUT], [])


def test_without_a_template_for_digests_all_go_by_themselves(api: Api, ada: User, noon: datetime) -> None:
    templates.forget_seeds()
    want(ada, "", "", "daily")
    ids = [post(api, ada), post(api, ada)]
    set_clock(noon + timedelta(hours=20))
    assert release() == 2
    assert stand(*ids) == [OUT, OUT]


@pytest.mark.usefixtures("digest")
def test_in_app_words_are_an_items_if_there_are_such(api: Api, ada: User, noon: datetime) -> None:
    parts = {"subject": "Order {{ n }} of {{ recipient.name }}", "body": "Look"}
    templates.template("order", {"email": {"subject": "Long", "body": "Longer"}, "in_app": parts})
    want(ada, "", "", "daily")
    for n in (1, 2):
        post(api, ada, template="order", payload={"n": n})
    set_clock(noon + timedelta(hours=20))
    release()
    (made,) = digests()
    item = made.notification.payload["items"][1]
    assert (item["title"], item["body"]) == ("Order 2 of P0", "Look")


@pytest.mark.usefixtures("digest")
def test_who_wants_no_digests_by_a_channel_gets_none_there(api: Api, ada: User, noon: datetime) -> None:
    want(ada, "", "", "daily")
    want(ada, "digest_email", "email", "off")
    mail = [post(api, ada), post(api, ada)]
    sms = [post(api, ada, channels=["sms"]) for _ in range(2)]
    set_clock(noon + timedelta(hours=20))
    release()
    assert stand(*mail, *sms) == [("skipped", "opted_out")] * 2 + [MERGED] * 2
    assert [one.channel for one in digests()] == ["sms"]
    assert why(mail[0]) == {
        "rule": "choice", "type": "digest_email", "channel": "email", "level": "person", "until": None
    }  # fmt: skip


@pytest.mark.usefixtures("digest")
def test_a_digest_waits_for_the_hours_whatever_else_is_changed(api: Api, ada: User, noon: datetime) -> None:
    """Not until the next one: its time has come."""
    want(ada, "", "", "daily")
    ids = [post(api, ada), post(api, ada)]
    UserPreference.objects.create(user=ada, quiet=[{"days": DAYS, "start": "05:00", "end": "09:00"}])
    set_clock(noon + timedelta(hours=20))
    assert release() == 2
    nine = noon + timedelta(hours=21)
    assert stand(*ids) == [("held", "collected")] * 2
    assert [rows.row(one)["held_until"] for one in ids] == [nine] * 2
    late = post(api, ada)  # for the next one
    want(ada, "other", "", "off")
    assert [rows.row(one)["held_until"] for one in (*ids, late)] == [nine, nine, noon + timedelta(hours=44)]
    set_clock(nine)
    assert release() == 2
    assert stand(*ids, late) == [MERGED, MERGED, ("held", "digest")]
    assert len(digests()) == 1


@pytest.mark.usefixtures("digest")
def test_a_digest_that_waits_for_the_hours_is_made_when_they_open(
    api: Api, ada: User, noon: datetime
) -> None:
    want(ada, "", "", "daily")
    ids = [post(api, ada), post(api, ada)]
    UserPreference.objects.create(user=ada, quiet=[{"days": DAYS, "start": "05:00", "end": "09:00"}])
    set_clock(noon + timedelta(hours=20))
    release()
    assert api.put("/api/users/ada/preferences/", {"channels": {"all": "daily"}}).status_code == 200
    assert stand(*ids) == [MERGED] * 2
    note = rows.row(ids[0])["notification_id"]
    assert [one.notification_id != note for one in digests()] == [True]


# --- Caps --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("overflow", "stands"),
    [
        ("skip", [OUT, ("skipped", "capped"), ("skipped", "capped")]),
        ("digest", [OUT, ("held", "digest"), ("held", "digest")]),
        ("fallback", [OUT, ("held", "digest"), ("held", "digest")]),
    ],
)
@pytest.mark.usefixtures("digest")
def test_caps_are_charged_when_it_goes_out(
    api: Api, ada: User, noon: datetime, overflow: str, stands: list[tuple[str, str]]
) -> None:
    templates.type_of("news", cap_per_hour=1, overflow=overflow, fallback=["sms"])
    sleeps(ada)
    set_clock(noon + timedelta(hours=11))
    ids = [post(api, ada, type="news") for _ in range(3)]
    assert not CapUse.objects.exists()
    seven = noon + timedelta(hours=19)
    set_clock(seven)
    assert release() == 3
    assert stand(*ids) == stands
    assert why(ids[2])["overflow"] == ("skip" if overflow == "skip" else "digest")
    if overflow != "skip":
        assert rows.row(ids[1])["held_until"] == seven + timedelta(hours=1)
        want(ada, "other", "", "off")  # changes nothing: it is still one too many
        assert stand(*ids) == stands
        set_clock(seven + timedelta(hours=1))
        release()
        assert stand(*ids) == [OUT, MERGED, MERGED]


@pytest.mark.usefixtures("digest")
def test_a_digest_counts_and_goes_out_also_over_a_cap(api: Api, ada: User, noon: datetime) -> None:
    UserPreference.objects.create(user=ada, cap_per_hour=1)
    want(ada, "news", "", "daily")
    templates.type_of("news")
    for day in (20, 44):
        for _ in range(2):
            post(api, ada, type="news")
        set_clock(noon + timedelta(hours=day))
        release()
        assert stand(post(api, ada)) == [("skipped", "capped")]
    assert len(digests()) == 2


# --- Their wishes change -----------------------------------------------------------------------------------


def held_at_night(api: Api, ada: User, noon: datetime) -> Any:
    sleeps(ada)
    set_clock(noon + timedelta(hours=11))
    return post(api, ada)


def test_without_quiet_hours_it_goes_out_now_and_rings_after_the_commit(
    api: Api, ada: User, noon: datetime, bells: list[str], django_capture_on_commit_callbacks: Any
) -> None:
    id = held_at_night(api, ada, noon)
    bells.clear()
    with django_capture_on_commit_callbacks() as later:
        assert api.put("/api/users/ada/preferences/", {"quiet": []}).status_code == 200
        assert bells == []
    assert (stand(id), why(id)) == ([OUT], {"rule": "replanned", "why": "preferences"})
    assert rows.row(id)["next_attempt_at"] == clock.now()
    for callback in later:
        callback()
    assert bells == ["email.normal"]


def test_another_zone_is_another_time(api: Api, ada: User, noon: datetime) -> None:
    quiet = held_at_night(api, ada, noon)
    local = post(api, ada, local_time="09:00", channels=["in_app"])
    assert [rows.row(one)["held_until"] for one in (quiet, local)] == [
        noon + timedelta(hours=19),
        noon + timedelta(hours=21),
    ]
    users.upsert(1, [UserInput(external_id="ada", timezone="Asia/Tokyo")])  # nine hours before: it is eight
    assert stand(quiet, local) == [OUT, ("held", "local_time")]
    assert rows.row(local)["held_until"] == noon + timedelta(hours=12)
    users.upsert(1, [UserInput(external_id="ada", timezone="Asia/Karachi")])  # five: it is four
    assert rows.row(local)["held_until"] == noon + timedelta(hours=16)
    assert why(local)["zone"] == "Asia/Karachi"


def test_no_digests_any_more_is_at_once(api: Api, ada: User, noon: datetime) -> None:
    want(ada, "", "", "daily")
    ids = [post(api, ada), post(api, ada)]
    want(ada, "", "", None)
    assert stand(*ids) == [OUT, OUT]


@pytest.mark.usefixtures("digest")
def test_weekly_instead_of_daily_waits_on(api: Api, ada: User, noon: datetime) -> None:
    want(ada, "", "", "daily")
    ids = [post(api, ada), post(api, ada)]
    want(ada, "", "", "weekly")
    until = {rows.row(one)["held_until"] for one in ids}
    assert {(at.weekday(), at.hour) for at in until} == {(0, 8)} and why(ids[0])["period"] == "weekly"


def test_who_opts_out_gets_nothing_of_what_waits(
    api: Api, ada: User, noon: datetime, bells: list[str]
) -> None:
    id = held_at_night(api, ada, noon)
    later = post(api, ada, scheduled_at=(noon + timedelta(hours=30)).isoformat())
    bells.clear()
    want(ada, "", "email", "off")
    assert (stand(id), why(id)["rule"]) == ([("skipped", "opted_out")], "choice")
    assert stand(later) == [("held", "scheduled")]  # it is looked at when its time has come
    assert bells == []
    set_clock(noon + timedelta(hours=30))
    release()
    assert stand(later) == [("skipped", "opted_out")]


def test_of_those_with_the_same_key_one_goes_then_too(api: Api, ada: User, noon: datetime) -> None:
    sleeps(ada)
    set_clock(noon + timedelta(hours=11))
    ids = [post(api, ada, collapse_key="k") for _ in range(3)]
    assert api.put("/api/users/ada/preferences/", {}).status_code == 200
    assert stand(*ids) == [REPLACED, REPLACED, OUT]


def test_what_does_not_change_is_not_written(api: Api, ada: User, noon: datetime) -> None:
    (ben,) = rows.people()
    others = held_at_night(api, ben, noon)
    ids = [held_at_night(api, ada, noon), post(api, ada, local_time="09:00")]
    want(ada, "news", "", "daily")
    ids += [post(api, ada, scheduled_at=(noon + timedelta(hours=30)).isoformat())]
    places = NotificationTarget.objects.extra(select={"place": "ctid::text"}).values_list("id", "place")
    before, decided = dict(places), TargetDecision.objects.count()
    want(ada, "other", "", "off")
    assert (dict(places), TargetDecision.objects.count()) == (before, decided)
    assert len(stand(*ids, others)) == 4


def test_who_has_nothing_waiting_costs_two_statements(api: Api, ada: User) -> None:
    with transaction.atomic(), capture() as statements:
        holds.decide_anew([ada.pk], why="preferences")
    assert len(statements) == 2


# --- Two at once -------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_two_sweepers_and_a_change_at_the_same_moment_make_one_digest(api: Api, settings: Any) -> None:
    settings.HOLD_SPREAD = 0
    templates.template("digest_email", DIGEST)
    people = rows.people(12)
    note = rows.notification(kept=True)
    ids = {
        one.pk: rows.targets(
            note, count=5, status=rows.Status.HELD, user_id=one.pk, reason="digest", address=one.email
        )
        for one in people
    }

    def work(number: int) -> None:
        if number < 2:
            while holds.release_due(3):
                pass
            return
        for one in people[:: 1 if number == 2 else -1]:
            with db.one_transaction():
                choices.write(one.pk, [Wanted(f"t{number}", "", "off")], source="person")

    in_threads(4, work)
    while holds.release_due(100):
        pass
    made = digests()
    assert sorted(one.user_id for one in made) == sorted(ids)
    assert all(stand(*of) == [MERGED] * 5 for of in ids.values())
    for one in made:
        assert {rows.row(id)["merged_into"] for id in ids[one.user_id]} == {one.id}
        assert one.notification.payload["count"] == 5
    rows.assert_books_balance()


@pytest.mark.django_db(transaction=True)
def test_for_whom_somebody_decides_nobody_else_does() -> None:
    """A sweeper goes on with others; who changes wishes waits, and finds what is left."""
    ada, ben = rows.people(2)
    note = rows.notification(kept=True)
    ids = [rows.targets(note, rows.Status.HELD, user_id=one.pk)[0] for one in (ada, ada, ben)]
    lock = "SELECT 1 FROM users_user WHERE id = %s FOR NO KEY UPDATE"
    pids: list[int] = []

    def change() -> None:
        with db.one_transaction():
            pids.append(db.rows("SELECT pg_backend_pid()")[0][0])
            holds.decide_anew([ada.pk], why="preferences")
        connection.close()

    with other_connection() as other, other_connection() as observer:
        other.execute(lock, [ada.pk])
        assert holds.release_due(10) == 1
        assert rows.statuses(ids) == ["held", "held", "queued"]
        thread = threading.Thread(target=change)
        thread.start()
        until(lambda: pids and waits_for_a_lock(observer, pids[0]))
        assert rows.statuses(ids[:2]) == ["held", "held"]
        other.rollback()
        thread.join(10)
    assert rows.statuses(ids) == ["queued"] * 3


def test_a_suppressed_address_is_left_to_the_claim(api: Api, ada: User, noon: datetime) -> None:
    """A release asks nothing of addresses: the claim drops what it queues."""
    id = post(api, ada, scheduled_at=(noon + timedelta(hours=1)).isoformat())
    suppression.suppress([Fact(None, "email", ada.email, Cause.BOUNCED)])
    set_clock(noon + timedelta(hours=1))
    release()
    assert stand(id) == [OUT]
