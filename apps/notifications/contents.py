"""What an accepted notification says, loaded for a batch and rendered per target."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple
from uuid import UUID

import orjson
from django.conf import settings

from apps.content import messages, versions
from apps.content.messages import Action
from apps.content.rendering import RenderingError
from apps.content.samples import KNOWN
from apps.content.versions import Version
from apps.notifications import tracking
from apps.notifications.transitions import Claimed
from apps.preferences import unsubscribing
from apps.users import places
from project import db, ids

logger = logging.getLogger(__name__)

_CACHED = 200  # notifications a process remembers; they never change


@dataclass(frozen=True, slots=True)
class Content:
    """A notification's texts: its own words, or the version of a template it was accepted with."""

    id: UUID
    title: str
    body: str
    version: Version | None
    payload: Mapping[str, Any]
    related: Mapping[str, str] | None = None  # {"type", "id"}, if it is about something
    type: str = ""  # slug: what people can opt out of
    critical: bool = False  # goes out whatever people have chosen


WITH_DATA = places.CHANNELS  # what programs receive, who want more than words
_NO_DATA: Mapping[str, Any] = MappingProxyType({})
# A draft that was discarded before its test left: it has no words, and renders for nobody.
_GONE = Version(id=0, content=_NO_DATA, defaults=_NO_DATA, schema=_NO_DATA)


class Rendered(NamedTuple):
    """What goes out: `subject` is the title by push and in-app; an SMS has only `text`.

    type: slug of what people can opt out of; empty: none.
    data: what programs read, as JSON; empty unless the channel is of `WITH_DATA`.
    unsubscribe: the URL by which a person switches it off; empty unless it is an e-mail that may be.
    """

    subject: str
    text: str
    html: str = ""
    link: str = ""
    actions: Sequence[Action] = ()
    avatar: str = ""
    type: str = ""
    data: Mapping[str, Any] = _NO_DATA
    unsubscribe: str = ""


_LOAD = """
SELECT id, title, body, template_version, content, payload, related_type, related_id, type, critical
FROM notifications_notification WHERE id = ANY(%b::uuid[])
"""
_cache: OrderedDict[UUID, Content] = OrderedDict()


def load(ids: Collection[UUID]) -> dict[UUID, Content]:
    """The contents of these notifications, in one statement for those not remembered, and one for versions
    this process has not met."""
    found = {id: _cache[id] for id in ids if id in _cache}
    missing = [id for id in ids if id not in found]
    if missing:
        rows = db.rows(_LOAD, [missing])
        known = versions.load({row[3] for row in rows if row[3] is not None})
        for id, title, body, version, pinned, payload, about_type, about, type, critical in rows:
            found[id] = _cache[id] = Content(
                id,
                title,
                body,
                known.get(version, _GONE) if version is not None else _pinned(pinned),
                orjson.loads(payload),
                {"type": about_type, "id": about} if about else None,
                type,
                critical,
            )
        while len(_cache) > _CACHED:
            _cache.popitem(last=False)
    return found


def _pinned(text: str | None) -> Version | None:
    """The texts of a notification that was accepted before templates had versions."""
    if not text:
        return None
    content = orjson.loads(text)
    track = any(parts.get("track") for parts in content.values())
    languages = {channel: {"en": parts} for channel, parts in content.items()}
    return Version(id=0, content=languages, defaults=_NO_DATA, schema=_NO_DATA, track=track)


# In the order of `KNOWN`.
_RECIPIENTS = """
SELECT id, coalesce(external_id, ''), name, email, phone, language, timezone
FROM users_user WHERE id = ANY(%b::bigint[])
"""


def recipients(user_ids: Collection[int]) -> dict[int, dict[str, str]]:
    """What a template may know of its recipients, as `recipient.…`, in one statement."""
    return {
        id: dict(zip(KNOWN, values, strict=True)) for id, *values in db.rows(_RECIPIENTS, [list(user_ids)])
    }


