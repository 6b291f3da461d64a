"""What was accepted, one JSON line per message, in a file that only grows."""

from __future__ import annotations

import fcntl
import os
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import orjson

RECENT = 500  # messages kept in memory, for the page
STRIDE = 1_000  # sequence numbers between two known places in the file


class Entry(TypedDict):
    """One accepted message, as the vendor's part read it from the wire."""

    channel: str
    id: str  # what the vendor answers as the message's id
    target: str
    attempt: str
    address: str
    subject: str
    text: str
    html: str
    service: NotRequired[str]  # of a provider that is several
    headers: NotRequired[dict[str, str]]  # of an e-mail that can be unsubscribed: those that say how
    key: NotRequired[str]  # by which a repetition is recognised, where the provider has such a thing


def unsubscribing(entry: Entry, headers: Mapping[str, Any]) -> Entry:
    """The entry with those of its mail's headers that say how to unsubscribe, if it has any."""
    found = {name: str(value) for name, value in headers.items() if name.startswith("List-Unsubscribe")}
    return {**entry, "headers": found} if found else entry


class Ledger:
    """Lines are {seq, at, provider} and an Entry; `seq` counts from 1 without gaps, also over restarts.

    A line is written (not fsynced: a crash of the process loses nothing, a power cut may) before the
    acceptance is answered. One process at a time may hold the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.seq = 0
        self.providers: Counter[str] = Counter()
        self.channels: Counter[str] = Counter()
        self.recent: deque[dict[str, Any]] = deque(maxlen=RECENT)
        self._places = [(1, 0)]  # (sequence number, byte offset of its line)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab", buffering=0)
        fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._size = self._replay()

    def append(self, provider: str, entries: Sequence[Entry]) -> None:
        """Write the entries in one go."""
        now, first = round(time.time(), 6), self.seq + 1
        lines = [
            {"seq": seq, "at": now, "provider": provider, **entry} for seq, entry in enumerate(entries, first)
        ]
        data = b"".join([orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE) for line in lines])
        self._remember(first, self._size)
        self._write(data)
        self.seq += len(lines)
        self._size += len(data)
        self.providers[provider] += len(lines)
        self.channels.update(entry["channel"] for entry in entries)
        self.recent.extend(lines)

    def read(self, after: int = 0, limit: int = 1_000) -> bytes:
        """Up to `limit` lines, those after that sequence number."""
        start, offset = next(place for place in reversed(self._places) if place[0] <= after + 1)
        with self.path.open("rb") as file:
            file.seek(offset)
            return b"".join(islice(file, after + 1 - start, after + 1 - start + limit))

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def _write(self, data: bytes) -> None:
        while data:
            data = data[self._file.write(data) :]

    def _remember(self, seq: int, offset: int) -> None:
        if seq >= self._places[-1][0] + STRIDE:
            self._places.append((seq, offset))

    def _replay(self) -> int:
        """Read what an earlier run wrote; returns the size. Cuts off a line a crash left unfinished."""
        size = 0
        with self.path.open("rb") as file:
            for raw in file:
                if not raw.endswith(b"\n"):
                    os.truncate(self.path, size)
                    break
                self._count(orjson.loads(raw), size)
                size += len(raw)
        return size

    def _count(self, line: dict[str, Any], offset: int) -> None:
        self.seq = line["seq"]
        self._remember(self.seq, offset)
        self.providers[line["provider"]] += 1
        self.channels[line["channel"]] += 1
        self.recent.append(line)
