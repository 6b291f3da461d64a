"""Everything that is wrong with a wording, at once, each with its place."""

from __future__ import annotations

import time
from typing import Any

import pytest

from apps.content import checking
from apps.content.checking import faults, undeclared
from apps.content.models import TemplateVersion

GOOD: dict[str, Any] = {"sms": {"en": {"body": "Hello {{ name }}"}}}


def found(content: Any = GOOD, **others: Any) -> list[tuple[str, str]]:
    values = {"schema": {}, "example": {}, "defaults": {}, "default_language": "en", "track": False} | others
    return [(fault.path, fault.code) for fault in faults(content, **values)]


def told(content: Any = GOOD, **others: Any) -> str:
    values = {"schema": {}, "example": {}, "defaults": {}, "default_language": "en", "track": False} | others
    (fault,) = faults(content, **values)
    return fault.detail


def by(channel: str, **parts: Any) -> dict[str, Any]:
    return {channel: {"en": {"body": "x", **parts}}}


def test_nothing_is_wrong() -> None:
    action = {"id": "open", "label": "Open {{ name }}", "link": "/x/{{ name }}"}
    content = {
        "in_app": {"en": {"subject": "s", "body": "b", "link": "/{{ name }}", "actions": [action] * 1}},
        "push": {"en": {"body": "b", "avatar": "/{{ name }}.png"}},
        "email": {"en": {"html": "<a href='{{ unsubscribe_url }}'>x</a>"}, "pt-br": {"body": "b"}},
        "webhook": {"en": {"subject": "{{ recipient.name }}", "body": "b"}},
    }
    schema = {"type": "object", "required": ["name"]}
    assert found(content, schema=schema, example={"name": "a"}, track=True) == []
    assert found(content, schema=schema, defaults={"name": "a"}) == []
    own = {"name": "a", "unsubscribe_url": "https://a.example/unsubscribe"}
    assert found(content, schema=schema, example=own) == []
    assert found(content, schema=schema, example=own | {"unsubscribe_url": "javascript:x"}) != []


@pytest.mark.parametrize(
    ("content", "path", "code"),
    [
        ({}, "content", "required"),
        ([], "content", "required"),
        ({"fax": {"en": {"body": "x"}}}, "content.fax", "unknown_channel"),
        ({"sms": {}}, "content.sms", "required"),
        ({"sms": {"en": "x"}}, "content.sms.en", "invalid"),
        ({"sms": {"en": {"body": "x"}, "english!": {"body": "x"}}}, "content.sms.english!", "invalid"),
        ({"sms": {"en": {"body": "x"}, "EN": {"body": "x"}}}, "content.sms.EN", "conflict"),
        ({"sms": {"de": {"body": "x"}}}, "content.sms", "no_content"),
        ({"sms": {"en": {}}}, "content.sms.en.body", "required"),
        (by("sms", body=5), "content.sms.en.body", "invalid"),
        (by("sms", subject="x"), "content.sms.en.subject", "unknown_field"),
        (by("push", html="x"), "content.push.en.html", "unknown_field"),
        (by("email", link="/x"), "content.email.en.link", "unknown_field"),
        (by("chat", actions=[]), "content.chat.en.actions", "unknown_field"),
        (by("email", avatar="/x"), "content.email.en.avatar", "unknown_field"),
        (by("in_app", avatar={}), "content.in_app.en.avatar", "invalid"),
        (by("in_app", avatar="{{ x"), "content.in_app.en.avatar", "invalid"),
        (by("in_app", avatar="data:image/png,x"), "content.in_app.en.avatar", "not_rendered"),
        (by("push", actions={}), "content.push.en.actions", "invalid"),
        (by("push", actions=["x"]), "content.push.en.actions[0]", "invalid"),
        (by("push", actions=[{"id": "a", "label": "A"}]), "content.push.en.actions[0].link", "required"),
        (by("sms", body="{{ x"), "content.sms.en.body", "invalid"),
        (by("sms", body="a\0b"), "content.sms.en.body", "null_character"),
        (by("email", html="<a href='javascript:{{ x }}'>"), "content.email.en.html", "invalid"),
        (by("email", html="<img src=logo.png>"), "content.email.en.html", "invalid"),
        (by("email", html="<SCRIPT>x</SCRIPT>"), "content.email.en.html", "invalid"),
        (by("push", link="javascript:x"), "content.push.en.link", "not_rendered"),
        (by("sms", body="{{ 'a' | date: 1, 2, 3, 4 }}"), "content.sms.en.body", "not_rendered"),
        (by("sms", body="{% for a in (1..9999) %}{% for b in (1..9999) %}x{% endfor %}{% endfor %}"),
         "content.sms.en.body", "not_rendered"),
    ],
)  # fmt: skip
def test_content(content: Any, path: str, code: str) -> None:
    assert found(content) == [(path, code)]


