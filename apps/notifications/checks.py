"""What is wrong with a request beyond its shape. Pure: people and templates have been looked up.

A request whose shape is wrong comes as far as it could be read; what cannot be judged is not.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from datetime import datetime

from apps.content import payloads
from apps.content.catalog import Catalog, Template, TypeRules
from apps.content.versions import Version
from apps.notifications.schemas import Errors, NotificationInput, Reading
from apps.users.schemas import UserInput
from project.api import field_error
from project.queues import CHANNELS

_THERE_ARE = f"There is no such channel. There are: {', '.join(CHANNELS)}."


def errors_of(reading: Reading, known: Collection[int | str], catalog: Catalog, now: datetime) -> Errors:
    """Everything that is wrong with the request, at once."""
    request, shape, wrong = reading
    return [
        *shape,
        *_unknown_users(request, known),
        *_unknown_channels(request),
        *_type(request, catalog),
        *_words(request, wrong),
        *_times(request, now),
        *_template(request, wrong, catalog),
    ]


def channels_of(request: NotificationInput, template: Template | None, type: TypeRules | None) -> list[str]:
    """The channels it may go by, each once. `all` is those the template has content for; if the request names
    none, those of the type among them."""
    if request.channels != "all":
        return list(dict.fromkeys(request.channels))
    named = type.channels if type and "channels" not in request.model_fields_set else ()
    return [
        channel for channel in named or CHANNELS if template is None or channel in template.version.channels
    ]


def _type(request: NotificationInput, catalog: Catalog) -> Iterator[dict[str, str]]:
    if request.type is None:
        return
    template = catalog.templates.get(request.template or "")
    if request.type not in catalog.types:
        yield field_error("type", "unknown_type", "There is no type with this name.")
    elif template and template.type and template.type != request.type:
        yield field_error("type", "conflict", "The template is of another type.")


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
    if request.local_time is not None and request.scheduled_at is not None:
        yield field_error("local_time", "conflict", "Give either scheduled_at or local_time.")
    if request.expires_at is None:
        return
    if request.expires_at <= now:
        yield field_error("expires_at", "past", "This time is past.")
    elif request.scheduled_at is not None and request.expires_at <= request.scheduled_at:
        yield field_error("expires_at", "conflict", "It would expire before it is scheduled.")


def _template(
    request: NotificationInput, wrong: Collection[str], catalog: Catalog
) -> Iterator[dict[str, str]]:
    if request.template is None:
        return
    template = catalog.templates.get(request.template)
    if template is None:
        yield field_error("template", "unknown_template", "There is no template with this name.")
        return
    named = request.channels if request.channels != "all" else ()
    yield from without_content(template.version, named)
    if "payload" not in wrong:
        yield from payloads.told(template.version, request.payload)


def without_content(version: Version, channels: Iterable[str | None]) -> Iterator[dict[str, str]]:
    """The channels there are that it has no content for."""
    for index, channel in enumerate(channels):
        if channel in CHANNELS and channel not in version.channels:
            text = f"The template has no content for {channel}."
            yield field_error(f"channels[{index}]", "no_content", text)
