"""A version's words for one person by one channel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from apps.content.rendering import RenderingError, render
from apps.content.versions import Version


class Action(NamedTuple):
    """A button of a push or in-app message."""

    id: str
    label: str
    link: str


class Words(NamedTuple):
    """What a message says: `subject` is the title by push and in-app; an SMS has only `text`."""

    subject: str
    text: str
    html: str = ""
    link: str = ""
    actions: Sequence[Action] = ()


def language_of(languages: Mapping[str, object], wanted: str, *, default: str) -> str:
    """Of the languages there are: the one wanted, else what it is a variety of (pt of pt-BR), else the
    default one, else the first."""
    tag = wanted
    while tag and tag not in languages:
        tag = tag.rpartition("-")[0]
    return tag or (default if default in languages else next(iter(languages)))


def words(version: Version, channel: str, language: str, context: Mapping[str, Any]) -> Words:
    """The version's words by this channel, in this language as near as there is. Raises RenderingError."""
    languages = version.content.get(channel)
    if not languages:
        raise RenderingError(f"There is no content for {channel}.")
    parts = languages[language_of(languages, language, default=version.default_language)]
    given = {**version.defaults, **context}
    subject = " ".join(render(parts.get("subject", ""), given).split())  # one line: it becomes a header
    html = render(parts["html"], given, html=True) if parts.get("html") else ""
    return Words(subject, render(parts.get("body", ""), given), html)
