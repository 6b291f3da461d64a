"""What one person would get by each channel, rendered as delivery renders it. Reads only."""

from __future__ import annotations

from typing import Any

from apps.content import versions
from apps.content.rendering import RenderingError
from apps.content.samples import recipient_of
from apps.notifications import contents, planning
from apps.notifications.contents import Content, Rendered
from apps.notifications.intake import Order
from apps.users import places
from apps.users.people import Person
from project import ids
from project.api import Problem, field_error

# What a channel has no place for, whatever the template has there.
_LEFT_OUT: dict[str, dict[str, Any]] = {"sms": {"subject": "", "html": ""}, "email": {}}


def preview(order: Order, person: Person) -> dict[str, Rendered]:
    """The texts by channel. Raises Problem 422, which names each channel whose template does not render."""
    version = versions.load([order.version_id])[order.version_id] if order.version_id is not None else None
    content = Content(ids.uuid7(), order.title, order.body, version, order.payload)
    recipient = recipient_of(person)
    rendered: dict[str, Rendered] = {}
    errors = []
    for channel in _channels(order, person):
        try:
            parts = contents.rendered(content, channel, recipient)
        except RenderingError as error:
            errors.append(field_error(f"template.{channel}", "not_rendered", str(error)))
        else:
            rendered[channel] = parts._replace(**_LEFT_OUT.get(channel, {"html": ""}))
    if errors:
        raise Problem(422, "not_rendered", "The template does not render with this.", errors=errors)
    return rendered


def _channels(order: Order, person: Person) -> list[str]:
    found = places.places([person.id], order.channels)
    return planning.channels_for(order.channels, person, found, all_channels=order.all_channels)
