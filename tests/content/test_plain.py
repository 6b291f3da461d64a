"""The short cut and the library agree on every template and every value, or the short cut declines."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.content import rendering
from apps.content.plain import filled, pieces_of

VALUES: st.SearchStrategy[Any] = st.recursive(
    st.text(max_size=20) | st.integers() | st.booleans() | st.none() | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abcs"), inner, max_size=3),
    max_leaves=5,
)
PIECES = st.sampled_from(
    [
        *("Hello ", "<b>&amp;</b>", "{{ a }}", "{{a.b}}", "{{ a['b'].c }}", "{{- s -}}", "{{ x }}"),
        *("{{ a.size }}", "{{ a.first }}", "{{ a[0] }}", "{{ a[b] }}", "{{ a | upcase }}", "{{ 'text' }}"),
        *("{{ 5 }}", "{{ now }}", "{{ a if b else c }}", "{% if a %}yes{% endif %}", "{% assign a = 'z' %}"),
    ]
)
DATA = st.dictionaries(st.sampled_from("abcs"), VALUES)


def by_the_library(source: str, data: dict[str, Any], *, html: bool) -> str:
    template = rendering._compiled(source, html)
    assert not isinstance(template, str)
    return template.render(data)


@given(
    st.lists(PIECES, max_size=6).map("".join), st.dictionaries(st.sampled_from("abcs"), VALUES), st.booleans()
)
def test_it_says_what_the_library_says_or_declines(source: str, data: dict[str, Any], html: bool) -> None:
    template = rendering._compiled(source, html)
    pieces = None if isinstance(template, str) else pieces_of(template)
    text = None if pieces is None else filled(pieces, data, html=html)
    assert text is None or text == by_the_library(source, data, html=html)


@pytest.mark.parametrize("html", [False, True])
def test_what_most_templates_are_takes_the_short_cut(html: bool) -> None:
    source = "Hello {{ recipient.name }}, order {{ order }} of {{ amount }} € is on its way."
    data = {"recipient": {"name": "Ann <b>"}, "order": "A-1", "amount": 12}
    pieces = pieces_of(rendering._compiled(source, html))  # type: ignore[arg-type]
    assert pieces is not None
    assert filled(pieces, data, html=html) == by_the_library(source, data, html=html)


@pytest.mark.parametrize(
    ("source", "data"),
    [
        ("{{ missing }}", {}),
        ("{{ a.missing }}", {"a": {}}),
        ("{{ a }}", {"a": None}),
        ("{{ a }}", {"a": True}),
        ("{{ a }}", {"a": 1.0}),
        ("{{ a }}", {"a": 10**5_000}),  # which Python refuses to write out
        ("{{ a }}", {"a": ["x"]}),
        ("{{ a }}", {"a": "x" * 60_000}),  # perhaps more than may go out: the library counts
    ],
)
def test_what_is_not_plainly_a_text_is_left_to_the_library(source: str, data: dict[str, Any]) -> None:
    pieces = pieces_of(rendering._compiled(source, False))  # type: ignore[arg-type]
    assert pieces is not None
    assert filled(pieces, data, html=False) is None
