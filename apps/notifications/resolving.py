"""From what a caller wrote to what intake takes: people and templates looked up, every mistake named."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from apps.content import catalog
from apps.content.catalog import Catalog
from apps.notifications.caller import Caller
from apps.notifications.checks import channels_of, errors_of
from apps.notifications.intake import Order
from apps.notifications.planning import Recipient
from apps.notifications.schemas import Errors, NotificationInput, Reading, Target
from apps.users import people
from apps.users.people import Person
from apps.users.schemas import UserInput

Resolved = tuple[Order, list[Recipient]]


class _People:
    """The people named by any of the requests, in one statement; inline users in a second."""

    def __init__(self, organization_id: int, requests: Sequence[NotificationInput]) -> None:
        named = {
            target for request in requests for target in request.targets if isinstance(target, int | str)
        }
        found = people.reach(
            organization_id,
            ids={one for one in named if isinstance(one, int)},
            external_ids={one for one in named if isinstance(one, str)},
        )
        self._organization_id = organization_id
        self.known: dict[int | str, Recipient] = {}
        self._keep(found)

    def upsert(self, requests: Sequence[NotificationInput]) -> None:
        """Write the inline users of these requests, once each."""
        inline = [
            target for request in requests for target in request.targets if isinstance(target, UserInput)
        ]
        if inline:
            self._keep(people.upsert(self._organization_id, inline).values())

    def _keep(self, found: Iterable[Recipient]) -> None:
        """By both ids: a person who is named by one and changed by the other is the changed one."""
        for person in found:
            self.known[person.id] = person
            if person.external_id is not None:
                self.known[person.external_id] = person

    def of(self, request: NotificationInput) -> list[Recipient]:
        """The request's people, each once."""
        keys = (target.external_id if isinstance(target, UserInput) else target for target in request.targets)
        return list({self.known[key].id: self.known[key] for key in keys}.values())


def resolve(caller: Caller, readings: Sequence[Reading], now: datetime) -> list[Resolved | Errors]:
    """Each request's order and people, or its errors. One statement for any number of requests, one more for
    templates and one for users they bring along; nothing is written for a request with errors."""
    requests = [reading.request for reading in readings]
    everyone = _People(caller.organization_id, requests)
    found = _catalog(caller.organization_id, requests)
    errors = [errors_of(reading, everyone.known, found, now) for reading in readings]
    everyone.upsert([request for request, wrong in zip(requests, errors, strict=True) if not wrong])
    return [
        wrong or (_order(caller, request, found), everyone.of(request))
        for request, wrong in zip(requests, errors, strict=True)
    ]


def foresee(caller: Caller, reading: Reading, now: datetime) -> tuple[Order, Person] | Errors:
    """As `resolve` of one, with the first person only, as the request would leave them. Writes nothing."""
    request = reading.request
    known = _People(caller.organization_id, [request]).known
    found = _catalog(caller.organization_id, [request])
    if errors := errors_of(reading, known, found, now):
        return errors
    return _order(caller, request, found), _first_person(caller.organization_id, request.targets, now)


def _first_person(organization_id: int, targets: Sequence[Target], now: datetime) -> Person:
    first = targets[0]
    name = first.external_id if isinstance(first, UserInput) else first
    found = people.find(
        organization_id,
        ids=[name] if isinstance(name, int) else (),
        external_ids=[name] if isinstance(name, str) else (),
    )
    person = found[0] if found else people.unwritten(str(name), now)
    for target in targets:  # who is named in one place and changed in another is the changed one
        if isinstance(target, UserInput) and target.external_id == person.external_id:
            person = Person(**(person._asdict() | target.given()))
    return person


def _catalog(organization_id: int, requests: Sequence[NotificationInput]) -> Catalog:
    named = {request.template for request in requests if request.template is not None}
    types = {request.type for request in requests if request.type is not None}
    return catalog.find(organization_id, templates=named, types=types)


def _order(caller: Caller, request: NotificationInput, found: Catalog) -> Order:
    template = found.templates[request.template] if request.template is not None else None
    type = found.types.get(request.type or (template.type if template else ""))
    channels = channels_of(request, template, type)
    if type and template:
        type = type.among(template.version.channels)
    related = request.related_object
    return Order(
        organization_id=caller.organization_id,
        client_id=caller.client_id,
        title=request.title,
        body=request.body,
        type=type,
        template=request.template or "",
        version_id=template.version.id if template else None,
        payload=request.payload,
        channels=channels,
        all_channels=request.channels == "all",
        priority=request.priority,
        keep_lane=caller.keeps_lane,
        scheduled_at=request.scheduled_at,
        local_time=request.local_time or "",
        dedupe_key=request.dedupe_key or "",
        collapse_key=request.collapse_key or "",
        expires_at=request.expires_at,
        max_attempts=request.max_attempts,
        related_type=related.type if related else "",
        related_id=related.id if related else "",
        metadata=request.metadata,
    )
