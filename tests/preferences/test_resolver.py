"""May we, and when: by table. In every zone and for all rules: test_resolver_properties.py."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from apps.preferences.resolver import SEND, WAKING, Answer, Asked, Verdict, resolve
from apps.preferences.rules import NO_RULES, Chosen, Rules
from project.queues import CHANNELS
from tests.preferences.weeks import when, window

BERLIN = "Europe/Berlin"
NOON = "2026-05-05T12:00"  # a Tuesday; in Berlin it is 14:00
DAY = timedelta(days=1)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def mail(type: str = "news", **more: Any) -> Asked:
    return Asked("email", "ada@example.com", type, **more)


def advert(phone: str = "+4930123456") -> Asked:
    return Asked("sms", phone, "advert", "marketing")


def chose(**choices: str) -> Rules:
    """news_email="off", news_="on", _email="daily", _="weekly"."""
    keys = {name: tuple(name.split("_")) for name in choices}
    return Rules(choices={(key[0], key[1]): Chosen(choices[name]) for name, key in keys.items()})


def decided(asked: Asked, rules: Rules, now: str = NOON, zone: str = BERLIN, spread: float = 0.0) -> Verdict:
    return resolve(asked, rules, zone=zone, now=utc(now), spread=spread)


# --- What is wanted ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rules", "asked", "key"),
    [
        (chose(news_email="off"), mail(), ("news", "email")),
        (chose(news_="off"), mail(), ("news", "")),
        (chose(_email="off"), mail(), ("", "email")),
        (chose(_="off"), mail(), ("", "")),
        (chose(_="off", news_email="on"), mail(), ("", "")),  # off anywhere is off
        (chose(_="on", news_="on", news_email="off"), mail(), ("news", "email")),
        (chose(_email="off", news_="daily"), mail(), ("", "email")),
        (chose(_email="off", _="off"), mail(), ("", "email")),  # the most specific is named
        (chose(news_email="off"), mail("orders"), None),
        (chose(news_sms="off", _sms="off"), mail(), None),
        (chose(_email="off"), mail(""), ("", "email")),
        (chose(_="off"), mail(""), ("", "")),
        (chose(_="off"), Asked("in_app", "", "news"), ("", "")),
        (chose(news_webhook="off"), Asked("webhook", "webhook:1", "news"), ("news", "webhook")),
        (chose(_="off"), mail(category="digest"), ("", "")),
        (chose(_="off"), mail(collected=True), ("", "")),  # whoever opts out has no digest either
        (chose(_="off"), mail(critical=True), None),
        (chose(_="on"), mail(), None),
        (NO_RULES, mail(), None),
    ],
)
def test_off_anywhere_is_off(rules: Rules, asked: Asked, key: tuple[str, str] | None) -> None:
    verdict = decided(asked, rules)
    if key is None:
        assert verdict == SEND
        return
    detail = {"rule": "choice", "type": key[0], "channel": key[1], "level": "person", "until": None}
    assert verdict == Verdict(Answer.SKIP, None, "opted_out", detail)


def test_of_no_type_is_not_of_a_type_without_a_name() -> None:
    assert decided(mail(""), Rules(choices={("news", "email"): Chosen("off")})) == SEND


@pytest.mark.parametrize("channel", CHANNELS)
def test_a_choice_counts_until_its_time_and_not_at_it(channel: str) -> None:
    until = utc(NOON)
    rules = Rules(choices={("", ""): Chosen("off", until, "organization")})
    asked = Asked(channel, "", "news")
    before = resolve(asked, rules, zone="UTC", now=until - timedelta(microseconds=1))
    assert (before.answer, before.detail["until"]) == (Answer.SKIP, "2026-05-05T12:00:00+00:00")
    assert before.detail["level"] == "organization"
    assert resolve(asked, rules, zone="UTC", now=until) == SEND


# --- Digests -----------------------------------------------------------------------------------------------

DAILY, WEEKLY = "2026-05-06T06:00", "2026-05-11T06:00"  # at 8 in Berlin, on Monday


@pytest.mark.parametrize(
    ("rules", "asked", "until"),
    [
        (chose(_="daily"), mail(), DAILY),
        (chose(_email="weekly"), mail(), WEEKLY),
        (chose(_="daily", _email="weekly"), mail(), WEEKLY),
        (chose(_email="weekly", news_="daily"), mail(), DAILY),
        (chose(news_="daily", news_email="weekly"), mail(), WEEKLY),
        (chose(_="daily", news_="on"), mail(), None),  # at once, for it is more specific
        (chose(news_="daily", news_email="on"), mail(), None),
        (chose(news_email="daily", _="on"), mail(), DAILY),
        (chose(news_="daily"), mail("orders"), None),
        (chose(news_="daily"), mail(""), None),
        (chose(_email="daily"), mail(""), DAILY),
        (NO_RULES, mail(category="digest"), DAILY),
        (chose(news_="weekly"), mail(category="digest"), WEEKLY),
        (chose(_="weekly"), mail(category="digest"), WEEKLY),
        (chose(news_="on"), mail(category="digest"), None),
        (chose(orders_="on"), mail(category="digest"), DAILY),
        (chose(_="daily"), Asked("chat", "slack:1", "news"), DAILY),
        (chose(_="daily"), Asked("in_app", "", "news"), None),
        (chose(_="daily"), Asked("webhook", "webhook:1", "news", "digest"), None),
        (chose(_="daily"), mail(critical=True), None),
        (chose(_="daily"), mail(collected=True), None),  # this is the digest
        (NO_RULES, mail(category="digest", collected=True), None),
    ],
)
def test_what_waits_for_a_digest(rules: Rules, asked: Asked, until: str | None) -> None:
    verdict = decided(asked, rules)
    if until is None:
        assert verdict == SEND
    else:
        assert verdict[:3] == (Answer.HOLD, utc(until), "digest")


def test_a_digest_is_explained() -> None:
    rules = Rules(choices={("", "email"): Chosen("weekly", level="system")}, weekly_day=2, weekly_at=1050)
    verdict = decided(mail(), rules)
    assert verdict.until == utc("2026-05-06T15:30")
    assert verdict.detail == {"rule": "digest", "period": "weekly", "zone": BERLIN, "level": "system"}
    assert decided(mail(category="digest"), NO_RULES).detail["level"] == "type"


def test_a_digest_choice_that_is_over_leaves_it_to_the_next() -> None:
    over = Chosen("weekly", utc(NOON))
    assert decided(mail(), Rules(choices={("news", ""): over})) == SEND
    both = Rules(choices={("news", ""): over, ("", ""): Chosen("daily")})
    assert decided(mail(), both).until == utc(DAILY)


def test_a_digest_waits_for_the_hours_when_its_time_has_come() -> None:
    rules = Rules(choices={("", ""): Chosen("daily")}, quiet=(window("22:00–09:30"),))
    first = decided(mail(), rules)
    assert (first.until, first.reason) == (utc(DAILY), "digest")
    then = resolve(mail(collected=True), rules, zone=BERLIN, now=utc(DAILY))
    assert (then.until, then.reason) == (utc("2026-05-06T07:30"), "quiet_hours")


# --- When --------------------------------------------------------------------------------------------------

NIGHT, OFFICE = "22:00–07:00", "09:00–18:00 mon,tue,wed,thu,fri"
MONDAY, SUNDAY, TUESDAY = "22:00–07:00 mon", "22:00–07:00 sun", "09:00–09:00 tue"
HELD, CLOSED = "quiet_hours", "outside_hours"


@pytest.mark.parametrize(
    ("rules", "now", "until", "reason", "text"),
    [
        (when(quiet=[NIGHT]), "2026-05-05T19:59:59.999", None, "", ""),
        (when(quiet=[NIGHT]), "2026-05-05T20:00", "2026-05-06T05:00", HELD, NIGHT),
        (when(quiet=[NIGHT]), "2026-05-06T04:59:59.999", "2026-05-06T05:00", HELD, NIGHT),
        (when(quiet=[NIGHT]), "2026-05-06T05:00", None, "", ""),
        (when(quiet=[MONDAY]), "2026-05-05T04:00", "2026-05-05T05:00", HELD, MONDAY),
        (when(quiet=[MONDAY]), "2026-05-05T21:00", None, "", ""),  # begins on Mondays only
        (when(quiet=[SUNDAY]), "2026-05-11T04:00", "2026-05-11T05:00", HELD, SUNDAY),
        (when(quiet=[TUESDAY]), "2026-05-05T08:00", "2026-05-06T07:00", HELD, TUESDAY),
        (when(quiet=["00:00–24:00 tue"]), NOON, "2026-05-05T22:00", HELD, "00:00–24:00 tue"),
        (when(quiet=["12:00–15:00", "15:00–16:00"]), NOON, "2026-05-05T14:00", HELD, "12:00–15:00"),
        (when(quiet=["12:00–14:30", "13:00–16:00"]), NOON, "2026-05-05T14:00", HELD,
         "12:00–14:30; 13:00–16:00"),
        (when(hours=[OFFICE]), NOON, None, "", ""),
        (when(hours=[OFFICE]), "2026-05-08T16:00", "2026-05-11T07:00", CLOSED, OFFICE),
        (when(hours=["09:00–12:00", "13:00–18:00"]), "2026-05-05T10:30", "2026-05-05T11:00", CLOSED,
         "09:00–12:00; 13:00–18:00"),
        (when(hours=["22:00–02:00 fri"]), NOON, "2026-05-08T20:00", CLOSED, "22:00–02:00 fri"),
        (when(hours=["22:00–02:00 fri"]), "2026-05-08T23:00", None, "", ""),
        (when(hours=[OFFICE], quiet=[NIGHT]), "2026-05-05T21:00", "2026-05-06T07:00", HELD, NIGHT),
        (when(hours=[OFFICE], quiet=[NIGHT]), "2026-05-06T05:30", "2026-05-06T07:00", CLOSED, OFFICE),
        (when(hours=["08:00–10:00"], quiet=["07:00–09:00"]), "2026-05-05T05:30", "2026-05-05T07:00", HELD,
         "07:00–09:00"),
    ],
)  # fmt: skip
def test_when_it_may_come(rules: Rules, now: str, until: str | None, reason: str, text: str) -> None:
    verdict = decided(mail(), rules, now)
    if until is None:
        assert verdict == SEND
        return
    level = "person" if reason == "quiet_hours" else "organization"
    opens = utc(until).isoformat()
    detail = {"rule": reason, "window": text, "zone": BERLIN, "level": level, "opens": opens}
    assert verdict == Verdict(Answer.HOLD, utc(until), reason, detail)


@pytest.mark.parametrize(
    ("rules", "now", "until"),
    [
        # In Berlin 02:00 to 03:00 is left out on 29 March, and comes twice on 25 October.
        (when(quiet=["01:00–02:30"]), "2026-03-29T00:30", "2026-03-29T01:00"),  # at 3, which it is at once
        (when(quiet=["02:30–04:00"]), "2026-03-29T00:59", None),
        (when(quiet=["02:30–04:00"]), "2026-03-29T01:00", "2026-03-29T02:00"),
        (when(hours=["02:00–03:00"]), "2026-03-28T12:00", "2026-03-30T00:00"),
        (when(quiet=["02:00–02:30"]), "2026-10-25T00:10", "2026-10-25T00:30"),
        (when(quiet=["02:00–02:30"]), "2026-10-25T00:30", None),
        (when(quiet=["02:00–02:30"]), "2026-10-25T01:10", "2026-10-25T01:30"),  # it holds again
        (when(hours=["02:00–02:30"]), "2026-10-25T00:40", "2026-10-25T01:00"),
        (when(quiet=["22:00–07:00"]), "2026-10-24T21:00", "2026-10-25T06:00"),  # an hour longer
        (when(quiet=["22:00–07:00"]), "2026-03-28T22:00", "2026-03-29T05:00"),  # an hour shorter
    ],
)
def test_by_what_the_clock_shows_while_it_is_moved(rules: Rules, now: str, until: str | None) -> None:
    verdict = decided(mail(), rules, now)
    assert verdict == SEND if until is None else verdict.until == utc(until)


def test_what_does_not_open_within_eight_days_is_decided_anew_after_one() -> None:
    rules = when(hours=["02:15–02:45 sun"])  # on the next Sunday that is left out
    verdict = decided(mail(), rules, "2026-03-23T12:00")
    assert (verdict.until, verdict.detail["opens"]) == (utc("2026-03-24T12:00"), None)
    assert decided(mail(), rules, "2026-03-29T12:00").until == utc("2026-04-05T00:15")


def test_a_day_that_was_left_out_has_no_hours() -> None:
    found = decided(mail(), when(hours=["09:00–10:00 thu,fri,sat"]), "2011-12-30T00:00", "Pacific/Apia")
    assert found.until == utc("2011-12-30T19:00")  # from Thursday noon until Saturday at 9


@pytest.mark.parametrize("channel", CHANNELS)
def test_only_what_wakes_people_waits(channel: str) -> None:
    verdict = decided(Asked(channel, "", "news"), when(hours=[OFFICE], quiet=[NIGHT]), "2026-05-05T21:00")
    assert verdict.answer == (Answer.HOLD if channel in WAKING else Answer.SEND)
    assert set(CHANNELS) - {"in_app", "webhook"} == WAKING


def test_what_is_critical_waits_for_nothing() -> None:
    rules = Rules(choices={("", ""): Chosen("daily")}, quiet=(window("00:00–24:00"),))
    assert decided(mail(critical=True), rules) == SEND


# --- Advertising by SMS ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "zone", "rules", "now", "until", "where"),
    [
        (advert(), BERLIN, NO_RULES, "2026-05-05T05:59", "2026-05-05T06:00", BERLIN),
        (advert(), BERLIN, NO_RULES, "2026-05-05T06:00", None, ""),
        (advert(), BERLIN, NO_RULES, "2026-05-05T18:59:59", None, ""),
        (advert(), BERLIN, NO_RULES, "2026-05-05T19:00", "2026-05-06T06:00", BERLIN),
        # The person's own zone counts, not the number's.
        (advert("+12025550123"), BERLIN, NO_RULES, "2026-05-05T07:00", None, ""),
        # Of somebody whose zone is not known the number's.
        (advert("+12025550123"), "UTC", NO_RULES, "2026-05-05T09:00", "2026-05-05T12:00", "America/New_York"),
        (advert("+12025550123"), "UTC", NO_RULES, "2026-05-05T23:00", None, ""),
        # Of many zones it must be open in all: a Russian mobile's are from Bucharest to Kamchatka.
        (advert("+79161234567"), "UTC", NO_RULES, "2026-05-05T04:30", "2026-05-05T05:00", "Europe/Bucharest"),
        (advert("+79161234567"), "UTC", NO_RULES, "2026-05-05T05:00", None, ""),
        (advert("+79161234567"), "UTC", NO_RULES, "2026-05-05T09:00", "2026-05-06T05:00", "Asia/Anadyr"),
        # Too new for our copy of the plans: anywhere in its country.
        (advert("+15555550123"), "UTC", NO_RULES, "2026-05-05T09:00", "2026-05-05T22:00", None),
        # Of no country.
        (advert("+881612345678"), "UTC", NO_RULES, "2026-05-05T07:59", "2026-05-05T08:00", "UTC"),
        (advert("nonsense"), "UTC", NO_RULES, "2026-05-05T07:59", "2026-05-05T08:00", "UTC"),
        # Preferences narrow it and cannot widen it.
        (advert(), BERLIN, when(hours=["00:00–24:00"]), "2026-05-05T02:00", "2026-05-05T06:00", BERLIN),
        (advert(), BERLIN, when(quiet=["06:00–10:00"]), "2026-05-05T05:00", "2026-05-05T08:00", BERLIN),
    ],
)
def test_legal_hours(
    *, asked: Asked, zone: str, rules: Rules, now: str, until: str | None, where: str | None
) -> None:
    verdict = decided(asked, rules, now, zone)
    if until is None:
        assert verdict == SEND
        return
    assert verdict[:3] == (Answer.HOLD, utc(until), "legal_hours")
    assert verdict.detail["window"] == "08:00–21:00"
    assert verdict.detail["level"] == "law"
    assert where is None or verdict.detail["zone"] == where


@pytest.mark.parametrize(
    "asked",
    [
        mail(category="marketing"),
        Asked("push", "fcm:1", "advert", "marketing"),
        Asked("sms", "+4930123456", "orders"),
        Asked("sms", "+4930123456", "advert", "marketing", critical=True),
    ],
)
def test_legal_hours_are_of_advertising_by_sms_only(asked: Asked) -> None:
    assert decided(asked, NO_RULES, "2026-05-05T01:00") == SEND


def test_a_person_who_takes_messages_only_when_the_law_does_not_is_asked_about_every_day() -> None:
    verdict = decided(advert(), when(hours=["22:00–23:00"]))
    assert (verdict.until, verdict.reason) == (utc(NOON) + DAY, "outside_hours")
    assert verdict.detail["opens"] is None


# --- Spreading ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rules", "asked", "spread", "until"),
    [
        (when(quiet=["12:00–15:00"]), mail(), 0.0, "2026-05-05T13:00"),
        (when(quiet=["12:00–15:00"]), mail(), 90.5, "2026-05-05T13:01:30.500"),
        (when(hours=["15:00–15:10"]), mail(), 600.0, "2026-05-05T13:05"),  # half of the time it is open
        (when(hours=["15:00–15:10"]), mail(), 299.0, "2026-05-05T13:04:59"),
        (when(hours=["15:00–20:00"], quiet=["15:20–16:00"]), mail(), 3600.0, "2026-05-05T13:10"),
        (when(hours=["16:00–17:00"]), advert(), 60.0, "2026-05-05T14:01"),
        (chose(_="daily"), mail(), 600.0, "2026-05-06T06:10"),
        (when(quiet=["15:00–16:00"]), mail(), 600.0, None),  # open now: at once
        (NO_RULES, mail(), 600.0, None),
    ],
)
def test_what_waits_is_spread(rules: Rules, asked: Asked, spread: float, until: str | None) -> None:
    assert decided(asked, rules, spread=spread).until == (until and utc(until))


def test_it_is_explained_by_when_it_opens_and_not_by_when_it_is_this_persons_turn() -> None:
    verdict = decided(mail(), when(quiet=["12:00–15:00"]), spread=600)
    assert verdict.detail["opens"] == "2026-05-05T13:00:00+00:00"
