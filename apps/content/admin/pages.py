"""What the pages about a template show: its versions side by side, and what they say."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import orjson
from django import forms
from django.template.defaultfilters import pluralize

from apps.content import listing, versioning
from apps.content.admin.drafts import JSONText
from apps.content.messages import Words
from apps.content.models import NotificationTemplate, TemplateUse, TemplateVersion
from apps.content.samples import SAMPLE_RECIPIENT
from apps.content.segments import measure


class PayloadForm(forms.Form):
    """The payload a preview is rendered with, or a test is sent with."""

    payload = JSONText(dict, "Payload, as a service would send it (JSON)")


def payload_text(version: TemplateVersion) -> str:
    """The version's example, as a person reads it."""
    return orjson.dumps(version.example, option=orjson.OPT_INDENT_2).decode()


def which(template: NotificationTemplate, text: str | None, *, otherwise: str) -> TemplateVersion | None:
    """A version by what an address says of it; by `otherwise` if it says nothing."""
    asked = text or otherwise
    if asked in ("draft", "current"):
        return listing.version_of(template, asked)
    return listing.version_of(template, int(asked)) if asked.isdecimal() and len(asked) < 10 else None


class Row(NamedTuple):
    """A line of a template's table of versions."""

    version: TemplateVersion
    is_current: bool
    uses: int


_SHOWN = 100


def versions_of(template: NotificationTemplate) -> list[Row]:
    """The newest versions of a template, in two statements."""
    rows = TemplateVersion.objects.filter(template=template).select_related("created_by", "published_by")
    newest = list(rows.defer("content", "schema", "example", "defaults").order_by("-number")[:_SHOWN])
    uses = TemplateUse.objects.in_bulk([row.pk for row in newest])
    return [
        Row(row, row.pk == template.current_id, uses[row.pk].count if row.pk in uses else 0) for row in newest
    ]


class Side(NamedTuple):
    """A channel in a language, beside its other languages."""

    channel: str
    language: str
    words: Words | None
    error: str
    size: str  # of an SMS


def sides(version: TemplateVersion, payload: Mapping[str, Any]) -> list[list[Side]]:
    """What the version says to a sample person: the languages of each channel."""
    rendered = versioning.preview(version, payload, SAMPLE_RECIPIENT)
    return [
        [_side(channel, language, made) for language, made in languages.items()]
        for channel, languages in rendered.items()
    ]


def _side(channel: str, language: str, made: Words | str) -> Side:
    if isinstance(made, str):
        return Side(channel, language, None, made, "")
    return Side(channel, language, made, "", _size(made.text) if channel == "sms" else "")


def _size(text: str) -> str:
    encoding, _, segments = measure(text)
    return f"{encoding}, {len(text)} character{pluralize(len(text))}, {segments} segment{pluralize(segments)}"


class Line(NamedTuple):
    """A line of a comparison. mark: what stands before it, for those who see no colour."""

    mark: str
    text: str


class Change(NamedTuple):
    """A text that is not the same, line by line."""

    path: str
    lines: list[Line]


def changes(before: TemplateVersion, after: TemplateVersion) -> list[Change]:
    """What is not the same in two versions."""
    return [
        Change(one.path, list(_lines(one.before, one.after))) for one in versioning.compare(before, after)
    ]


def _lines(before: str | None, after: str | None) -> Iterator[Line]:
    old, new = (before or "").splitlines(), (after or "").splitlines()
    for what, a, b, c, d in difflib.SequenceMatcher(None, old, new).get_opcodes():
        if what == "equal":
            yield from (Line(" ", text) for text in old[a:b])
        else:
            yield from (Line("−", text) for text in old[a:b])
            yield from (Line("+", text) for text in new[c:d])
