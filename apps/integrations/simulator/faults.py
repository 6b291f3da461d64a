"""Which fault a request gets (by a script, by a magic address, or none), and what becomes of its messages."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from dataclasses import dataclass

# What a request may meet. The last two digits are the magic number: any phone number or token that ends in
# 555 09NN, such as +1 500 555 0901. Elsewhere it is a word: anna+sim-reject@example.com, /hooks/sim-reject.
FAULTS = {
    "accept": "00",
    "reject": "01",  # the address is invalid, in the vendor's words; a bulk request is refused whole
    "optout": "02",  # the person has opted out, where the vendor says so in its answer; else accepted
    "ratelimit": "03",  # too many requests, try again in a second
    "error": "04",  # the vendor is unavailable
    "gateway": "05",  # a gateway gave up on the vendor
    "hang": "06",  # accepted, and no answer until the client leaves
    "nonsense": "07",  # accepted, and answered with what is no answer
    "slow": "08",  # accepted after half a second
    "flaky": "09",  # unavailable for a target's first attempt, accepted afterwards
    "drop": "10",  # accepted, and the connection cut without an answer
}
# What becomes of a message that was accepted, where receipts are turned on; without one it is delivered.
# Written into the address like a fault.
FATES = {
    "optout": "02",  # dropped, where the vendor did not say so in its answer
    "bounce": "11",  # it bounces: there is no such mailbox or number
    "complain": "12",  # delivered, then called spam; by SMS, answered with STOP
    "stop": "13",  # delivered, then unsubscribed from; by SMS, answered with STOP
}
_TAG = re.compile(r"\bsim-([a-z]+)\b")


def _by_number(names: dict[str, str]) -> dict[str, str]:
    return {f"55509{number}": name for name, number in names.items()}


_FAULTS, _FATES = _by_number(FAULTS), _by_number(FATES)


def magic(address: str) -> str:
    """The fault that is written into the address, or "accept"."""
    return _written(address, FAULTS, _FAULTS) or "accept"


def fate(address: str) -> str:
    """The fate that is written into the address, or ""."""
    return _written(address, FATES, _FATES)


def _written(address: str, names: dict[str, str], by_number: dict[str, str]) -> str:
    if "sim-" not in address:  # much cheaper than the pattern, and nearly always so
        return by_number.get(address[-7:], "")
    found = _TAG.search(address)
    return found[1] if found and found[1] in names else ""


@dataclass(slots=True)
class Scripted:
    """A fault for the next `times` requests to `provider` ("*" is any), until a monotonic time."""

    provider: str
    fault: str
    times: int
    until: float = float("inf")


class Script:
    """Scripted faults come before magic ones, in the order they were given."""

    def __init__(self) -> None:
        self.scripted: list[Scripted] = []
        self._met: set[str] = set()

    def next_fault(self, provider: str, addresses: Iterable[str]) -> str:
        """The fault of one request. Of several magic addresses in it, `reject` wins, then the first."""
        if self.scripted and (fault := self._next_scripted(provider)):
            return fault
        found = [fault for address in addresses if (fault := magic(address)) != "accept"]
        return "reject" if "reject" in found else found[0] if found else "accept"

    def _next_scripted(self, provider: str) -> str:
        now = time.monotonic()
        self.scripted = [entry for entry in self.scripted if entry.times > 0 and entry.until > now]
        for entry in self.scripted:
            if entry.provider in ("*", provider):
                entry.times -= 1
                return entry.fault
        return ""

    def first_meeting(self, keys: Iterable[str]) -> bool:
        """Whether any of these was never asked about before."""
        unmet = set(keys) - self._met
        self._met |= unmet
        return bool(unmet)
