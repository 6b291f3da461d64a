"""Which faults come when. Pure: the same seed, number of faults and profile give the same plan.

Faults come in rounds. Within a round they overlap; then everything is healed, and in a calm, while the bulk
lanes are full, the critical lane is measured. Kinds are dealt like cards: each comes once in every deal.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from project.dev.processes import WORKERS

GROUPS = WORKERS
SENDING = ("email", "sms", "push+webhook+chat")  # hit more often: their calls are in the air for long
# The providers, as the simulator calls them, and the channel of each.
PROVIDERS = {
    "sendgrid": "email",
    "ses": "email",
    "twilio": "sms",
    "vonage": "sms",
    "fcm": "push",
    "apns": "push",
    "webpush": "push",
    "webhook": "webhook",
    "slack_webhook": "chat",
    "teams": "chat",
}
TWINS = ("sendgrid", "ses", "twilio", "vonage")  # what one of them cannot take, the other of its channel can
LINKS = ("database", "database", "broker", "broker", *PROVIDERS)
ALL = "all"


def _each(*faults: str) -> tuple[str, ...]:
    """Each of the faults at each of the providers, oftener at the twins, and at all of them."""
    return tuple(f"{fault} {whom}" for fault in faults for whom in (*PROVIDERS, *TWINS, ALL, ALL))


@dataclass(frozen=True)
class Kind:
    """A kind of fault: whom or how it may hit, and how many seconds it lasts in each profile.

    None of the seconds: it is over in a moment, and what it hit has to recover by itself.
    """

    name: str
    variants: tuple[str, ...] = ("",)
    quick: float = 0.0
    full: float = 0.0


KINDS = (
    Kind("kill-worker", (*GROUPS, *SENDING, *SENDING)),
    Kind("kill-api", ("all", "one")),  # the server with its processes, or one of these
    Kind("kill-beat", ("beat", "beat-2")),
    Kind("kill-daphne"),
    Kind("kill-postgres"),
    Kind("kill-broker"),
    Kind("flush-broker"),
    Kind("pause-broker", quick=4, full=10),
    Kind("broker-gone", quick=8, full=30),
    Kind("cut-connections"),
    Kind("long-transaction", ("idle", "running"), quick=20, full=25),
    Kind("slow-link", LINKS, quick=6, full=10),
    Kind("reset-link", LINKS, quick=5, full=10),
    Kind("black-hole", LINKS, quick=5, full=8),
    Kind("provider-errors", _each("ratelimit", "error"), quick=5, full=8),
    Kind("provider-refuses", (*PROVIDERS, *TWINS), quick=4, full=6),
    Kind("provider-silent", _each("hang", "drop", "late"), quick=4, full=6),  # accepted, the answer is lost
    Kind("credentials-refused", TWINS, quick=4, full=6),
    Kind("provider-drained", TWINS, quick=10, full=14),  # by an operator, who resumes it later
    Kind("provider-limited", (*TWINS, "fcm", "apns"), quick=6, full=10),  # to a few messages a second
    Kind("receipts-disturbed", quick=8, full=15),  # twice, out of order and late
    Kind("clock-off", tuple(f"{sign}{group}" for group in GROUPS for sign in "+-"), quick=8, full=15),
    Kind("worker-stops", ("stuck", "paused"), quick=6, full=7),
)
BY_NAME = {kind.name: kind for kind in KINDS}


@dataclass(frozen=True)
class Profile:
    """How a run is paced. Seconds."""

    deliveries: int
    faults: int
    in_round: int  # faults in one round
    between: float  # from one fault of a round to the next, on average
    calm: float  # without faults, at the end of each round


PROFILES = {
    "quick": Profile(deliveries=6_000, faults=23, in_round=12, between=2.6, calm=8.0),
    "full": Profile(deliveries=200_000, faults=200, in_round=10, between=3.5, calm=10.0),
}


@dataclass(frozen=True)
class Planned:
    """One fault: `at` seconds after its round began, for so many seconds."""

    number: int
    kind: str
    variant: str
    at: float
    seconds: float


def make(seed: int, faults: int, profile: str) -> list[list[Planned]]:
    """The rounds."""
    chance = random.Random(seed)
    pace, dealt = PROFILES[profile], _dealt(chance)
    rounds: list[list[Planned]] = []
    for number in range(faults):
        place = number % pace.in_round
        if place == 0:
            rounds.append([])
        kind = next(dealt)
        rounds[-1].append(
            Planned(
                number=number + 1,
                kind=kind.name,
                variant=chance.choice(kind.variants),
                at=round((place + chance.random()) * pace.between, 2),
                seconds=kind.quick if profile == "quick" else kind.full,
            )
        )
    return rounds


def _dealt(chance: random.Random) -> Iterator[Kind]:
    while True:
        yield from chance.sample(KINDS, len(KINDS))
