"""The token of a link to unsubscribe: what it says, and to whom it says nothing."""

from __future__ import annotations

import itertools
import re
from typing import Any
from uuid import UUID

import pytest
from django.core.signing import Signer
from hypothesis import given
from hypothesis import strategies as st

from apps.notifications import tracking
from apps.preferences import unsubscribing
from apps.preferences.unsubscribing import Said
from project import ids

TARGET = ids.target_id()
PUBLIC = "https://carillon.example.com"


def token(user_id: int = 7, type: str = "weekly-news", target: UUID = TARGET) -> str:
    return unsubscribing.url(target, user_id, type=type, public_url=PUBLIC).removeprefix(f"{PUBLIC}/u/")


@given(
    target=st.uuids(),
    user_id=st.integers(0, 2**63 - 1),
    type=st.from_regex(r"[-a-zA-Z0-9_]{0,100}", fullmatch=True),
)
def test_it_says_what_it_was_made_of_and_fits_a_header(target: UUID, user_id: int, type: str) -> None:
    made = token(user_id, type, target)
    assert unsubscribing.read(made) == Said(target, user_id, type)
    assert re.fullmatch(r"[A-Za-z0-9_.-]{60,220}", made)  # SES takes 870 characters of a header


def test_it_is_short() -> None:
    assert len(token(1_234_567)) < 90


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_cut_one_says_nothing(cut: int) -> None:
    assert unsubscribing.read(token()[:-cut]) is None
    assert unsubscribing.read(token()[cut:]) is None


@pytest.mark.parametrize("at", range(0, 90, 8))
def test_an_altered_one_says_nothing(at: int) -> None:
    whole = token()
    at = min(at, len(whole) - 2)
    altered = whole[:at] + ("A" if whole[at] != "A" else "B") + whole[at + 1 :]
    assert unsubscribing.read(altered) is None


@pytest.mark.parametrize(
    "other",
    [
        "",
        "x",
        "x.y",
        "\0.ü",
        tracking._token("open", TARGET),
        tracking._token("click", TARGET, "https://a.example/"),
        Signer(salt="carillon.unsubscribe", sep=".").sign("AAAA"),  # ours, but too short to say anything
        Signer(salt="carillon.unsubscribe", sep=".").sign("\0"),
        Signer(sep=".").sign(token().rpartition(".")[0]),
        token() + "/",
    ],
    ids=itertools.count(),  # they are other texts each time
)
def test_what_is_none_says_nothing(other: str) -> None:
    assert unsubscribing.read(other) is None


def test_it_opens_and_clicks_nothing() -> None:
    assert tracking.opened(token()) is None and tracking.clicked(token()) is None


def test_an_earlier_key_still_counts_and_a_forgotten_one_does_not(settings: Any) -> None:
    old, settings.SECRET_KEY = token(), "another"
    assert unsubscribing.read(old) is None
    settings.SECRET_KEY_FALLBACKS = ["of-nobody", "insecure-for-development-only-never-in-production"]
    assert unsubscribing.read(old) == Said(TARGET, 7, "weekly-news")
    assert unsubscribing.read(token()) == Said(TARGET, 7, "weekly-news") and token() != old
