"""One too many, told before, or reached by nothing: what becomes of it, in the answer and in the rows."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from apps.content import catalog
from apps.notifications import audiences, intake
from apps.notifications.intake import Order
from apps.notifications.models import CapUse, NotificationTarget, TargetDecision
from apps.preferences import choices, suppression
from apps.preferences.choices import Wanted
from apps.preferences.models import UserPreference
from apps.preferences.suppression import Cause, Fact
from apps.users.models import User
from apps.users.people import find
from project import clock, db
from tests.api_helpers import Api
from tests.notifications.api_support import BULK, accepted, send, template
from tests.support import places, rows, templates
from tests.support.database import capture, in_threads, move_clock

pytestmark = pytest.mark.django_db
SENT, OVER, GONE = ("queued", None), ("skipped", "capped"), ("skipped", "no_address")


@pytest.fixture(autouse=True)
def bells(rung: list[str]) -> list[str]:
    return rung


@pytest.fixture
def ada() -> User:
    return rows.people(external_id="ada", email="ada@example.com")[0]


def news(**fields: Any) -> None:
    templates.type_of("news", **fields)


def post(api: Api, *people: User, **fields: Any) -> dict[str, Any]:
    wanted = {"type": "news", "channels": ["email"], "targets": [one.pk for one in people]}
    return accepted(send(api, **(wanted | fields)))


def stand(body: dict[str, Any]) -> list[tuple[str, str | None]]:
    """Status and reason of each target, as answered; which is as written."""
    found = {str(one.id): one for one in NotificationTarget.objects.filter(notification=body["id"])}
    assert found.keys() == {one["id"] for one in body["targets"]}
    for one in body["targets"]:
        assert (one["status"], one["reason"] or "") == (found[one["id"]].status, found[one["id"]].reason)
    return [(one["status"], one["reason"]) for one in body["targets"]]


def by_channel(body: dict[str, Any]) -> dict[str, tuple[str, str | None]]:
    return {one["channel"]: found for one, found in zip(body["targets"], stand(body), strict=True)}


def why(body: dict[str, Any], channel: str = "email") -> dict[str, Any]:
    """The detail of the one decision about the one target by this channel."""
    (target,) = (one["id"] for one in body["targets"] if one["channel"] == channel)
    return TargetDecision.objects.get(target=target).detail


# --- The same event ----------------------------------------------------------------------------------------


def test_nobody_is_told_twice_by_any_channel_and_others_still_are(api: Api, ada: User) -> None:
    (ben,) = rows.people()
    (quiet,) = rows.people(email="", phone="")
    news(dedupe_window=7200)
    both = {"channels": ["email", "sms"], "dedupe_key": "order-17"}
    assert stand(post(api, ada, quiet, **both)) == [SENT, SENT, GONE, GONE]
    again = post(api, ada, ben, quiet, **both)
    assert stand(again) == [("skipped", "duplicate")] * 2 + [SENT] * 2 + [("skipped", "duplicate")] * 2
    target = again["targets"][0]["id"]
    detail = TargetDecision.objects.get(target=target).detail
    assert detail == {"rule": "dedupe", "key": "order-17", "window": 7200}
    story = api.get(f"/api/notifications/{again['id']}/targets/{target}/").json()["explanation"]
    assert story[-1] == "Skipped: the person was told of the same event (order-17) within 2 hours."


def test_the_event_is_a_type_and_a_key_and_is_over_after_its_window(api: Api, ada: User) -> None:
    news(dedupe_window=60)
    templates.type_of("other")
    assert stand(post(api, ada, dedupe_key="k")) == [SENT]
    assert stand(post(api, ada, dedupe_key="K")) == [SENT]
    assert stand(post(api, ada, dedupe_key="k", type="other")) == [SENT]
    assert stand(post(api, ada)) == [SENT]
    move_clock(59)
    assert stand(post(api, ada, dedupe_key="k")) == [("skipped", "duplicate")]
    move_clock(61)
    assert stand(post(api, ada, dedupe_key="k")) == [SENT]


def test_what_has_no_type_is_the_same_event_for_a_day(api: Api, ada: User) -> None:
    assert stand(post(api, ada, type=None, dedupe_key="k")) == [SENT]
    again = post(api, ada, type=None, dedupe_key="k")
    assert (stand(again), why(again)["window"]) == ([("skipped", "duplicate")], 86_400)


def test_within_one_bulk_request_the_first_row_tells(api: Api, ada: User) -> None:
    (ben,) = rows.people()
    row = {"title": "x", "channels": ["email"], "dedupe_key": "k"}
    asked = [row | {"targets": [ada.pk]}, row | {"targets": [ben.pk, ada.pk]}, row | {"targets": [ben.pk]}]
    results = api.post(BULK, {"notifications": asked}).json()["results"]
    assert [stand(one["notification"]) for one in results] == [
        [SENT],
        [SENT, ("skipped", "duplicate")],
        [("skipped", "duplicate")],
    ]


def audience(*people: User, **fields: Any) -> list[tuple[str, str]]:
    """Of a big audience, planned in as many chunks: each person's status and reason."""
    order = Order(organization_id=1, channels=["email"], title="x", **fields)
    id = intake.accept_audience(order, [one.pk for one in people])
    while audiences.plan_chunk():
        pass
    rows.assert_books_balance()
    found = {t.user_id: t for t in NotificationTarget.objects.filter(notification=id, channel="email")}
    return [(found[one.pk].status, found[one.pk].reason) for one in people]


