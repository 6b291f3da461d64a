"""Excuses: a channel whose other provider is there has none."""

from __future__ import annotations

from tests.chaos.evidence import Window
from tests.chaos.excuses import Hit, windows
from tests.chaos.fault import of_group, of_link, of_provider
from tests.chaos.plan import ALL


def spans(*hits: Hit, **opened: list[float]) -> list[tuple[str, float, float]]:
    return [(one.channel, one.begin, one.end) for one in windows(hits, opened)]


def test_a_fault_excuses_its_channels_until_it_works_again() -> None:
    hit = Hit(10, 15, "black-hole fcm", ("push", "webhook"))
    assert windows([hit], {}) == [
        Window("push", 10, 15, "black-hole fcm"),
        Window("webhook", 10, 15, "black-hole fcm"),
    ]


def test_one_of_two_that_is_away_excuses_nothing() -> None:
    assert spans(Hit(10, 15, "", away=("ses",)), Hit(12, 16, "", away=("twilio",))) == []
    assert spans(Hit(10, 15, "", away=("ses",)), Hit(12, 16, "", away=("ses",))) == []
    assert spans(Hit(10, 15, "", away=("ses",)), Hit(17, 20, "", away=("sendgrid",))) == []


def test_both_of_them_excuse_their_channel_while_both_are_away() -> None:
    hits = Hit(10, 15, "", away=("ses",)), Hit(12, 20, "", away=("sendgrid",))
    assert spans(*hits) == [("email", 12, 16)]


def test_one_whose_breaker_is_still_open_is_away() -> None:
    hits = Hit(10, 15, "", away=("ses",)), Hit(17, 20, "", away=("sendgrid",))
    assert spans(*hits, ses=[14.0, 15.5, 16.0, 16.8, 17.6]) == [("email", 17, 18.6)]
    assert spans(*hits, ses=[14.0, 17.6]) == []  # it was closed, and opened for another reason


def test_what_a_provider_says_itself_is_for_its_twin_to_make_good() -> None:
    plainly = of_provider("ses", plainly=True)
    assert (plainly.excuses, plainly.away) == ((), ("ses",))
    assert of_provider("ses").excuses == ("email",)
    assert of_provider("fcm", plainly=True).excuses == ("push", "webhook", "chat")  # of one worker
    assert "sms" in of_provider(ALL, plainly=True).excuses


def test_a_worker_of_several_groups_is_hit_with_all_their_lanes() -> None:
    effect = of_group("critical_push+critical_webhook+critical_chat")
    assert effect.excuses == ("push", "webhook", "chat")
    assert effect.air == ("push.critical", "webhook.critical", "chat.critical")
    assert of_group("push+webhook+chat").excuses == ()
    assert {lane.partition(".")[0] for lane in of_group("push+webhook+chat").air} == {
        "push",
        "webhook",
        "chat",
    }
    assert of_link("teams").excuses == ("push", "webhook", "chat")
