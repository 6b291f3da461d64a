"""Which fault a request gets: by a script, by a magic address, or none."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from dataclasses import dataclass

# What a request may meet. The last two digits are the magic number: any phone number that ends in
# 555 09NN, such as +1 500 555 0901. In an e-mail address it is the tag: anna+sim-reject@example.com.
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
_BY_NUMBER = {f"55509{number}": fault for fault, number in FAULTS.items()}
_TAG = re.compile(r"\+sim-([a-z]+)@")


def magic(address: str) -> str:
    """The fault that is written into the address, or "accept"."""
    if address.startswith("+"):
        return _BY_NUMBER.get(address[-7:], "accept")
    if "+sim-" not in address:  # much cheaper than the pattern, and nearly always so
        return "accept"
    found = _TAG.search(address)
    return found[1] if found and found[1] in FAULTS else "accept"


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