@pytest.mark.django_db(transaction=True)
def test_chunks_of_big_audiences_tell_each_person_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "CHUNK", 2)
    people = rows.people(5)
    assert audience(*people[:3], dedupe_key="k") == [("queued", "")] * 3
    told, new = ("skipped", "duplicate"), ("queued", "")
    assert audience(*people, dedupe_key="k") == [told, told, told, new, new]


@pytest.mark.django_db(transaction=True)
def test_of_two_services_at_the_same_moment_one_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    people = rows.people(20)
    template("hello", email=[])

    def tell(number: int) -> None:
        with db.one_transaction():
            order = Order(organization_id=1, channels=["email"], title="x", dedupe_key="k")
            found = find(1, ids=[one.pk for one in people[:: 1 if number % 2 else -1]])
            intake.accept([(order, found)], clock.now())

    in_threads(4, tell)
    stands = list(NotificationTarget.objects.values_list("user_id", "status"))
    assert sorted(user for user, status in stands if status == "queued") == sorted(one.pk for one in people)
    assert len(stands) == 80


# --- One too many ------------------------------------------------------------------------------------------


def test_what_is_over_is_skipped_and_says_which_cap(api: Api, ada: User) -> None:
    news(cap_per_hour=1, cap_per_day=9)
    assert stand(post(api, ada)) == [SENT]
    over = post(api, ada)
    assert stand(over) == [OVER]
    detail = why(over)
    again_at = detail.pop("again_at")
    assert detail == {"rule": "cap", "cap": "type_per_hour", "limit": 1, "overflow": "skip"}
    assert again_at == (clock.now() + timedelta(hours=1)).isoformat()
    move_clock(3600)
    assert stand(post(api, ada)) == [SENT]


def test_a_persons_own_cap_is_over_all_types(api: Api, ada: User) -> None:
    news()
    UserPreference.objects.create(user=ada, cap_per_hour=1)
    assert stand(post(api, ada, type=None)) == [SENT]
    over = post(api, ada)
    assert (stand(over), why(over)["cap"]) == ([OVER], "per_hour")
    assert stand(post(api, ada, channels=["sms"])) == [SENT]  # another channel


