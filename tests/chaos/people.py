"""Whom the run writes to: plain people, some with a client, and some whose addresses the simulator plays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import orjson

from project.queues import CHANNELS
from tests.chaos.client import Client
from tests.chaos.plan import PROVIDERS
from tests.chaos.stage import Stage

if TYPE_CHECKING:  # imported where Django is ready
    from apps.users.models import Device, Endpoint

PLAIN = 600
LISTENING = 12  # of the plain ones
CHANGING = 6
CHOOSING = 24
# By magic address (apps/integrations/simulator/faults.py); SendGrid's e-mail shares a request with others, so
# a fault of the whole request would be theirs too.
BY_EMAIL = ("reject", "bounce", "complain", "optout")
BY_PHONE = {
    "reject": "01", "optout": "02", "gateway": "05", "hang": "06", "nonsense": "07", "slow": "08",
    "flaky": "09", "drop": "10", "bounce": "11", "complain": "12", "stop": "13",
}  # fmt: skip
# Those that would end unknown are of the providers that have no breaker: of one that serves its addresses
# alone, three in a row would stop it for everybody.
BY_PLACE = {
    "fcm": ("reject", "slow", "flaky"),
    "apns": ("reject", "slow", "flaky"),
    "webpush": ("reject", "gateway", "hang", "slow", "flaky", "drop"),
    "webhook": ("reject", "gateway", "hang", "nonsense", "slow", "flaky", "drop"),
    "slack_webhook": ("reject", "slow", "flaky"),
    "teams": ("reject", "slow", "flaky"),
}
OF_EACH = 3
# An answer comes, and tells nothing. (A webhook's status tells enough.)
BAD_ANSWERS = {"phone": ("gateway", "nonsense"), "webpush": ("gateway",)}
APNS_FAULTS = {"reject": "01", "slow": "08", "flaky": "09"}
KINDS = {kind: channel for kind, channel in PROVIDERS.items() if channel not in ("email", "sms")}


@dataclass(frozen=True)
class Changing:
    """A person whose app comes and goes, and its token, which may be dead from the beginning."""

    id: int
    token: str


@dataclass(frozen=True)
class People:
    """Their ids. `odd`: of the magic ones, by the channel that is magic."""

    plain: list[int]
    odd: dict[str, list[int]]
    changing: list[Changing]
    choosing: dict[int, str]  # and their external ids
    probe: int
    places: Counter[tuple[int, str]] = field(default_factory=Counter)  # by person and channel
    bad_answers: set[str] = field(default_factory=set)  # targets' addresses

    @property
    def listening(self) -> list[int]:
        return self.plain[:LISTENING]

    def targets(self, users: Sequence[int], channels: Sequence[str]) -> int:
        """How many targets such a notification has, to people whose places stay what they are."""
        return sum(
            self.places[user, channel] if channel in KINDS.values() else 1
            for user in users
            for channel in channels
        )


async def make(client: Client) -> People:
    """All of them, through the API."""
    plain = await _put(client, [_person(f"plain-{number}", number) for number in range(PLAIN)])
    emails = [
        {"external_id": f"{fault}-{n}", "email": f"odd{n}+sim-{fault}@example.com"}
        for fault in BY_EMAIL
        for n in range(OF_EACH)
    ]
    phones = [
        {"external_id": f"phone-{fault}-{n}", "phone": _phone(fault, n)}
        for fault in BY_PHONE
        for n in range(OF_EACH)
    ]
    odd = {"email": await _put(client, emails), "sms": await _put(client, phones)}
    for channel in dict.fromkeys(KINDS.values()):
        names = [f"{kind}-{fault}-{n}" for kind, fault, n in _odd_places(channel)]
        odd[channel] = await _put(client, [{"external_id": name} for name in names])
    names = [f"changing-{n}" for n in range(CHANGING)]
    ids = await _put(client, [{"external_id": name} for name in names])
    changing = [
        Changing(id, f"changing-app-token-{id}{'-sim-reject' if n % 2 else ''}") for n, id in enumerate(ids)
    ]
    chosen = [_person(f"choosing-{n}", PLAIN + 1 + n) for n in range(CHOOSING)]
    names = [person["external_id"] for person in chosen]
    choosing = dict(zip(await _put(client, chosen), names, strict=True))
    (probe,) = await _put(client, [_person("probe", PLAIN)])
    bad = {_phone(fault, n) for fault in BAD_ANSWERS["phone"] for n in range(OF_EACH)}
    return People(plain, odd, changing, choosing, probe, bad_answers=bad)


def _phone(fault: str, n: int) -> str:
    return f"+150{n}55509{BY_PHONE[fault]}"


def _person(name: str, number: int) -> dict[str, str]:
    return {
        "external_id": name,
        "name": name,
        "email": f"{name}@example.com",
        "phone": f"+4930{number:07d}",
    }


async def _put(client: Client, users: list[dict[str, str]]) -> list[int]:
    answer = await client.call("PUT", "/api/users/", orjson.dumps({"users": users}))
    return [result["user"]["id"] for result in answer.json["results"]]


# --- Their devices and endpoints --------------------------------------------------------------------------


def _odd_places(channel: str) -> Iterator[tuple[str, str, int]]:
    """Kind, fault and number of each that is magic in this channel, in the order of `odd`."""
    for kind, faults in BY_PLACE.items():
        if KINDS[kind] == channel:
            yield from ((kind, fault, n) for fault in faults for n in range(OF_EACH))


def settle_in(people: People, stage: Stage) -> None:
    """Give them their places: written directly, as the API takes no plain http.

    A plain person, and one who chooses, has one of each channel; one who listens and the probe have one of
    each kind.
    """
    from apps.users.models import Device, Endpoint
    from apps.users.places import DEVICE_KINDS

    given = list(_given(people))
    devices = [_device(stage, *one) for one in given if one[1] in DEVICE_KINDS]
    endpoints = [_endpoint(stage, *one) for one in given if one[1] not in DEVICE_KINDS]
    Device.objects.bulk_create(devices)
    Endpoint.objects.bulk_create(endpoints)
    for (user, kind, _, fault), place in zip(
        sorted(given, key=lambda one: one[1] not in DEVICE_KINDS), [*devices, *endpoints], strict=True
    ):
        people.places[user, KINDS[kind]] += 1
        if fault in BAD_ANSWERS.get(kind, ()):
            people.bad_answers.add(f"{kind}:{place.pk}")


def _given(people: People) -> Iterator[tuple[int, str, str, str]]:
    """Person, kind, a name that nobody else's has, and the fault if it is magic."""
    several = {*people.listening, people.probe}
    for number, user in enumerate((*people.plain, *people.choosing, people.probe)):
        for channel in CHANNELS:
            kinds = [kind for kind, of in KINDS.items() if of == channel]
            for kind in kinds if user in several else kinds[number % len(kinds) :][:1] if kinds else ():
                yield user, kind, f"n{user}", ""
    for channel in dict.fromkeys(KINDS.values()):
        for (kind, fault, _), user in zip(_odd_places(channel), people.odd[channel], strict=True):
            yield user, kind, f"n{user}", fault