def for_targets(targets: Sequence[Claimed], channel: str) -> list[tuple[Claimed, Rendered | None]]:
    """The texts of a batch, two statements at most; None where a template does not render."""
    texts = load({target.notification_id for target in targets})
    everyone = channel in WITH_DATA
    known = {t.user_id for t in targets if everyone or texts[t.notification_id].version is not None}
    people = recipients(known) if known else {}
    return [(t, _or_none(t, channel, texts[t.notification_id], people.get(t.user_id, {}))) for t in targets]


def _or_none(
    target: Claimed, channel: str, content: Content, recipient: Mapping[str, str]
) -> Rendered | None:
    try:
        url = _unsubscribe_url(target, channel, content)
        parts = _tracked(target, channel, content, rendered(content, channel, recipient, unsubscribe=url))
    except RenderingError:  # whose text may repeat what the payload or the person's row says: not for a log
        ids_of = {"target_id": str(target.id), "notification_id": str(target.notification_id)}
        logger.error("target not rendered: it is a dead letter", extra=ids_of)
        return None
    if url or content.type:
        parts = parts._replace(unsubscribe=url, type=content.type)
    return parts._replace(data=_data(target, content, recipient, parts)) if channel in WITH_DATA else parts


def _data(target: Claimed, content: Content, recipient: Mapping[str, str], parts: Rendered) -> dict[str, Any]:
    """The notification as a program wants it. `recipient` is null for a person without an external_id;
    `link`, `avatar` and `actions` are there if the template has them."""
    data: dict[str, Any] = {
        "type": "notification",
        "notification_id": str(target.notification_id),
        "target_id": str(target.id),
        "timestamp": ids.time_of(target.notification_id).isoformat(timespec="milliseconds"),
        "recipient": recipient.get("external_id") or None,
        "payload": content.payload,
    }
    if content.related:
        data["related_object"] = content.related
    if parts.link:
        data["link"] = parts.link
    if parts.avatar:
        data["avatar"] = parts.avatar
    if parts.actions:
        data["actions"] = [action._asdict() for action in parts.actions]
    return data


def _unsubscribe_url(target: Claimed, channel: str, content: Content) -> str:
    """Where the person switches such e-mails off; empty for what they cannot, or if we could not be reached.

    One click needs HTTPS (RFC 8058, section 3.1), except on a developer's machine; a header needs ASCII.
    """
    base = settings.PUBLIC_URL
    if channel != "email" or content.critical or not base.isascii():
        return ""
    if not base.startswith("https://") and not (base and settings.DEBUG):
        return ""
    return unsubscribing.url(target.id, target.user_id, type=content.type, public_url=base)


def _tracked(target: Claimed, channel: str, content: Content, parts: Rendered) -> Rendered:
    """With links and a pixel of ours, where the template asks for it and they could be reached."""
    if not parts.html or content.version is None or not content.version.track:
        return parts
    if channel != "email" or not settings.PUBLIC_URL:
        return parts
    return parts._replace(html=tracking.rewrite(parts.html, target.id, public_url=settings.PUBLIC_URL))


def rendered(
    content: Content, channel: str, recipient: Mapping[str, str], *, unsubscribe: str = ""
) -> Rendered:
    """The texts for one recipient. Raises RenderingError.

    unsubscribe: what a template knows as `unsubscribe_url`, unless the payload has one of its own. Where
    there is none the name is left out: to Liquid an empty text is true.
    """
    if content.version is None:
        return _as_written(content, channel)
    context = {**content.payload, "recipient": recipient}
    if unsubscribe:
        context.setdefault("unsubscribe_url", unsubscribe)
    language = recipient.get("language", "")
    return Rendered(*messages.words(content.version, channel, language, context))


def _as_written(content: Content, channel: str) -> Rendered:
    """Title and body of a notification without a template: text, never interpreted."""
    if channel == "sms":
        return Rendered("", sms_text(content.title, content.body))
    return Rendered(content.title or content.body.split("\n", 1)[0][:200], content.body or content.title)


def sms_text(title: str, body: str) -> str:
    """What an SMS says of a notification without a template."""
    return "\n".join(part for part in (title, body) if part)