def test_three_phones_are_one_message(api: Api, ada: User) -> None:
    news(cap_per_hour=2)
    for _ in range(3):
        places.device(ada)
    assert stand(post(api, ada, channels=["push"])) == [SENT] * 3
    assert stand(post(api, ada, channels=["push"])) == [SENT] * 3
    assert stand(post(api, ada, channels=["push"])) == [OVER] * 3
    assert [len(row.times) for row in CapUse.objects.all()] == [2]


@pytest.mark.parametrize("channel", ["in_app", "webhook"])
def test_what_wakes_nobody_is_not_counted(api: Api, ada: User, channel: str) -> None:
    news(cap_per_hour=1)
    places.endpoint(ada)
    assert [stand(post(api, ada, channels=[channel])) for _ in range(3)] == [[SENT]] * 3
    assert not CapUse.objects.exists()


def test_what_is_critical_is_not_counted(api: Api, ada: User) -> None:
    UserPreference.objects.create(user=ada, cap_per_hour=1)
    assert [stand(post(api, ada, type=None, priority="critical")) for _ in range(3)] == [[SENT]] * 3
    assert stand(post(api, ada, type=None)) == [SENT]


def test_what_is_held_skipped_or_told_before_uses_up_nothing(api: Api, ada: User) -> None:
    news(cap_per_hour=2)
    later = (clock.now() + timedelta(hours=5)).isoformat()
    post(api, ada, scheduled_at=later)
    post(api, ada, dedupe_key="k")
    post(api, ada, dedupe_key="k")
    assert stand(post(api, ada)) == [SENT]
    assert stand(post(api, ada)) == [OVER]


def test_what_is_over_goes_into_the_next_digest(api: Api, ada: User, settings: Any) -> None:
    settings.HOLD_SPREAD = 0
    news(cap_per_hour=1, overflow="digest")
    post(api, ada)
    over = post(api, ada)
    assert stand(over) == [("held", "digest")]
    at = clock.now()
    eight = at.replace(hour=8, minute=0, second=0, microsecond=0)
    due = eight if eight > at else eight + timedelta(days=1)
    row = rows.row(over["targets"][0]["id"])
    assert row["held_until"] == due
    assert why(over) | {"again_at": ""} == {
        "rule": "cap", "cap": "type_per_hour", "limit": 1, "again_at": "", "overflow": "digest"
    }  # fmt: skip
    soon = at + timedelta(seconds=1)
    expiring = post(api, ada, expires_at=soon.isoformat())
    assert rows.row(expiring["targets"][0]["id"])["held_until"] == min(soon, due)


# --- Another channel ---------------------------------------------------------------------------------------


def test_what_is_over_goes_by_the_first_channel_that_takes_it(api: Api, ada: User, bells: list[str]) -> None:
    """The phone's number is suppressed, the chat is not there; both leave no target."""
    news(cap_per_hour=1, overflow="fallback", fallback=["sms", "chat", "in_app", "push"])
    suppression.suppress([Fact(None, "sms", ada.phone, Cause.BOUNCED)])
    places.device(ada)
    post(api, ada)
    bells.clear()
    over = post(api, ada)
    assert by_channel(over) == {"email": OVER, "in_app": SENT}
    assert why(over) | {"again_at": ""} == {
        "rule": "cap", "cap": "type_per_hour", "limit": 1, "again_at": "",
        "overflow": "fallback", "channel": "in_app",
    }  # fmt: skip
    assert why(over, "in_app") == {"rule": "fallback", "channel": "email"}
    assert bells == ["in_app.normal"]
    rows.assert_books_balance()


def test_a_chain_has_caps_of_its_own_and_ends(api: Api, ada: User) -> None:
    news(cap_per_hour=1, overflow="fallback", fallback=["sms", "push"])
    places.device(ada)
    found = [by_channel(post(api, ada)) for _ in range(4)]
    assert found == [
        {"email": SENT},
        {"email": OVER, "sms": SENT},
        {"email": OVER, "push": SENT},
        {"email": OVER},
    ]
    last = post(api, ada)
    assert why(last)["overflow"] == "skip"  # which is what came of it
    assert [len(row.times) for row in CapUse.objects.all()] == [1, 1, 1]


