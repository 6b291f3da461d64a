"""What is wrong with a request beyond its shape. Pure: people and templates have been looked up.

A request whose shape is wrong comes as far as it could be read; what cannot be judged is not.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime

from apps.content.models import NotificationTemplate
from apps.notifications.schemas import Errors, NotificationInput, Reading
from apps.users.schemas import UserInput
from project.api import field_error
from project.queues import CHANNELS

Parts = Mapping[str, NotificationTemplate]  # of one template, by channel
_THERE_ARE = f"There is no such channel. There are: {', '.join(CHANNELS)}."


def errors_of(
    reading: Reading, known: Collection[int | str], templates: Mapping[str, Parts], now: datetime
) -> Errors:
    """Everything that is wrong with the request, at once."""
    request, shape, wrong = reading
    return [
        *shape,
        *_unknown_users(request, known),
        *_unknown_channels(request),
        *_words(request, wrong),
        *_times(request, now),
        *_template(request, wrong, templates),
    ]


def channels_of(request: NotificationInput, parts: Parts | None) -> list[str]:
    """The channels it may go by, each once. `all` is those the template has content for."""
    if request.channels != "all":
        return list(dict.fromkeys(request.channels))
    return [channel for channel in CHANNELS if parts is None or channel in parts]


def _unknown_users(request: NotificationInput, known: Collection[int | str]) -> Iterator[dict[str, str]]:
    for index, target in enumerate(request.targets):
        if target is not None and not isinstance(target, UserInput) and target not in known:
            yield field_error(f"targets[{index}]", "unknown_user", "There is no user with this id.")


def _unknown_channels(request: NotificationInput) -> Iterator[dict[str, str]]:
    for index, channel in enumerate(request.channels if request.channels != "all" else ()):
        if channel is not None and channel not in CHANNELS:
            yield field_error(f"channels[{index}]", "unknown_channel", _THERE_ARE)


def _words(request: NotificationInput, wrong: Collection[str]) -> Iterator[dict[str, str]]:
    if request.template is None and not (request.title or request.body):
        if not {"title", "body", "template"} & set(wrong):
            yield field_error("title", "required", "Give a title, a body or a template.")
    elif request.template is not None and (request.title or request.body):
        yield field_error("template", "conflict", "Give either a template, or a title and a body.")


def _times(request: NotificationInput, now: datetime) -> Iterator[dict[str, str]]:
    if request.expires_at is None:
        return
    if request.expires_at <= now:
        yield field_error("expires_at", "past", "This time is past.")
    elif request.scheduled_at is not None and request.expires_at <= request.scheduled_at:
        yield field_error("expires_at", "conflict", "It would expire before it is scheduled.")


def _template(
    request: NotificationInput, wrong: Collection[str], templates: Mapping[str, Parts]
) -> Iterator[dict[str, str]]:
    if request.template is None:
        return
    parts = templates.get(request.template)
    if parts is None:
        yield field_error("template", "unknown_template", "There is no template with this name.")
        return
    for index, channel in enumerate(request.channels if request.channels != "all" else ()):
        if channel in CHANNELS and channel not in parts:
            yield field_error(
                f"channels[{index}]", "no_content", f"The template has no content for {channel}."
            )
    if not {"payload", "channels"} & set(wrong):
        yield from _missing(request, parts)


def _missing(request: NotificationInput, parts: Parts) -> Iterator[dict[str, str]]:
    needed = {name for channel in channels_of(request, parts) for name in _variables(parts, channel)}
    for name in sorted(needed - request.payload.keys()):
        yield field_error(f"payload.{name}", "required", "The template needs this variable.")


def _variables(parts: Parts, channel: str) -> Sequence[str]:
    return parts[channel].variables if channel in parts else ()
