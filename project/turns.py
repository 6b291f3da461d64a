"""Which of its lanes a worker listens to first: the more urgent one, and of equals the one that waited."""

from __future__ import annotations

from kombu.utils.scheduling import round_robin_cycle


class ByUrgency(round_robin_cycle):  # type: ignore[type-arg]  # generic in its stubs only
    """Kombu's order of queues, for the lanes of several groups, which are listed by their urgency.

    In a fixed order the lanes of the last channel would not be heard for as long as those of the first are
    rung again and again.
    """

    items: list[str]

    def rotate(self, last_used: str) -> None:
        """The lane that was just heard comes after the others of its urgency."""
        equals = [n for n, lane in enumerate(self.items) if _urgency(lane) == _urgency(last_used)]
        if last_used in self.items:
            self.items.insert(equals[-1], self.items.pop(self.items.index(last_used)))


def _urgency(lane: str) -> str:
    return lane.rpartition(".")[2]
