"""Segments of an SMS: the tables, the boundaries, and a slow splitter that cannot be wrong."""

from __future__ import annotations

import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.content.segments import BASIC, EXTENSION, Segments, measure

GSM, UCS = "GSM-7", "UCS-2"


def units_of(text: str) -> tuple[str, list[int]]:
    """The encoding, and how many units each character has in it."""
    if all(character in BASIC or character in EXTENSION for character in text):
        return GSM, [2 if character in EXTENSION else 1 for character in text]
    return UCS, [len(character.encode("utf-16-be", "surrogatepass")) // 2 for character in text]


def reference(text: str) -> Segments:
    """Character by character, as a phone would write it."""
    encoding, sizes = units_of(text)
    single, part = (160, 153) if encoding == GSM else (70, 67)
    if sum(sizes) <= single:
        return Segments(encoding, sum(sizes), 1 if text else 0)  # type: ignore[arg-type]
    count, left = 1, part
    for size in sizes:
        if size > left:
            count, left = count + 1, part
        left -= size
    return Segments(encoding, sum(sizes), count)  # type: ignore[arg-type]


# --- Tables ----------------------------------------------------------------------------------------------


def test_the_tables_have_what_the_standard_has() -> None:
    assert len(BASIC) == len(set(BASIC)) == 127  # and the escape
    assert len(EXTENSION) == len(set(EXTENSION)) == 10
    assert not set(BASIC) & set(EXTENSION)
    # By position: https://www.unicode.org/Public/MAPPINGS/ETSI/GSM0338.TXT
    at = {0x00: "@", 0x02: "$", 0x09: "Ç", 0x10: "Δ", 0x11: "_", 0x1A: "Ξ"}
    assert {place: BASIC[place] for place in at} == at
    after = {0x1C: "Æ", 0x1F: "É", 0x20: " ", 0x24: "¤", 0x40: "¡", 0x5E: "Ü", 0x60: "¿", 0x7F: "à"}
    assert {place: BASIC[place - 1] for place in after} == after


@pytest.mark.parametrize("character", BASIC)
def test_a_character_of_the_alphabet_is_one_unit(character: str) -> None:
    assert measure(character) == (GSM, 1, 1)


@pytest.mark.parametrize("character", EXTENSION)
def test_a_character_of_the_extension_is_two(character: str) -> None:
    assert measure(character) == (GSM, 2, 1)


@pytest.mark.parametrize(
    "character", ["`", "ç", "á", "“", "–", "\t", "\0", "\x1b", "\u00a0", "Ω\u0301", "я", "中"]
)
def test_any_other_makes_it_unicode(character: str) -> None:
    assert measure(character) == (UCS, len(character), 1)
    assert measure("a" * 70 + character).encoding == UCS


@pytest.mark.parametrize(("text", "units"), [("🎉", 2), ("👩‍👩‍👧", 8), ("é", 1), ("e\u0301", 2)])
def test_what_looks_like_one_character(text: str, units: int) -> None:
    assert measure(text).units == units


def test_composed_letters_are_cheaper() -> None:
    text = "Ääöü ÄÖÜ ñ"
    assert measure(text).encoding == GSM
    assert measure(unicodedata.normalize("NFD", text)).encoding == UCS


# --- Boundaries ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "encoding", "units", "segments"),
    [
        ("", GSM, 0, 0),
        ("a", GSM, 1, 1),
        ("a" * 160, GSM, 160, 1),
        ("a" * 161, GSM, 161, 2),
        ("a" * 306, GSM, 306, 2),
        ("a" * 307, GSM, 307, 3),
        ("€" * 80, GSM, 160, 1),
        ("€" * 80 + "a", GSM, 161, 2),
        ("a" * 159 + "€", GSM, 161, 2),
        # An escape never ends a message: 152 units in the first, and so on.
        ("a" * 152 + "€" + "a" * 151, GSM, 305, 2),
        ("a" * 152 + "€" + "a" * 152, GSM, 306, 3),
        ("a" * 151 + "€" + "a" * 153, GSM, 306, 2),
        ("€" * 152, GSM, 304, 2),
        ("€" * 153, GSM, 306, 3),
        ("я" * 70, UCS, 70, 1),
        ("я" * 71, UCS, 71, 2),
        ("я" * 134, UCS, 134, 2),
        ("я" * 135, UCS, 135, 3),
        ("a" * 69 + "я", UCS, 70, 1),
        ("🎉" * 35, UCS, 70, 1),
        ("🎉" * 36, UCS, 72, 2),
        # Nor is a pair of surrogates split: 66 units in each.
        ("🎉" * 66, UCS, 132, 2),
        ("🎉" * 67, UCS, 134, 3),
        ("я" + "🎉" * 66, UCS, 133, 2),
        ("€" * 71 + "я", UCS, 72, 2),  # one unit there
    ],
)
def test_each_boundary(text: str, encoding: str, units: int, segments: int) -> None:
    assert measure(text) == (encoding, units, segments) == reference(text)


# --- Any text --------------------------------------------------------------------------------------------

NEAR = st.sampled_from([66, 67, 68, 69, 70, 133, 134, 151, 152, 153, 159, 160, 305, 306, 457, 458, 459])
GSM_TEXT = st.text(st.sampled_from(BASIC + EXTENSION), max_size=20)
ANY_TEXT = st.text(max_size=20)  # all of Unicode, lone surrogates too


@st.composite
def long(draw: st.DrawFn) -> str:
    """Texts with something of interest near a boundary."""
    pieces = draw(st.lists(GSM_TEXT | ANY_TEXT, max_size=3))
    filling = draw(st.sampled_from(["a", "€", "я", "🎉", "\x1b"]))
    return filling * (draw(NEAR) // draw(st.sampled_from([1, 2]))) + filling.join(pieces)


@given(GSM_TEXT | ANY_TEXT | long())
def test_as_the_slow_one(text: str) -> None:
    assert measure(text) == reference(text)


@given(st.lists(st.sampled_from(["a", "€"]), max_size=500))
def test_as_the_slow_one_for_long_texts_in_gsm(text: list[str]) -> None:
    assert measure("".join(text)) == reference("".join(text))


@given(st.lists(st.sampled_from(["a", "я", "🎉", "\x1b"]), max_size=300))
def test_as_the_slow_one_for_long_texts_in_unicode(text: list[str]) -> None:
    assert measure("".join(text)) == reference("".join(text))


def test_the_longest_text_takes_no_time() -> None:
    started = time.process_time()
    for text in ("a" * 100_000, "€" * 100_000, "🎉" * 100_000):
        assert measure(text).segments > 600
    assert time.process_time() - started < 1