def test_for_several_channels_that_are_over_there_is_one_in_their_place(api: Api, ada: User) -> None:
    news(cap_per_hour=1, overflow="fallback", fallback=["sms", "in_app"])
    both = {"channels": ["email", "sms"]}
    post(api, ada, **both)
    over = post(api, ada, **both)
    assert by_channel(over) == {"email": OVER, "sms": OVER, "in_app": SENT}
    assert [why(over, one)["channel"] for one in ("email", "sms", "in_app")] == ["in_app", "in_app", "email"]


def test_a_fallback_may_have_to_wait_and_says_both(api: Api, ada: User) -> None:
    news(cap_per_hour=1, overflow="fallback", fallback=["sms"])
    choices.write(ada.pk, [Wanted("news", "sms", "daily")], source="person")
    post(api, ada)
    over = post(api, ada)
    assert by_channel(over) == {"email": OVER, "sms": ("held", "digest")}
    detail = why(over, "sms")
    assert (detail["rule"], detail["instead_of"]) == ("digest", "email")
    (held,) = (one["id"] for one in over["targets"] if one["channel"] == "sms")
    story = api.get(f"/api/notifications/{over['id']}/targets/{held}/").json()["explanation"]
    assert story[-1].endswith("the person takes this in a daily digest; it goes in the place of email.")


@pytest.mark.parametrize(
    ("fields", "reason"), [({"email": ""}, "no_address"), ({"email": "gone@example.com"}, "suppressed")]
)
def test_whom_nothing_reaches_the_chain_is_tried_for(api: Api, fields: dict[str, str], reason: str) -> None:
    """Also of what is critical: it is not about what they want."""
    news(fallback=["push", "sms"], critical=True)
    suppression.suppress([Fact(None, "email", "gone@example.com", Cause.BOUNCED)])
    (ben,) = rows.people(**fields)
    body = post(api, ben)
    assert by_channel(body) == {"email": ("skipped", reason), "sms": SENT}
    assert why(body, "sms") == {"rule": "fallback", "channel": "email"}


def test_it_is_not_tried_for_who_opted_out_was_told_or_is_reached(api: Api, ada: User) -> None:
    news(fallback=["sms"])
    (ben, eve) = rows.people(2, email="")
    post(api, ben, dedupe_key="k")
    assert by_channel(post(api, ben, dedupe_key="k")) == {"email": ("skipped", "duplicate")}
    assert by_channel(post(api, eve, channels=["email", "in_app"])) == {"email": GONE, "in_app": SENT}
    choices.write(ada.pk, [Wanted("news", "email", "off")], source="person")
    assert by_channel(post(api, ada)) == {"email": ("skipped", "opted_out")}
    choices.write(eve.pk, [Wanted("news", "sms", "off")], source="person")
    assert by_channel(post(api, eve)) == {"email": GONE}  # opted out of the chain's
    User.objects.filter(pk=ben.pk).update(is_active=False)
    body = post(api, ben)
    assert by_channel(body) == {"email": ("skipped", "inactive")}


def test_one_of_three_phones_that_is_gone_does_not_keep_it_from_the_others(api: Api) -> None:
    news(fallback=["push"])
    (ben,) = rows.people(email="")
    for _ in range(3):
        places.device(ben)
    first = post(api, ben, channels=["push"], type=None)
    address = NotificationTarget.objects.filter(notification=first["id"]).order_by("id")[0].address
    suppression.suppress([Fact(None, "push", address, Cause.BOUNCED)])
    body = post(api, ben)
    assert sorted(stand(body)) == sorted([GONE, ("skipped", "suppressed"), SENT, SENT])


