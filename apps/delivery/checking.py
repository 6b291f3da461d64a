"""One test message through a provider, outside of everything else: no target, no attempt, no health."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import NamedTuple

from apps.delivery import accounts, providers
from apps.delivery.models import Provider
from apps.integrations.contract import (
    Accepted,
    Adapter,
    Message,
    Outcome,
    PermanentFailure,
    TemporaryFailure,
    UnknownOutcome,
)
from apps.notifications.statuses import AttemptOutcome
from apps.users import normalise
from project import ids, loop

logger = logging.getLogger(__name__)

GRACE = 5.0  # seconds longer than the adapter's own timeout
SUBJECT = "Test from Carillon"
TEXT = "This is a test message from Carillon. Somebody sent it to see whether a provider works."
# The one spelling of an address, where a channel has one; elsewhere it is the adapter's business.
RULES: dict[str, Callable[[str], str]] = {"email": normalise.email, "sms": normalise.phone}


class Told(NamedTuple):
    """How it ended: for the event, and for the person who asked."""

    outcome: AttemptOutcome
    code: str
    words: str

    @property
    def detail(self) -> str:
        """What the event says: never the address."""
        return f"{self.outcome.value}, {self.code}" if self.code else self.outcome.value


def send(provider: Provider, address: str, *, secrets: tuple[str, ...] = ()) -> Told:
    """Send one message to this address, and wait for its outcome; within the adapter's timeout and GRACE.

    By an adapter of its own, since the row may be inactive or have changed a moment ago. Raises CannotBuild.
    Call it without a transaction.
    """
    adapter = providers.build(accounts.account_of(provider))
    target = ids.target_id()
    message = Message(
        target=target,
        attempt=ids.attempt_id(target, 1),
        address=address,
        subject=SUBJECT,
        text=TEXT,
        secrets=secrets,
    )
    sending = loop.run(_outcome(adapter, message))
    try:
        return _told(sending.result(adapter.timeout + GRACE))
    except TimeoutError:
        sending.cancel()
        return _told(UnknownOutcome("untold"))
    except Exception:  # an adapter raises nothing: what one has done that does, nobody knows
        logger.exception("adapter broke its contract", extra={"provider": provider.name})
        return _told(UnknownOutcome("untold"))


async def _outcome(adapter: Adapter, message: Message) -> Outcome:
    try:
        async for group in adapter.send_batch([message]):
            for _, outcome in group:
                return outcome
        return UnknownOutcome("untold")
    finally:
        await adapter.close()


def _told(outcome: Outcome) -> Told:
    match outcome:
        case Accepted(id):
            known = f" It calls it {id}." if id else ""
            return Told(AttemptOutcome.ACCEPTED, "", f"The provider has accepted it.{known}")
        case TemporaryFailure(code, wait):
            later = f", for {wait:g} s at least" if wait else ""
            return Told(AttemptOutcome.TEMPORARY, code, f"Refused for now{later}: {code}.{_hint(code)}")
        case PermanentFailure(code, is_dead):
            dead = " It says that nothing will ever reach this address." if is_dead else ""
            return Told(AttemptOutcome.PERMANENT, code, f"Refused: {code}.{dead}")
    why = f"Nobody knows how it ended: {outcome.code}. It may have been sent."
    return Told(AttemptOutcome.UNKNOWN, outcome.code, why)


_HINTS = {  # codes of the contract
    "unauthorized": " Look at its credentials.",
    "misconfigured": " Look at its sender and its other options.",
    "unreachable": " No connection: look at its base_url or host, and at the firewall.",
}


def _hint(code: str) -> str:
    return _HINTS.get(code, "")