def test_actions_are_few_and_told_apart() -> None:
    action = {"id": "a", "label": "A", "link": "/a"}
    six = [{**action, "id": str(number)} for number in range(6)]
    assert found(by("push", actions=six)) == [("content.push.en.actions", "too_many")]
    assert found(by("push", actions=six[:5])) == []
    assert found(by("push", actions=[action, action])) == [("content.push.en.actions[1].id", "conflict")]
    odd = {**action, "colour": "red", "label": "{{"}
    assert found(by("push", actions=[odd])) == [
        ("content.push.en.actions[0].colour", "unknown_field"),
        ("content.push.en.actions[0].label", "invalid"),
    ]


def test_faults_of_the_source_have_their_line_and_column() -> None:
    assert told(by("sms", body="one\n  {% if %}")).startswith("Line 2, column 6:")
    assert told(by("sms", body="one\n {{ a | shout }}")) == "Line 2, column 9: there is no filter “shout”."


def test_an_endless_template_is_told_as_such() -> None:
    endless = "{% for a in (1..9999) %}{% for b in (1..9999) %}x{% endfor %}{% endfor %}"
    assert "loop iteration limit" in told(by("sms", body=endless))


@pytest.mark.parametrize(
    ("others", "path", "code"),
    [
        ({"schema": {"type": "array"}}, "schema", "invalid"),
        ({"schema": {"type": "object", "properties": []}}, "schema.properties", "invalid"),
        ({"schema": {"type": "object", "required": ["a"]}}, "example.a", "required"),
        (
            {"schema": {"type": "object", "properties": {"a": {"type": "string"}}}, "example": {"a": 1}},
            "example.a",
            "invalid",
        ),
        ({"example": []}, "example", "invalid"),
        ({"defaults": "x"}, "defaults", "invalid"),
        ({"defaults": {"recipient": {}}}, "defaults.recipient", "conflict"),
        ({"defaults": {"unsubscribe_url": "x"}}, "defaults.unsubscribe_url", "conflict"),
        ({"schema": {"type": "object", "properties": {"recipient": {}}}}, "schema.recipient", "conflict"),
        ({"track": True}, "track", "conflict"),
        ({"default_language": "de"}, "content.sms", "no_content"),
    ],
)  # fmt: skip
def test_what_is_around_the_content(others: dict[str, Any], path: str, code: str) -> None:
    assert found(**others) == [(path, code)]


def test_links_that_come_with_the_example() -> None:
    content = by("email", html="<a href='{{ url }}'>x</a>")
    assert found(content, example={"url": "https://a.example"}) == []
    assert found(content, example={"url": "javascript:x"}) == [("content.email.en.html", "invalid")]


def test_every_language_by_every_channel_is_rendered() -> None:
    content = {
        "sms": {"en": {"body": "{{ a }}"}, "de": {"body": "{{ a | divided_by: 0 }}"}},
        "push": {"en": {"body": "b", "link": "{{ a }}"}},
        "in_app": {"en": {"body": "b", "avatar": "{{ a }}"}},
    }
    assert found(content, example={"a": "x:y"}) == [
        ("content.sms.de.body", "not_rendered"),
        ("content.push.en.link", "not_rendered"),
        ("content.in_app.en.avatar", "not_rendered"),
    ]


def test_all_at_once() -> None:
    content = {"fax": {}, "sms": {"de": {"body": "{{"}}, "push": {"en": {"html": "x"}}}
    assert found(content, defaults={"recipient": 1}, schema={"type": "object", "required": ["a"]}) == [
        ("content.fax", "unknown_channel"),
        ("content.sms", "no_content"),
        ("content.push.en.html", "unknown_field"),
        ("content.sms.de.body", "invalid"),
        ("defaults.recipient", "conflict"),
        ("example.a", "required"),
    ]


def test_hostile_content_is_judged_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking, "MAX_SECONDS", 1.0)
    slow = "{% for i in (1..9000) %}{% assign a = a | append: 'xxxxxxxx' %}{% endfor %}{{ a | size }}"
    languages = {f"en-x{number}": {"body": slow} for number in range(2_000)}
    started = time.thread_time()
    assert found({"sms": {"en": {"body": "x"}, **languages}})[-1] == ("content", "not_rendered")
    assert time.thread_time() - started < 10


def test_names_nobody_has_declared() -> None:
    action = {"id": "a", "label": "{{ label }}", "link": "/{{ misspelt }}"}
    version = TemplateVersion(
        content={
            "push": {"en": {"body": "{{ a }} {{ b.c }} {{ d }} {{ recipient.name }}", "actions": [action]}},
            "sms": {
                "en": {"body": "{% for one in items %}{{ one }}{% endfor %}{{ unsubscribe_url }}{{ typo }}"}
            },
        },
        schema={"type": "object", "properties": {"a": {}}, "required": ["b"]},
        defaults={"d": 1},
        example={"items": [], "label": "x"},
    )
    assert undeclared(version) == {"misspelt", "typo"}