def _device(stage: Stage, user: int, kind: str, name: str, fault: str) -> Device:
    from apps.integrations.webpush.simulated import subscription
    from apps.users.models import Device
    from apps.users.places import digest

    magic = f"{name}-sim-{fault}" if fault else name
    token = {
        "fcm": magic,
        "apns": f"{user:08x}" * 4 + (f"055509{APNS_FAULTS.get(fault, '')}" if fault else "00"),
        "webpush": subscription(f"{stage.link_url('webpush')}/webpush/{magic}"),
    }[kind]
    return Device(organization_id=1, user_id=user, kind=kind, token=token, digest=digest(token))


def _endpoint(stage: Stage, user: int, kind: str, name: str, fault: str) -> Endpoint:
    from apps.integrations.webhook.simulated import SECRET
    from apps.users import signing
    from apps.users.models import Endpoint
    from apps.users.places import digest
    from project import sealing

    magic = f"{name}-sim-{fault}" if fault else name
    path = {
        "webhook": f"hooks/{magic}",
        "slack_webhook": f"services/T0/B0/{magic}",
        "teams": f"workflows/{magic}/triggers/manual/paths/invoke?sig=chaos",
    }[kind]
    address = f"{stage.link_url(kind)}/{path}"
    return Endpoint(
        organization_id=1,
        user_id=user,
        kind=kind,
        address=sealing.seal(address),
        digest=digest(address),
        secrets=signing.sealed([signing.Secret(SECRET)]) if kind == "webhook" else "",
    )