def test_a_channel_for_which_there_are_no_words_is_not_tried(api: Api) -> None:
    template("hello", email=[], in_app=[])
    news(fallback=["sms", "in_app"])
    (ben,) = rows.people(email="")
    words = {"template": "hello"}
    assert by_channel(post(api, ben, **words)) == {"email": GONE, "in_app": SENT}
    assert by_channel(post(api, ben)) == {"email": GONE, "sms": SENT}  # its own words go by all


@pytest.mark.django_db(transaction=True)
def test_of_big_audiences_too_and_their_books_balance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "CHUNK", 50)
    people = rows.people(120, email="")
    news(fallback=["sms", "in_app"])
    version = templates.template("hello", {"email": {"body": "x"}, "in_app": {"body": "x"}})
    type = catalog.find(1, types=["news"]).types["news"]
    found = audience(*people, type=type, template="hello", version_id=version.pk)
    assert found == [("skipped", "no_address")] * 120
    by = NotificationTarget.objects.exclude(channel="email")
    assert set(by.values_list("channel", "status", "lane")) == {("in_app", "queued", "in_app.normal")}
    assert by.count() == 120


def test_the_summary_is_kept_for_what_was_added_too(api: Api) -> None:
    """60 people by one channel would be derived; 120 targets are kept."""
    news(fallback=["sms"])
    people = rows.people(60, email="")
    body = post(api, *people)
    assert len(body["targets"]) == 120
    rows.assert_books_balance()
    summary = api.get(f"/api/notifications/{body['id']}/").json()["summary"]
    assert (summary["targets"], summary["skipped"], summary["in_progress"]) == (120, 60, 60)


# --- What it costs -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("caps", [{}, {"cap_per_hour": 1}])
def test_a_bulk_request_costs_the_same_for_any_number(api: Api, caps: dict[str, int]) -> None:
    """Of people over their cap, people whom nothing reaches, and people told before."""
    news(overflow="fallback", fallback=["sms", "push", "in_app"], **caps)
    counts = []
    for number in (1, 40):
        row = {"title": "x", "type": "news", "channels": ["email"], "dedupe_key": "k"}
        many = [
            {"targets": [one.pk]} for one in rows.people(number) + rows.people(number, email="", phone="")
        ]
        twice = [row | one for one in many] + [row | one | {"dedupe_key": "j"} for one in many]
        with capture() as statements:
            assert api.post(BULK, {"notifications": twice}).json()["rejected"] == 0
        counts.append(len(statements))
    assert counts[0] == counts[1]


def test_where_nothing_has_a_cap_and_all_are_reached_there_is_no_statement_more(api: Api, ada: User) -> None:
    news(overflow="fallback", fallback=["sms"])
    with capture() as with_chain:
        post(api, ada)
    with capture() as without:
        post(api, ada, type=None)
    assert len(with_chain) == len(without) + 1  # its type


@pytest.mark.django_db(transaction=True)
def test_chains_in_another_order_do_not_wait_for_each_other_in_a_circle() -> None:
    people = rows.people(10)
    for slug, chain in (("news", ["sms"]), ("other", ["email"])):
        templates.type_of(slug, cap_per_hour=1, overflow="fallback", fallback=chain)
    UserPreference.objects.bulk_create(UserPreference(user=one, cap_per_hour=3) for one in people)
    types = catalog.find(1, types=["news", "other"]).types

    def ask(number: int) -> None:
        slug, channel = (("news", "email"), ("other", "sms"))[number % 2]
        order = Order(organization_id=1, type=types[slug], channels=[channel], title="x")
        for _ in range(10):
            with db.one_transaction():
                intake.accept([(order, find(1, ids=[one.pk for one in people]))], clock.now())

    in_threads(4, ask)
    sent = NotificationTarget.objects.filter(status="queued").values_list("user_id", "channel")
    per_message = {one: list(sent).count(one) for one in set(sent)}
    assert max(per_message.values()) <= 3
