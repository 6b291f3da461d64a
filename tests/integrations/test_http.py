from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from apps.integrations.contract import UnknownOutcome
from apps.integrations.http import by_status, not_understood, redacted, retry_after


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("0", 0.0), ("120", 120.0), (" 5 ", 5.0), ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0)]
    + [(value, None) for value in ("", "soon", "-1", "1.5", "Wed, 99 Foo")],
)
def test_retry_after(value: str, seconds: float | None) -> None:
    assert retry_after({"Retry-After": value}) == seconds


def test_retry_after_a_date() -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    seconds = retry_after({"Retry-After": date})
    assert seconds is not None and 95 < seconds <= 100


@pytest.mark.parametrize(
    ("answer", "kept"),
    [
        (b"", ""),
        (b"<html>\n  It works!</html>", "<html> It works!</html>"),
        (b'{"to": "anna@example.com", "ok": 1}', '{"to": "[address]", "ok": 1}'),
        ("sent to +49 30 123456 today", "sent to [number] today"),
        (b"see https://example.com/u/42?k=1 for more", "see [url] for more"),
        (b"token eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0 is bad", "token [token] is bad"),
        (b"\xff code 550", "\ufffd code 550"),
        (b"ab " * 1_000, ("ab " * 1_000)[:500]),
    ],
)
def test_of_an_answer_its_words_are_kept_and_no_address_or_secret(answer: bytes | str, kept: str) -> None:
    assert redacted(answer) == kept


def test_what_is_not_understood_keeps_what_was_said() -> None:
    assert not_understood(b"It works!").answer == "It works!"
    for status, code in ((200, "bad_answer"), (502, "gateway")):
        outcome = by_status(status, {}, b"It works!")
        assert outcome == UnknownOutcome(code) and isinstance(outcome, UnknownOutcome)
        assert outcome.answer == "It works!"
