"""What receipts and refusals say of addresses, handed on to `apps.preferences.suppression` here alone."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from apps.integrations.contract import PermanentFailure, ReceiptKind
from apps.notifications.transitions import Claimed
from apps.preferences import suppression
from apps.preferences.suppression import Cause, Fact
from apps.users import places

_CAUSES = {
    ReceiptKind.BOUNCED: Cause.BOUNCED,
    ReceiptKind.COMPLAINED: Cause.COMPLAINED,
    ReceiptKind.OPTED_OUT: Cause.OPTED_OUT,
}


class Heard(NamedTuple):
    """What a receipt says of an address. `organization_id` None: it answers no message of anybody's."""

    at: datetime
    kind: str
    organization_id: int | None
    channel: str
    address: str


def learn(heard: Iterable[Heard]) -> None:
    """Suppress, or lift the opt-outs of who opted in again; in the caller's transaction, summaries locked.

    What happened last counts. Of both at the same time stopping does.
    """
    facts: set[Fact] = set()
    lifts: set[tuple[str, str, int | None]] = set()
    for one in sorted(heard, key=lambda one: (one.at, one.kind != ReceiptKind.OPTED_IN)):
        if one.kind == ReceiptKind.OPTED_IN:
            lifts.add((one.channel, one.address, one.organization_id))
            facts -= {fact for fact in facts if _is_lifted(fact, one)}
        else:
            cause = _CAUSES[ReceiptKind(one.kind)].value
            facts.add(Fact(one.organization_id, one.channel, one.address, cause))
    for channel, address, organization_id in sorted(lifts, key=lambda lift: (lift[1], lift[0])):
        suppression.lift(channel, address, organization_id=organization_id, causes=[Cause.OPTED_OUT.value])
    if facts:
        suppression.suppress(list(facts))


def _is_lifted(fact: Fact, by: Heard) -> bool:
    same = (fact.channel, fact.address, fact.cause) == (by.channel, by.address, Cause.OPTED_OUT)
    return same and by.organization_id in (None, fact.organization_id)


OPTED_OUT = "opted_out"  # an adapter's code: the vendor refuses because the person told it to stop


def refused(channel: str, refusals: Iterable[tuple[Claimed, PermanentFailure]]) -> None:
    """Suppress those whose address the provider calls dead, and deactivate the device or endpoint it is; in
    the caller's transaction, summaries locked."""
    dead = [(target, failure) for target, failure in refusals if failure.address_is_dead]
    if dead:
        suppression.suppress(
            [Fact(t.organization_id, channel, t.address, _cause(failure).value) for t, failure in dead]
        )
        for code in {failure.code for _, failure in dead} if channel in places.CHANNELS else ():
            places.deactivate([t.address for t, failure in dead if failure.code == code], code)


def _cause(failure: PermanentFailure) -> Cause:
    return Cause.OPTED_OUT if failure.code == OPTED_OUT else Cause.INVALID
