"""Whatever is asked for, wished and waited for: each target ends once, and for a reason the model knows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID

import pytest
from django.db import transaction
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from apps.content import catalog
from apps.content.catalog import TypeRules
from apps.delivery import engine
from apps.notifications import cancelling, holds, intake
from apps.notifications.intake import Order
from apps.notifications.models import Notification, NotificationTarget
from apps.preferences import choices
from apps.preferences.choices import Wanted
from apps.preferences.models import UserPreference
from apps.users import people as users
from apps.users.models import User
from apps.users.schemas import UserInput
from project import clock, db
from tests.support import rows, templates
from tests.support.adapters import accepting
from tests.support.database import move_clock

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("rung")]
HOUR = timedelta(hours=1)
WINDOW = timedelta(hours=6)
LANES = ("email.normal", "sms.normal")
TYPES = {
    "news": {"dedupe_window": int(WINDOW.total_seconds())},
    "few": {"cap_per_hour": 1, "overflow": "skip"},
    "some": {"cap_per_hour": 1, "overflow": "digest"},
    "either": {"cap_per_hour": 1, "overflow": "fallback", "fallback": ["sms", "email"]},
    "sum": {"category": "digest"},
    "digest_email": {"category": "digest"},
}
DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
QUIET = [{"days": DAYS, "start": "22:00", "end": "09:30"}]
DIGEST = {"subject": "{{ count }}", "body": "{{ period }}"}

who = st.sampled_from([(0,), (1,), (0, 1)])
type_slug = st.sampled_from(["", "news", "few", "some", "either", "sum"])
channel = st.sampled_from(["email", "sms"])
accepts = st.tuples(
    st.just("accept"),
    who,
    st.fixed_dictionaries(
        {
            "type": type_slug,
            "channels": st.sampled_from([["email"], ["sms"], ["email", "sms"]]),
            "dedupe_key": st.sampled_from(["", "", "d"]),
            "collapse_key": st.sampled_from(["", "k"]),
            "local_time": st.sampled_from(["", "", "09:00"]),
            "scheduled": st.sampled_from([None, None, 3]),
            "expires": st.sampled_from([None, None, 5]),
        }
    ),
)
chooses = st.tuples(
    st.just("choose"),
    who,
    st.tuples(
        st.sampled_from(["", "news", "sum", "digest_email"]),
        st.sampled_from(["", "email", "sms"]),
        st.sampled_from(["on", "off", "daily", "weekly", "daily", None]),
    ).map(lambda parts: Wanted(*parts)),
)
others = st.one_of(
    st.tuples(st.just("quiet"), who, st.sampled_from([QUIET, []])),
    st.tuples(st.just("zone"), who, st.sampled_from(["UTC", "Asia/Tokyo", "America/New_York"])),
    st.tuples(st.just("pass_time"), st.integers(1, 14)),
    st.tuples(st.just("pass_time"), st.integers(1, 14)),
    st.tuples(st.just("release")),
    st.tuples(st.just("deliver")),
    st.tuples(st.just("cancel"), st.integers(0, 30)),
)
steps = st.lists(accepts | accepts | chooses | others, min_size=3, max_size=30)


@dataclass
class Asked:
    """What the model knows of a notification."""

    at: datetime
    order: Order
    cancelled: bool = False


@dataclass
class Model:
    """Of two people: what was asked for, what they ever switched off, and what was sent when."""

    send: Any
    people: list[User]
    types: dict[str, TypeRules]
    hours: int = 0
    asked: dict[UUID, Asked] = field(default_factory=dict)
    off: set[int] = field(default_factory=set)
    sent: dict[UUID, datetime] = field(default_factory=dict)

    def do(self, name: str, *arguments: Any) -> None:
        steps: dict[str, Callable[..., None]] = {
            one.__name__: one
            for one in (
                *(self.accept, self.choose, self.quiet, self.zone),
                *(self.pass_time, self.release, self.deliver, self.cancel),
            )
        }
        steps[name](*arguments)

    def ids(self, who: tuple[int, ...]) -> list[int]:
        return [self.people[one].pk for one in who]

    def accept(self, who: tuple[int, ...], fields: dict[str, Any]) -> None:
        now = clock.now()
        values = dict(fields)
        scheduled, expires = values.pop("scheduled"), values.pop("expires")
        values["type"] = self.types.get(values["type"])
        values["scheduled_at"] = now + scheduled * HOUR if scheduled else None
        values["expires_at"] = now + expires * HOUR if expires else None
        order = Order(organization_id=1, title="x", **values)
        with db.one_transaction():
            (accepted,) = intake.accept([(order, users.find(1, ids=self.ids(who)))], now)
        self.asked[accepted.id] = Asked(now, order)

    def choose(self, who: tuple[int, ...], wanted: Wanted) -> None:
        for id in self.ids(who):
            with transaction.atomic():
                choices.write(id, [wanted], source="person")
            self.off |= {id} if wanted.how == "off" else set()

    def quiet(self, who: tuple[int, ...], windows: list[Any]) -> None:
        for id in self.ids(who):
            UserPreference.objects.update_or_create(user_id=id, defaults={"quiet": windows})
            with transaction.atomic():
                choices.changed.send(sender=None, user_ids=[id])

    def zone(self, who: tuple[int, ...], zone: str) -> None:
        users.upsert(1, [UserInput(external_id=self.people[one].external_id, timezone=zone) for one in who])

    def pass_time(self, hours: int) -> None:
        self.hours += hours
        move_clock(self.hours * 3600)

    def release(self) -> None:
        while holds.release_due(1000):
            pass

    def deliver(self) -> None:
        for lane in LANES:
            while engine.work(lane):
                pass
        for message in self.send.sent:
            assert message.target not in self.sent, "sent twice"
            self.sent[message.target] = clock.now()
        self.send.sent.clear()

    def cancel(self, number: int) -> None:
        for id in list(self.asked)[number : number + 1]:
            cancelling.cancel(id)
            self.asked[id].cancelled = True

    # --- What must be true ---

    def end(self) -> None:
        """Long after, when nothing waits any more."""
        for _ in range(20):  # past the next weekly digest, at another time of day each
            self.pass_time(13)
            self.release()
            self.deliver()
        notes = {one.id: one for one in Notification.objects.filter(targets__user_id__in=self.ids((0, 1)))}
        targets = {one.id: one for one in NotificationTarget.objects.filter(notification__in=notes)}
        digests = {id: one for id, one in targets.items() if one.notification_id not in self.asked}
        assert {id for id, one in targets.items() if one.status == "sent"} == self.sent.keys()
        for id, one in targets.items():
            if id not in digests:
                self.ended_rightly(one, targets, digests)
        self.are_told_once(targets)
        self.holds_each_once(targets, digests)

    def ended_rightly(
        self, one: NotificationTarget, targets: dict[UUID, Any], digests: dict[UUID, Any]
    ) -> None:
        asked, end = self.asked[one.notification_id], (one.status, one.reason)
        slug = asked.order.type.slug if asked.order.type else ""
        into = targets.get(one.merged_into) if one.merged_into else None
        known: dict[tuple[str, str], Callable[[], bool]] = {
            ("sent", ""): lambda: self.in_time(asked, self.sent[one.id]),
            ("expired", "expires_at"): lambda: asked.order.expires_at is not None,
            ("cancelled", "cancelled"): lambda: asked.cancelled,
            ("skipped", "opted_out"): lambda: one.user_id in self.off,
            ("skipped", "capped"): lambda: slug in {"few", "either"},
            ("skipped", "duplicate"): lambda: bool(asked.order.dedupe_key),
            ("skipped", "merged"): lambda: into is not None and into.id in digests,
            ("skipped", "replaced"): lambda: self.takes_its_place(into, one),
        }
        assert end in known and known[end](), (end, asked)
        assert (into is not None) == (one.reason in {"merged", "replaced"})

    def in_time(self, asked: Asked, at: datetime) -> bool:
        order = asked.order
        early = order.scheduled_at is not None and at < order.scheduled_at
        return not early and (order.expires_at is None or at < order.expires_at)

    def takes_its_place(self, newer: NotificationTarget | None, older: NotificationTarget) -> bool:
        assert newer is not None
        first, second = self.asked[older.notification_id], self.asked[newer.notification_id]
        same = (first.order.collapse_key, first.order.type) == (second.order.collapse_key, second.order.type)
        there = (older.user_id, older.channel) == (newer.user_id, newer.channel)
        return same and there and bool(first.order.collapse_key) and first.at <= second.at

    def are_told_once(self, targets: dict[UUID, Any]) -> None:
        """Of an event within its window, unless the first was cancelled."""
        told: dict[tuple[Any, ...], list[datetime]] = {}
        counted = {(t.user_id, t.notification_id) for t in targets.values() if t.reason != "duplicate"}
        for user_id, id in counted:
            asked = self.asked.get(id)
            if asked and asked.order.dedupe_key and not asked.cancelled:
                type = asked.order.type or TypeRules("")
                window = timedelta(seconds=type.dedupe_window)
                told.setdefault((user_id, type.slug, window), []).append(asked.at)
        for (_, _, window), times in told.items():
            times.sort()
            assert all(later - first >= window for first, later in pairwise(times))

    def holds_each_once(self, targets: dict[UUID, Any], digests: dict[UUID, Any]) -> None:
        """What was merged into a digest is an item of it, and of no other."""
        items = Counter(
            (id, item["notification_id"])
            for id, one in digests.items()
            for item in one.notification.payload["items"]
        )
        merged = Counter(
            (one.merged_into, str(one.notification_id)) for one in targets.values() if one.reason == "merged"
        )
        assert items == merged
        counts = Counter(one for one, _ in items.elements())
        assert all(count > 1 for count in counts.values()) and counts.keys() == digests.keys()
        for one in digests.values():
            assert one.status == "sent" or (one.reason == "opted_out" and one.user_id in self.off)


@pytest.fixture
def asking(adapter: Any) -> Iterator[Callable[[], Model]]:
    """Two new people at a time, among types that stay."""
    for slug, fields in TYPES.items():
        templates.type_of(slug, **fields)
    templates.template("digest_email", {"email": DIGEST, "sms": DIGEST}, type="digest_email")
    send, types = adapter(accepting), catalog.find(1, types=list(TYPES)).types
    count = 0

    def make() -> Model:
        nonlocal count
        count += 1
        move_clock(0)
        send.sent.clear()
        names = [f"{count}-{number}" for number in range(2)]
        return Model(
            send,
            [rows.people(external_id=name, email=f"{name}@example.com")[0] for name in names],
            types,
        )

    yield make
    move_clock(0)


@settings(
    max_examples=40,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # to shrink it would take minutes
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=steps)
def test_each_ends_once_and_for_a_reason(steps: list[Any], asking: Callable[[], Model]) -> None:
    model = asking()
    for step in steps:
        model.do(*step)
    model.end()
    rows.assert_books_balance()
    rows.assert_shapes_hold()
