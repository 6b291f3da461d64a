"""What a check finds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Violation:
    """`kind`: lost, duplicated or wrong, as the last line counts them. `of_time`: also a machine that is too
    busy brings it about: what is late, and calls that time out without a fault."""

    invariant: str
    kind: str
    text: str
    of_time: bool = False


Found = Iterator[Violation]
