"""A small load generator: blocking sockets in threads, prepared requests. The cores are for the server."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Result:
    """Of one run. Latencies in seconds."""

    requests: int
    seconds: float
    latencies: list[float]

    @property
    def per_second(self) -> float:
        return self.requests / self.seconds

    @property
    def p99_ms(self) -> float:
        return sorted(self.latencies)[int(len(self.latencies) * 0.99)] * 1_000


def run(port: int, make: Callable[[], bytes], *, connections: int, seconds: float) -> Result:
    """Send what `make` makes over so many kept connections. Raises AssertionError for an answer but 202."""
    latencies: list[list[float]] = [[] for _ in range(connections)]
    wrong: list[bytes] = []
    end = time.perf_counter() + seconds

    def work(mine: list[float]) -> None:
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while not wrong and (started := time.perf_counter()) < end:
                connection.sendall(make())
                answer = _read(connection)
                mine.append(time.perf_counter() - started)
                if b" 202 " not in answer[:16]:
                    wrong.append(answer)

    threads = [threading.Thread(target=work, args=[mine]) for mine in latencies]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - started
    if wrong:
        raise AssertionError(wrong[0][:2_000].decode(errors="replace"))
    together = [latency for mine in latencies for latency in mine]
    return Result(len(together), took, together)


def _read(connection: socket.socket) -> bytes:
    """One answer with a Content-Length."""
    data = connection.recv(65_536)
    while b"\r\n\r\n" not in data:
        data += connection.recv(65_536)
    head, _, body = data.partition(b"\r\n\r\n")
    length = next(
        int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")
    )
    got = len(body)
    while got < length:
        got += len(connection.recv(1_048_576))
    return head


def post(path: str, body: bytes, headers: str = "") -> bytes:
    """A prepared request."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{headers}"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
