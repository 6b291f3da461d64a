"""A target's story in sentences: every shape of a decision, every status, in the order of time."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.conf import settings
from hypothesis import given
from hypothesis import strategies as st

from apps.notifications.because import _RULES, Made, because
from apps.notifications.explaining import Story, explain
from apps.notifications.inbox_models import InboxItem
from apps.notifications.models import DeliveryAttempt, Notification, NotificationTarget, TargetDecision
from apps.notifications.statuses import AttemptOutcome, Reason, Status
from tests.support import rows

ADA = 7
INTO = "0199a5c0-0000-7000-8000-000000000100"
AT = datetime(2026, 11, 20, 22, tzinfo=UTC)
LATER = AT + timedelta(hours=9)  # 07:00 UTC
MINUTE = timedelta(minutes=1)


# --- What a decision was made by, in words ---------------------------------------------------------------

BECAUSE: list[tuple[dict[str, Any], str]] = [
    (
        {"rule": "choice", "type": "news", "channel": "email", "level": "person", "until": None},
        "the person turned off news by email",
    ),
    ({"rule": "choice", "type": "", "channel": "", "level": "person"}, "the person turned off everything"),
    (
        {
            "rule": "choice",
            "type": "news",
            "channel": "",
            "level": "person",
            "until": "2026-12-01T00:00:00+00:00",
        },
        "the person turned off news until 2026-12-01 00:00 UTC",
    ),
    (
        {"rule": "choice", "type": "news", "channel": "sms", "level": "organization", "until": None},
        "the organization's defaults turn off news by sms",
    ),
    ({"rule": "digest", "period": "daily", "level": "person"}, "the person takes this in a daily digest"),
    ({"rule": "digest", "period": "weekly", "level": "type"}, "this type is collected into a weekly digest"),
    (
        {"rule": "digest", "period": "daily", "level": "system"},
        "the system's defaults collect this into a daily digest",
    ),
    ({"rule": "quiet", "window": "22:00–08:00", "level": "person"}, "the person's quiet hours 22:00–08:00"),
    (
        {"rule": "quiet_hours", "window": "22:00–07:00 mon,tue", "level": "organization"},
        "the organization's quiet hours 22:00–07:00 mon,tue",
    ),
    (
        {"rule": "hours", "window": "09:00–17:00", "level": "person"},
        "messages may come only within the person's hours 09:00–17:00",
    ),
    (
        {"rule": "outside_hours", "window": "09:00–17:00", "level": "system"},
        "messages may come only within the system's hours 09:00–17:00",
    ),
    (
        {"rule": "legal", "window": "08:00–20:00 mon,tue", "level": "law"},
        "the law allows advertising by SMS only within 08:00–20:00 mon,tue",
    ),
    (
        {"rule": "legal_hours", "window": "08:00–20:00"},
        "the law allows advertising by SMS only within 08:00–20:00",
    ),
    (
        {"rule": "dedupe", "key": "order-17", "window": 86_400},
        "the person was told of the same event (order-17) within 1 day",
    ),
    (
        {"rule": "dedupe", "key": "k", "window": 5_400},
        "the person was told of the same event (k) within 90 minutes",
    ),
    (
        {"rule": "dedupe", "key": "k", "window": 61},
        "the person was told of the same event (k) within 61 seconds",
    ),
    (
        {
            "rule": "cap",
            "cap": "per_hour",
            "limit": 5,
            "again_at": "2026-11-20T22:40:00+00:00",
            "overflow": "skip",
            "channel": "email",
        },
        "at most 5 messages an hour by email; the next one fits 2026-11-20 22:40 UTC",
    ),
    (
        {"rule": "cap", "cap": "type_per_hour", "limit": 5, "overflow": "digest", "channel": "email"},
        "at most 5 messages of this type an hour by email; it goes into the next digest",
    ),
    (
        {"rule": "cap", "cap": "type_per_day", "limit": 5, "overflow": "fallback", "channel": "sms"},
        "at most 5 messages of this type a day by email; it goes by sms instead",
    ),
    (
        {"rule": "cap", "cap": "per_hour", "limit": 5, "overflow": "fallback", "channel": "email"},
        "at most 5 messages an hour by email; it goes by another channel instead",
    ),
    ({"rule": "merge", "into": INTO, "why": "digest"}, f"it goes out together with others (target {INTO})"),
    (
        {"rule": "merge", "into": INTO, "why": "collapse_key"},
        f"a newer message with the same collapse_key took its place (target {INTO})",
    ),
    ({"rule": "replanned", "why": "preferences"}, "decided anew, for the person's preferences changed"),
    ({"rule": "replanned", "why": "opened"}, "decided anew, with everything that waited for the person"),
    ({"rule": "fallback", "channel": "sms"}, "in the place of sms"),
    ({"rule": "fallback", "channel": "email"}, "in the place of another channel"),
    (
        {"rule": "local_time", "local_time": "09:00", "zone": "Europe/Berlin"},
        "asked for 09:00 where the person is (Europe/Berlin)",
    ),
    ({}, "the address is suppressed: it is dead, or its owner wants nothing more"),
    ({"rule": "moon", "phase": 3}, "the address is suppressed: it is dead, or its owner wants nothing more"),
]


@pytest.mark.parametrize(("detail", "sentence"), BECAUSE)
def test_every_shape_has_its_words(detail: dict[str, Any], sentence: str) -> None:
    assert because(detail, "suppressed", channel="email") == sentence


RULES = sorted({str(detail["rule"]) for detail, _ in BECAUSE if detail})
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
)
FIELDS = [*sorted({name for detail, _ in BECAUSE for name in detail} - {"rule"}), "other"]


@given(
    rule=st.sampled_from([*RULES, "moon"]) | JSON,
    fields=st.dictionaries(st.sampled_from(FIELDS), JSON),
    reason=st.sampled_from(Reason.values) | st.text(min_size=1),
)
def test_whatever_a_detail_is_there_is_a_sentence(rule: Any, fields: dict[str, Any], reason: str) -> None:
    assert because({**fields, "rule": rule}, reason, channel="email")
    row = TargetDecision(at=AT, status="held", reason=reason, until=LATER, detail={**fields, "rule": rule})
    assert explain(story(decisions=[row]))[1].startswith(("Held until ", "Merged until "))


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("mail_client", "by a mail client"),
        ("link", "by a link in a message"),
        ("person", "in the preferences"),
        ("elsewhere", "elsewhere"),
    ],
)
def test_a_choice_says_when_and_by_whom(source: str, words: str) -> None:
    detail = {"rule": "choice", "type": "news", "channel": "email", "level": "person"}
    text = because(detail, "opted_out", channel="email", made=Made(AT, source))
    assert text == f"the person turned off news by email on 2026-11-20 22:00 UTC ({words})"


# --- The story, pure -------------------------------------------------------------------------------------


def target(status: Status = Status.SENT, **fields: Any) -> NotificationTarget:
    values = {"user_id": ADA, "channel": "email", "status": status.value, "reason": ""}
    return NotificationTarget(**(values | fields))


def decided(
    status: str, at: datetime = AT, until: datetime | None = None, reason: str = "", **detail: Any
) -> TargetDecision:
    return TargetDecision(at=at, status=status, reason=reason, until=until, detail=detail)


def tried(outcome: AttemptOutcome, at: datetime, code: str = "", finished: bool = True) -> DeliveryAttempt:
    return DeliveryAttempt(
        provider="sendgrid",
        started_at=at,
        finished_at=at + MINUTE if finished else None,
        outcome=outcome.value,
        code=code,
    )


def story(of: NotificationTarget | None = None, **known: Any) -> Story:
    values = {"decisions": [], "attempts": [], "choices": {}, "item": None}
    notification = Notification(created_at=AT, critical=known.pop("critical", False))
    return Story(notification=notification, target=of or target(), **(values | known))


ACCEPTED, MORNING = "Accepted 2026-11-20 22:00 UTC.", "2026-11-21 07:00 UTC"
QUIET = {"rule": "quiet", "window": "22:00–08:00", "zone": "Europe/Berlin", "level": "person"}
OFF = {"rule": "choice", "type": "status_update", "channel": "email", "level": "person", "until": None}
OFF_KEY = (ADA, "status_update", "email")
CHANGED = "decided anew, for the person's preferences changed"
STATUS_OFF = "the person turned off status_update by email"
TURNED_OFF = Made(AT - timedelta(days=1), "link")

STORIES: dict[str, tuple[Story, list[str]]] = {
    "held for the night, then sent": (
        story(
            target(Status.DELIVERED, delivered_at=LATER + 2 * MINUTE, opened_at=LATER + 9 * MINUTE),
            decisions=[decided("held", until=LATER, **QUIET), decided("queued", LATER)],
            attempts=[tried(AttemptOutcome.ACCEPTED, LATER)],
        ),
        [
            ACCEPTED,
            "Held until 2026-11-21 07:00 UTC (08:00 in Europe/Berlin): the person's quiet hours 22:00–08:00.",
            "Queued at 2026-11-21 07:00 UTC.",
            "Sent by sendgrid at 2026-11-21 07:01 UTC.",
            "Delivered at 2026-11-21 07:02 UTC.",
            "Opened at 2026-11-21 07:09 UTC.",
        ],
    ),
    "turned off": (
        story(
            target(Status.SKIPPED, settled_at=AT, reason="opted_out"),
            decisions=[decided("skipped", reason="opted_out", **OFF)],
            choices={OFF_KEY: TURNED_OFF},
        ),
        [
            ACCEPTED,
            f"Skipped: {STATUS_OFF} on 2026-11-19 22:00 UTC (by a link in a message).",
        ],
    ),
    "turned off, by a choice that has been made anew since": (
        story(
            target(Status.SKIPPED, settled_at=AT, reason="opted_out"),
            decisions=[decided("skipped", reason="opted_out", **OFF)],
            choices={OFF_KEY: Made(AT + MINUTE, "person")},
        ),
        [ACCEPTED, f"Skipped: {STATUS_OFF}."],
    ),
    "another person's choice": (
        story(
            target(Status.SKIPPED, settled_at=AT, user_id=8),
            decisions=[decided("skipped", **OFF)],
            choices={OFF_KEY: TURNED_OFF},
        ),
        [ACCEPTED, f"Skipped: {STATUS_OFF}."],
    ),
    "critical": (
        story(target(Status.SENDING), critical=True),
        [ACCEPTED, "It is critical: it goes out whatever the person has chosen.", "It is being sent."],
    ),
    "merged into a digest, after the preferences changed": (
        story(
            target(Status.SKIPPED, settled_at=LATER, reason="merged"),
            decisions=[
                decided("held", AT + MINUTE, LATER, "digest", rule="replanned", why="preferences"),
                decided("skipped", LATER, reason="merged", rule="merge", into=INTO, why="digest"),
            ],
        ),
        [
            ACCEPTED,
            f"Held at 2026-11-20 22:01 UTC until {MORNING}: {CHANGED}.",
            f"Merged at 2026-11-21 07:00 UTC: it goes out together with others (target {INTO}).",
        ],
    ),
    "held, as older versions decided it": (
        story(target(Status.HELD, held_until=LATER, reason="scheduled")),
        [ACCEPTED, "Held until 2026-11-21 07:00 UTC: waits for the time asked for."],
    ),
    "held, and told by its decision": (
        story(
            target(Status.HELD, held_until=LATER), decisions=[decided("held", until=LATER, reason="digest")]
        ),
        [ACCEPTED, "Held until 2026-11-21 07:00 UTC: waits for the person's next digest."],
    ),
    "skipped, without a decision": (
        story(target(Status.SKIPPED, settled_at=AT, reason="no_address")),
        [ACCEPTED, "Skipped: the person has no address for this channel."],
    ),
    "dropped by the claim, after it was held": (
        story(
            target(Status.SKIPPED, settled_at=LATER, reason="suppressed"),
            decisions=[decided("held", until=LATER, reason="scheduled")],
        ),
        [
            ACCEPTED,
            "Held until 2026-11-21 07:00 UTC: waits for the time asked for.",
            f"Skipped at {MORNING}: {Reason.SUPPRESSED.label}.",
        ],
    ),
    "every kind of attempt, and given up": (
        story(
            target(Status.DEAD, settled_at=LATER, reason="unknown_outcome"),
            attempts=[
                tried(AttemptOutcome.TEMPORARY, AT + MINUTE, "503"),
                tried(AttemptOutcome.PERMANENT, AT + 2 * MINUTE),
                tried(AttemptOutcome.UNKNOWN, AT + 5 * MINUTE, "worker_lost", finished=False),
            ],
        ),
        [
            ACCEPTED,
            "Tried by sendgrid at 2026-11-20 22:02 UTC: a temporary failure (503).",
            "Refused by sendgrid at 2026-11-20 22:03 UTC.",
            "Given to sendgrid at 2026-11-20 22:05 UTC, and nobody knows whether it was sent (worker_lost).",
            "Given up at 2026-11-21 07:00 UTC: it may have been sent; repeating it is a person's decision.",
            "A person may send it again.",
        ],
    ),
    "bounced": (
        story(
            target(Status.FAILED, settled_at=LATER, bounced_at=AT + MINUTE, reason="550"),
            attempts=[tried(AttemptOutcome.ACCEPTED, AT - MINUTE)],
        ),
        [
            ACCEPTED,
            "Sent by sendgrid at 2026-11-20 22:00 UTC.",
            "The provider reported at 2026-11-20 22:01 UTC that it did not arrive.",
            "Failed at 2026-11-21 07:00 UTC: 550.",
        ],
    ),
    "in the inbox": (
        story(
            target(Status.DELIVERED, channel="in_app", sent_at=AT, delivered_at=AT),
            decisions=[decided("queued", rule="fallback", channel="email")],
            item=InboxItem(
                seen_at=AT + MINUTE, read_at=LATER, action="yes", acted_at=LATER, archived_at=LATER + MINUTE
            ),
        ),
        [
            ACCEPTED,
            "Queued: in the place of email.",
            "Put into the inbox at 2026-11-20 22:00 UTC.",
            "Seen in the inbox at 2026-11-20 22:01 UTC.",
            "Read in the inbox at 2026-11-21 07:00 UTC.",
            "Its button yes was pressed at 2026-11-21 07:00 UTC.",
            "Archived in the inbox at 2026-11-21 07:01 UTC.",
        ],
    ),
    "sent, as a receipt told": (
        story(target(sent_at=LATER)),
        [ACCEPTED, "Sent at 2026-11-21 07:00 UTC."],
    ),
    "cancelled": (
        story(target(Status.CANCELLED, settled_at=LATER, cancel_asked_at=LATER - MINUTE, reason="cancelled")),
        [
            ACCEPTED,
            "Cancelling was asked for at 2026-11-21 06:59 UTC, while it may have been on its way.",
            "Cancelled at 2026-11-21 07:00 UTC.",
        ],
    ),
    "queued": (story(target(Status.QUEUED)), [ACCEPTED, "It waits for a worker."]),
    "queued in a lane that waits": (
        story(target(Status.QUEUED, reason="rate_limited")),
        [ACCEPTED, "It waits: the providers' limits are used up for the moment."],
    ),
    "retrying": (
        story(target(Status.RETRYING, next_attempt_at=LATER, reason="503")),
        [ACCEPTED, "The next attempt is due 2026-11-21 07:00 UTC."],
    ),
    "unknown": (story(target(Status.UNKNOWN)), [ACCEPTED, "A receipt may still tell."]),
    "a detail nobody knows": (
        story(target(), decisions=[decided("held", LATER, LATER, "", rule="moon", zone="No/Where")]),
        [ACCEPTED, "Held at 2026-11-21 07:00 UTC until 2026-11-21 07:00 UTC."],
    ),
}


@pytest.mark.parametrize("name", STORIES)
def test_stories(name: str) -> None:
    told, sentences = STORIES[name]
    assert explain(told) == sentences


@pytest.mark.parametrize(
    ("until", "zone", "text"),
    [
        (LATER, "UTC", "2026-11-21 07:00 UTC:"),
        (LATER, "America/New_York", "2026-11-21 07:00 UTC (02:00 in America/New_York):"),
        (AT, "Asia/Tokyo", "2026-11-20 22:00 UTC (2026-11-21 07:00 in Asia/Tokyo):"),
        (datetime(9999, 12, 31, 23, tzinfo=UTC), "Asia/Tokyo", "9999-12-31 23:00 UTC:"),
        (LATER, "Europe", "2026-11-21 07:00 UTC:"),  # a folder
        (LATER, "../etc/passwd", "2026-11-21 07:00 UTC:"),
        (LATER, 17, "2026-11-21 07:00 UTC:"),
    ],
)
def test_times_where_the_person_is(until: datetime, zone: object, text: str) -> None:
    row = decided("held", until=until, rule="digest", period="daily", zone=zone, level="person")
    sentence = explain(story(decisions=[row]))[1]
    assert sentence == f"Held until {text} the person takes this in a daily digest."


@pytest.mark.parametrize("status", Status)
def test_there_is_a_story_of_every_status(status: Status) -> None:
    sentences = explain(story(target(status, **rows.shape(status, AT), user_id=ADA)))
    assert ACCEPTED in sentences and len(sentences) > 1
    assert all(one[0].isupper() and one.endswith(".") for one in sentences)


def test_every_rule_is_documented() -> None:
    text = (settings.BASE_DIR / "docs" / "explain.md").read_text()
    table = text[text.index("| rule |") : text.index("`level` is whose")]
    first = [line.split("|")[1] for line in table.splitlines() if line]
    assert set(re.findall(r"`(\w+)`", " ".join(first))) == set(_RULES)
