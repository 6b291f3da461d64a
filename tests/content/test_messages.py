"""A version's words: the nearest language, the parts of each channel, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from apps.content.messages import Action, Words, language_of, words
from apps.content.rendering import RenderingError
from apps.content.versions import Version


def version(content: dict[str, Any], **fields: Any) -> Version:
    return Version(id=1, content=content, **{"defaults": {}, "schema": {}, **fields})


def said(channel: str, parts: dict[str, Any], context: dict[str, Any] | None = None, **fields: Any) -> Words:
    return words(version({channel: {"en": parts}}, **fields), channel, "en", context or {})


@pytest.mark.parametrize(
    ("languages", "wanted", "default", "found"),
    [
        ("en pt-BR pt", "pt-BR", "en", "pt-BR"),
        ("en pt", "pt-BR", "en", "pt"),
        ("en pt-BR", "pt", "en", "en"),
        ("en zh-Hant", "zh-Hant-TW", "en", "zh-Hant"),
        ("de en", "fr", "de", "de"),
        ("fr en", "it", "en-GB", "en"),
        ("fr es", "it", "de", "fr"),
        ("en PT-br", "pt-BR", "en", "PT-br"),
        ("en", "", "en", "en"),
        ("fr", "", "", "fr"),
    ],
)
def test_the_nearest_language(languages: str, wanted: str, default: str, found: str) -> None:
    assert language_of(dict.fromkeys(languages.split()), wanted, default=default) == found


def test_defaults_stand_for_what_the_payload_lacks_and_for_nothing_else() -> None:
    parts = {"body": "{{ a }} {{ b }} {{ recipient.name }}"}
    context = {"a": "given", "recipient": {"name": "Ada"}}
    defaults = {"a": "x", "b": "default", "recipient": {"name": "nobody"}}
    assert said("sms", parts, context, defaults=defaults).text == "given default Ada"


def test_a_part_that_is_not_there_is_empty() -> None:
    assert said("push", {"body": "x"}) == Words("", "x")
    assert said("webhook", {"subject": "a\n  {{ b }}"}, {"b": "c\r\nBcc: d"}) == Words("a c Bcc: d", "")


def test_no_content_for_the_channel() -> None:
    with pytest.raises(RenderingError, match="no content for sms"):
        words(version({"email": {"en": {"body": "x"}}}), "sms", "en", {})


def test_html_without_a_text_makes_it() -> None:
    html = '<p>Hello {{ name }}</p><p><a href="{{ url }}">Open</a></p>'
    context = {"name": "<Ada>", "url": "https://a.example/?a=1&b=2"}
    made = said("email", {"subject": "x", "html": html}, context)
    assert made.text == "Hello <Ada>\n\nOpen (https://a.example/?a=1&b=2)"
    assert "&lt;Ada&gt;" in made.html
    assert said("email", {"body": "own", "html": html}, context).text == "own"
    assert said("email", {"body": "{{ none }}", "html": html}, context).text == made.text


def test_styles_are_written_to_elements_after_rendering() -> None:
    html = (
        "<style>td{color:red} @media (max-width:9px){td{color:blue}}</style>"
        "<table>{% for a in list %}<tr><td>{{ a }}</td></tr>{% endfor %}</table>"
    )
    made = said("email", {"body": "x", "html": html}, {"list": ["1", "<2>"]}).html
    assert '<td style="color: red;">1</td>' in made and '<td style="color: red;">&lt;2&gt;</td>' in made
    assert "@media" in made


def test_a_link_and_actions() -> None:
    parts = {
        "body": "x",
        "link": " /orders/{{ id }} ",
        "actions": [
            {"id": "open", "label": "Open {{ id }}", "link": "https://a.example/{{ id }}"},
            {"id": "none", "label": "{{ nothing }}", "link": ""},
        ],
    }
    made = said("push", parts, {"id": 17})
    assert made.link == "/orders/17"
    assert made.actions == (Action("open", "Open 17", "https://a.example/17"),)
    assert said("push", {"body": "x", "link": "{{ none }}"}).link == ""


@pytest.mark.parametrize("channel", ["in_app", "push"])
def test_an_avatar_needs_no_link(channel: str) -> None:
    parts = {"subject": "s", "body": "x", "avatar": " https://a.example/{{ by }}.png "}
    assert said(channel, parts, {"by": "ada"}) == Words("s", "x", avatar="https://a.example/ada.png")
    assert said(channel, parts | {"avatar": "{{ none }}"}) == Words("s", "x")


@pytest.mark.parametrize(
    ("link", "named"),
    [
        ("javascript:alert(1)", "javascript:"),
        ("JavaScript:alert(1)", "JavaScript:"),
        ("data:text/html,x", "data:"),
        ("//evil.example", "“/”"),
        ("/\\evil.example", "“/”"),
        ("java\tscript:x", "“/”"),
        ("relative/path", "“/”"),
        ("https://", "“/”"),
        ("shop://orders/1", "shop:"),
        (f"https://a.example/{'x' * 2_000}", "2,000"),
    ],
)
def test_a_link_that_is_none_is_named(link: str, named: str) -> None:
    action = {"id": "a", "label": "A", "link": "{{ x }}"}
    for parts in ({"link": "{{ x }}"}, {"actions": [action]}, {"avatar": "{{ x }}"}):
        with pytest.raises(RenderingError) as caught:
            said("in_app", {"body": "x", **parts}, {"x": link})
        assert named in str(caught.value)
        assert str(caught.value).startswith("An avatar" if "avatar" in parts else "A link")


@pytest.mark.parametrize(
    "link", ["https://a.example", "HTTP://a.example/x?y#z", "/", "/a//b", "/?q=javascript:x"]
)
def test_a_link_that_is_one(link: str) -> None:
    assert said("in_app", {"body": "x", "link": link}).link == link
    assert said("in_app", {"body": "x", "avatar": link}).avatar == link
