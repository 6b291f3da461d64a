"""Whom the run writes to: plain people, some with a client, and some whose addresses the simulator plays."""

from __future__ import annotations

from dataclasses import dataclass

import orjson

from tests.chaos.client import Client

PLAIN = 600
LISTENING = 12  # of the plain ones
# By magic address (apps/integrations/simulator/faults.py); e-mail shares a request with others, so a fault
# of the whole request would be theirs too.
BY_EMAIL = ("reject", "bounce", "complain", "optout")
BY_PHONE = {
    "reject": "01", "optout": "02", "gateway": "05", "hang": "06", "nonsense": "07", "slow": "08",
    "flaky": "09", "drop": "10", "bounce": "11", "complain": "12", "stop": "13",
}  # fmt: skip
OF_EACH = 3
BAD_ANSWERS = ("5550905", "5550907")  # gateway and nonsense: an answer comes, and tells nothing


@dataclass(frozen=True)
class People:
    """Their ids. `odd`: of the magic ones, by the channel that is magic."""

    plain: list[int]
    odd: dict[str, list[int]]
    probe: int

    @property
    def listening(self) -> list[int]:
        return self.plain[:LISTENING]


async def make(client: Client) -> People:
    """All of them, through the API."""
    plain = await _put(client, [_person(f"plain-{number}", number) for number in range(PLAIN)])
    emails = [
        {"external_id": f"{fault}-{n}", "email": f"odd{n}+sim-{fault}@example.com"}
        for fault in BY_EMAIL
        for n in range(OF_EACH)
    ]
    phones = [
        {"external_id": f"phone-{fault}-{n}", "phone": f"+150{n}55509{code}"}
        for fault, code in BY_PHONE.items()
        for n in range(OF_EACH)
    ]
    odd = {"email": await _put(client, emails), "sms": await _put(client, phones)}
    (probe,) = await _put(client, [_person("probe", PLAIN)])
    return People(plain, odd, probe)


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
