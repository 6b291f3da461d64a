"""A version's words for one person by one channel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from apps.content import as_text, styles
from apps.content.links import link_error
from apps.content.rendering import RenderingError, render
from apps.content.versions import Version


class Action(NamedTuple):
    """A button of a push or in-app message."""

    id: str
    label: str
    link: str


class Words(NamedTuple):
    """What a message says: `subject` is the title by push and in-app; an SMS has only `text`.

    avatar: the address of a picture of who it is from, by push and in-app.
    """

    subject: str
    text: str
    html: str = ""
    link: str = ""
    actions: Sequence[Action] = ()
    avatar: str = ""


_MORE = ("html", "link", "actions", "avatar")  # the parts beside subject and body


def language_of(languages: Mapping[str, object], wanted: str, *, default: str) -> str:
    """Of the languages there are: the one wanted, else what it is a variety of (pt of pt-BR), else the
    default one or what that is a variety of, else the first. Letter case does not matter (RFC 5646)."""
    if wanted in languages:
        return wanted
    known = {tag.lower(): tag for tag in languages}
    for tag in (wanted.lower(), default.lower()):
        while tag:
            if tag in known:
                return known[tag]
            tag = tag.rpartition("-")[0]  # noqa: PLW2901  (one subtag less: RFC 4647, section 3.4)
    return next(iter(languages))


def words(version: Version, channel: str, language: str, context: Mapping[str, Any]) -> Words:
    """The version's words by this channel, in this language as near as there is. Raises RenderingError.

    context: the payload, and what is not the payload's to say (`recipient`), which defaults do not replace. A
    part that is not there is empty; the text of HTML without one is made from it.
    """
    languages = version.content.get(channel)
    if not languages:
        raise RenderingError(f"There is no content for {channel}.")
    parts = languages[language_of(languages, language, default=version.default_language)]
    given = {**version.defaults, **context} if version.defaults else context
    subject = _line(parts.get("subject", ""), given)  # it becomes a header
    text = render(parts.get("body", ""), given)
    if not any(parts.get(name) for name in _MORE):
        return Words(subject, text)
    html = styles.inlined(render(parts["html"], given, html=True)) if parts.get("html") else ""
    return Words(
        subject=subject,
        text=text or as_text.text_of(html),
        html=html,
        link=_address(parts, "link", given),
        actions=_actions(parts, given),
        avatar=_address(parts, "avatar", given, what="An avatar"),
    )


def _line(source: str, given: Mapping[str, Any]) -> str:
    return " ".join(render(source, given).split())


def _address(parts: Mapping[str, Any], name: str, given: Mapping[str, Any], *, what: str = "A link") -> str:
    """Empty where there is none: one that depends on the payload may well be missing."""
    address = render(parts.get(name, ""), given).strip()
    if address and (wrong := link_error(address, what)):
        raise RenderingError(wrong)
    return address


def _actions(parts: Mapping[str, Any], given: Mapping[str, Any]) -> Sequence[Action]:
    """Those that have words on them: one whose label is empty is not shown."""
    made = (
        Action(action["id"], _line(action["label"], given), _address(action, "link", given))
        for action in parts.get("actions", ())
    )
    return tuple(action for action in made if action.label)
