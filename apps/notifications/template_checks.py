"""A version of a template against what is real: the payloads it got lately, and a test to one person."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

import orjson

from apps.content import messages, payloads, versioning
from apps.content.models import TemplateVersion
from apps.content.rendering import RenderingError
from apps.content.samples import SAMPLE_RECIPIENT
from apps.content.versions import Version
from apps.notifications import checks, contents
from apps.notifications.intake import Order
from apps.notifications.schemas import Errors
from project import db
from project.api import field_error
from project.queues import CHANNELS

MOST = 500  # notifications at once
SECONDS = 5.0  # after so long no other one is begun
_AT_ONCE = 20  # payloads in memory; each may have a megabyte


class Faulty(NamedTuple):
    """A notification that this version would not do for, and why."""

    notification_id: UUID
    errors: Errors


class Impact(NamedTuple):
    """What a version would have made of the latest notifications of its template."""

    ok: int
    faulty: list[Faulty]
    complete: bool  # False: it took too long, and older ones were not tried

    @property
    def tried(self) -> int:
        return self.ok + len(self.faulty)


# The first recipient of each; of an audience that is not planned yet there is none.
_LATEST = """
SELECT n.id, n.payload, n.channels, n.all_channels, t.user_id
FROM (
    SELECT id, payload, channels, all_channels FROM notifications_notification
    WHERE organization_id = %(organization_id)s::bigint AND template = %(slug)s AND template <> ''
      AND id < %(before)s::uuid
    ORDER BY id DESC LIMIT %(limit)s
) n
LEFT JOIN LATERAL (
    SELECT user_id FROM notifications_notificationtarget WHERE notification_id = n.id ORDER BY id LIMIT 1
) t ON true
ORDER BY n.id DESC
"""


def impact(version: TemplateVersion, *, organization_id: int, last: int) -> Impact:
    """Render the organization's last so many notifications of the template with this version, each for its
    first recipient. Writes nothing; begins no other notification after `SECONDS`."""
    wanted = versioning.as_version(version)
    deadline = time.monotonic() + SECONDS
    ok = 0
    faulty: list[Faulty] = []
    for one in _latest(version.template.slug, organization_id=organization_id, last=last):
        if time.monotonic() > deadline:
            return Impact(ok, faulty, complete=False)
        if errors := _errors(wanted, one):
            faulty.append(Faulty(one.id, errors))
        else:
            ok += 1
    return Impact(ok, faulty, complete=True)


class _Sent(NamedTuple):
    """A notification of the template, as it was accepted."""

    id: UUID
    payload: Mapping[str, Any]
    channels: Sequence[str]  # those it named; empty: all
    recipient: Mapping[str, str]


_NEWEST = UUID(int=2**128 - 1)


def _latest(slug: str, *, organization_id: int, last: int) -> Iterator[_Sent]:
    """The last so many, newest first, a few at a time."""
    before = _NEWEST
    while last > 0:
        limit = min(last, _AT_ONCE)
        asked = {"organization_id": organization_id, "slug": slug, "before": before, "limit": limit}
        rows = db.rows(_LATEST, asked)
        people = contents.recipients({row[4] for row in rows if row[4] is not None})
        for id, payload, channels, all_channels, user_id in rows:
            recipient = people.get(user_id, SAMPLE_RECIPIENT)
            yield _Sent(id, orjson.loads(payload), () if all_channels else channels, recipient)
        if len(rows) < limit:
            return
        before, last = rows[-1][0], last - limit


def _errors(version: Version, sent: _Sent) -> Errors:
    """What sending it by this version would be refused for, or fail with."""
    return [
        *checks.without_content(version, sent.channels),
        *payloads.told(version, sent.payload),
        *_rendering_faults(version, sent),
    ]


def _rendering_faults(version: Version, sent: _Sent) -> Iterator[dict[str, str]]:
    context = {**sent.payload, "recipient": sent.recipient}
    language = sent.recipient.get("language", "")
    for channel in version.channels:
        if sent.channels and channel not in sent.channels:
            continue
        try:
            messages.words(version, channel, language, context)
        except RenderingError as error:
            yield field_error(f"template.{channel}", "not_rendered", str(error))


def order_of_test(
    version: TemplateVersion,
    payload: Mapping[str, Any],
    channels: Sequence[str],
    *,
    organization_id: int,
    client_id: int | None,
) -> Order:
    """A test of this very version, as an order to intake.

    It is of no type and critical: it arrives at once, whatever its recipient has chosen; only suppressions
    stop it. channels: empty: all it has content for, as far as the person has an address.
    """
    with_content = [channel for channel in CHANNELS if channel in version.content]
    return Order(
        organization_id=organization_id,
        client_id=client_id,
        template=version.template.slug,
        version_id=version.pk,
        payload=dict(payload),
        channels=list(channels) or with_content,
        all_channels=not channels,
        priority="critical",
        metadata={"test": True},
    )
