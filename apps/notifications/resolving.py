"""From what a caller wrote to what intake takes: people and templates looked up, every mistake named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from apps.content.models import NotificationTemplate
from apps.notifications.caller import Caller
from apps.notifications.intake import Order
from apps.notifications.schemas import NotificationInput, times_wrong
from apps.users import people
from apps.users.people import Person
from apps.users.schemas import UserInput
from project.api import field_error
from project.queues import CHANNELS

Errors = list[dict[str, str]]
Resolved = tuple[Order, list[Person]]
Templates = Mapping[str, Mapping[str, NotificationTemplate]]  # name -> channel -> template


class _People:
    """The people named by any of the requests, in one statement; inline users in a second."""

    def __init__(self, organization_id: int, requests: Sequence[NotificationInput]) -> None:
        named = {
            target for request in requests for target in request.targets if not isinstance(target, UserInput)
        }
        found = people.find(
            organization_id,
            ids={one for one in named if isinstance(one, int)},
            external_ids={one for one in named if isinstance(one, str)},
        )
        self._organization_id = organization_id
        self._known: dict[int | str, Person] = {person.id: person for person in found}
        self._known |= {person.external_id: person for person in found if person.external_id is not None}

    def unknown(self, request: NotificationInput) -> Errors:
        """An error per target nobody has."""
        return [
            field_error(f"targets[{index}]", "unknown_user", "There is no user with this id.")
            for index, target in enumerate(request.targets)
            if not isinstance(target, UserInput) and target not in self._known
        ]

    def upsert(self, requests: Sequence[NotificationInput]) -> None:
        """Write the inline users of these requests, once each."""
        inline = [
            target for request in requests for target in request.targets if isinstance(target, UserInput)
        ]
        if inline:
            self._known |= people.upsert(self._organization_id, inline)

    def of(self, request: NotificationInput) -> list[Person]:
        """The request's people, each once."""
        keys = (target.external_id if isinstance(target, UserInput) else target for target in request.targets)
        return list({self._known[key].id: self._known[key] for key in keys}.values())


def resolve(caller: Caller, requests: Sequence[NotificationInput], now: datetime) -> list[Resolved | Errors]:
    """Each request's order and people, or its errors. One statement for any number of requests, one more for
    templates and one for users they bring along; nothing is written for a request with errors."""
    everyone = _People(caller.organization_id, requests)
    templates = _templates(caller.organization_id, {r.template for r in requests if r.template is not None})
    errors = [
        everyone.unknown(request)
        + [field_error(name, "invalid", detail) for name, detail in times_wrong(request, now).items()]
        + _template_errors(request, templates)
        for request in requests
    ]
    everyone.upsert([request for request, wrong in zip(requests, errors, strict=True) if not wrong])
    return [
        wrong or (_order(caller, request, templates), everyone.of(request))
        for request, wrong in zip(requests, errors, strict=True)
    ]


def _templates(organization_id: int, names: set[str]) -> dict[str, dict[str, NotificationTemplate]]:
    found: dict[str, dict[str, NotificationTemplate]] = {}
    if names:
        for template in NotificationTemplate.objects.filter(organization=organization_id, name__in=names):
            found.setdefault(template.name, {})[template.channel] = template
    return found


def _template_errors(request: NotificationInput, templates: Templates) -> Errors:
    if request.template is None:
        return []
    parts = templates.get(request.template)
    if parts is None:
        return [field_error("template", "unknown_template", "There is no template with this name.")]
    wrong = [
        field_error(f"channels[{index}]", "no_content", f"The template has no content for {channel}.")
        for index, channel in enumerate(request.channels if request.channels != "all" else ())
        if channel not in parts
    ]
    needed = sorted({name for channel in _channels(request, parts) for name in _variables(parts, channel)})
    return wrong + [
        field_error(f"payload.{name}", "required", "The template needs this variable.")
        for name in needed
        if name not in request.payload
    ]


def _variables(parts: Mapping[str, NotificationTemplate], channel: str) -> Sequence[str]:
    return parts[channel].variables if channel in parts else ()


def _channels(request: NotificationInput, parts: Mapping[str, NotificationTemplate] | None) -> list[str]:
    if request.channels != "all":
        return list(dict.fromkeys(request.channels))
    return [channel for channel in CHANNELS if parts is None or channel in parts]


def _order(caller: Caller, request: NotificationInput, templates: Templates) -> Order:
    parts = templates[request.template] if request.template is not None else None
    channels = _channels(request, parts)
    related = request.related_object
    return Order(
        organization_id=caller.organization_id,
        client_id=caller.client_id,
        title=request.title,
        body=request.body,
        template=request.template or "",
        content={channel: parts[channel].parts() for channel in channels} if parts is not None else None,
        payload=request.payload,
        channels=channels,
        all_channels=request.channels == "all",
        priority=request.priority,
        keep_lane=caller.keeps_lane,
        scheduled_at=request.scheduled_at,
        expires_at=request.expires_at,
        max_attempts=request.max_attempts,
        related_type=related.type if related else "",
        related_id=related.id if related else "",
        metadata=request.metadata,
    )
