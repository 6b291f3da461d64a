"""What a provider was asked on a connection and has not answered, message by message, told by its bytes."""

from __future__ import annotations

import re
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator

# Each message of a request has one of these: SendGrid, SES, FCM and Slack in their JSON, Twilio in its form,
# Vonage by its reference, Web Push, webhooks and Teams by a header.
MESSAGE = re.compile(rb'attempt%3D|"(?:carillon_)?attempt"|"client_ref"|\r\nTopic: |\r\nCarillon-Attempt: ')
_LONGEST = len(b"\r\nCarillon-Attempt: ") - 1

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"  # https://www.rfc-editor.org/rfc/rfc9113#section-3.4
_HEAD = 9  # bytes of a frame before its payload: https://www.rfc-editor.org/rfc/rfc9113#section-4.1
_DATA, _HEADERS = 0x0, 0x1
_END_STREAM = 0x1


class Wire(ABC):
    """One connection's messages. `unanswered` is of now: what is still in the air is among them."""

    @property
    @abstractmethod
    def pending(self) -> int:
        """Messages asked that may still be answered."""

    @property
    def unanswered(self) -> int:
        return self.pending

    @abstractmethod
    def asked(self, data: bytes) -> None:
        """The client has sent this, whether it was passed on or not."""

    @abstractmethod
    def answered(self, data: bytes) -> None:
        """This was passed on to the client."""


class Http1(Wire):
    """One request at a time: any answer is that to all that was asked."""

    def __init__(self) -> None:
        self._pending = 0
        self._tail = b""

    @property
    def pending(self) -> int:
        return self._pending

    def asked(self, data: bytes) -> None:
        """Count the messages, also one whose mark is split between two reads."""
        seen = self._tail + data
        self._pending += len(MESSAGE.findall(seen)) - len(MESSAGE.findall(self._tail))
        self._tail = seen[-_LONGEST:]

    def answered(self, data: bytes) -> None:
        self._pending = 0


class Http2(Wire):
    """Each stream is a request of one message. One that is answered after `patience` seconds is counted all
    the same: its client may have left, which is not said on a connection that others go on using."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._late = 0
        self._streams: dict[int, float] = {}  # asked and not answered -> when, by the monotonic clock
        self._asking, self._answering = _Frames(PREFACE), _Frames(b"")

    @property
    def pending(self) -> int:
        return len(self._streams)

    @property
    def unanswered(self) -> int:
        return self._late + self.pending

    def asked(self, data: bytes) -> None:
        for kind, _, stream in self._asking.take(data):
            if kind == _HEADERS:
                self._streams[stream] = time.monotonic()

    def answered(self, data: bytes) -> None:
        for kind, flags, stream in self._answering.take(data):
            if kind in (_DATA, _HEADERS) and flags & _END_STREAM and stream in self._streams:
                self._late += time.monotonic() - self._streams.pop(stream) > self._patience


class _Frames:
    """The heads of one direction's frames, as bytes come in."""

    def __init__(self, preface: bytes) -> None:
        self._skip = len(preface)
        self._data = b""

    def take(self, data: bytes) -> Iterator[tuple[int, int, int]]:
        """Type, flags and stream of the frames whose heads are complete now."""
        self._data += data
        while True:
            skipped = min(self._skip, len(self._data))
            self._data, self._skip = self._data[skipped:], self._skip - skipped
            if self._skip or len(self._data) < _HEAD:
                return
            head = self._data[:_HEAD]
            self._skip = _HEAD + int.from_bytes(head[:3])
            yield head[3], head[4], int.from_bytes(head[5:]) & 0x7FFFFFFF
