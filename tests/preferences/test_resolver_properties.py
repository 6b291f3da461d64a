"""May we, and when: what holds for all rules in every zone, around the times at which clocks are moved."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from apps.content.models import Category
from apps.notifications.statuses import Reason
from apps.preferences.models import How
from apps.preferences.resolver import SEND, WAKING, Answer, Asked, resolve
from apps.preferences.rules import Chosen, Rules
from project.queues import CHANNELS
from tests.preferences.clocks import moments, zones
from tests.preferences.weeks import several

DAY = timedelta(days=1)
DETAILS = {
    "opted_out": {"rule", "type", "channel", "level", "until"},
    "digest": {"rule", "period", "zone", "level"},
    "legal_hours": {"rule", "window", "zone", "level", "opens"},
    "quiet_hours": {"rule", "window", "zone", "level", "opens"},
    "outside_hours": {"rule", "window", "zone", "level", "opens"},
}

keys = st.tuples(st.sampled_from(["", "news", "orders"]), st.sampled_from(["", "email", "sms", "in_app"]))
phones = st.sampled_from(["+4930123456", "+12025550123", "+61412345678", "+881612345678", ""])
asked_for = st.builds(
    Asked,
    channel=st.sampled_from(CHANNELS),
    address=phones,
    type=st.sampled_from(["", "news", "orders"]),
    category=st.sampled_from(Category.values),
    critical=st.sampled_from([False, False, False, True]),
    collected=st.booleans(),
)
spreads = st.one_of(st.just(0.0), st.floats(0, 7200))


@st.composite
def chosen(draw: st.DrawFn, now: datetime) -> dict[tuple[str, str], Chosen]:
    until = st.one_of(st.none(), st.integers(-2, 20).map(lambda days: now + days * DAY / 4))
    ways = st.builds(Chosen, st.sampled_from(How.values), until, st.sampled_from(["person", "system"]))
    return draw(st.dictionaries(keys, ways, max_size=3))


@st.composite
def wanted(draw: st.DrawFn, now: datetime) -> Rules:
    return Rules(
        choices=draw(chosen(now)),
        hours=draw(several),
        quiet=draw(several),
        daily_at=draw(st.integers(0, 1439)),
        weekly_day=draw(st.integers(0, 6)),
        weekly_at=draw(st.integers(0, 1439)),
    )


def active(choices: Mapping[tuple[str, str], Chosen], asked: Asked, now: datetime) -> list[Chosen]:
    types, channels = {asked.type, ""}, {asked.channel, ""}
    found = [one for key, one in choices.items() if key[0] in types and key[1] in channels]
    return [one for one in found if one.until is None or one.until > now]


@settings(max_examples=400)
@given(st.data())
def test_there_is_always_an_answer_and_it_can_be_explained(data: st.DataObject) -> None:
    zone = data.draw(zones)
    now, asked, spread = data.draw(moments(zone)), data.draw(asked_for), data.draw(spreads)
    rules = data.draw(wanted(now))
    verdict = resolve(asked, rules, zone=zone, now=now, spread=spread)
    off = any(one.how == "off" for one in active(rules.choices, asked, now))
    assert (verdict == SEND) or not asked.critical
    assert (verdict.answer == Answer.SKIP) is (off and not asked.critical)
    assert (verdict.until is not None) is (verdict.answer == Answer.HOLD)
    if verdict.until:
        assert verdict.until > now
        assert asked.channel in WAKING
    if verdict != SEND:
        assert verdict.reason in Reason.values
        assert set(json.loads(json.dumps(dict(verdict.detail)))) == DETAILS[verdict.reason]


@settings(max_examples=250)
@given(st.data())
def test_asked_again_at_its_time_it_goes_out_or_waits_for_something_later(data: st.DataObject) -> None:
    zone = data.draw(zones)
    now, asked, spread = data.draw(moments(zone)), data.draw(asked_for), data.draw(spreads)
    asked = asked._replace(channel=data.draw(st.sampled_from(sorted(WAKING))), critical=False)
    rules = data.draw(wanted(now))
    first = resolve(asked, rules, zone=zone, now=now, spread=spread)
    assume(first.until is not None)
    assert first.until
    then = asked._replace(collected=asked.collected or first.reason == "digest")
    again = resolve(then, rules, zone=zone, now=first.until, spread=spread)
    assert again == SEND or (again.until is not None and again.until > first.until)
    if first.detail.get("opens"):
        assert again.reason in ("", "digest")  # of one that a choice "on" kept from it until then
