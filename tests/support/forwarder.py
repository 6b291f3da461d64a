"""A TCP forwarder between a process and a server, to take the server away without touching it."""

from __future__ import annotations

import contextlib
import socket
import threading

QUICKLY = 0.02  # seconds


class Forwarder:
    """Listens on `port` and forwards to a port of this machine, until told otherwise."""

    def __init__(self, to: int) -> None:
        self._to = to
        self._pairs: list[_Pair] = []
        self._swallows = False
        self._flows = threading.Event()
        self._listens = False
        self.port = 0
        self.mend()

    def mend(self) -> None:
        """Work again. Connections that were swallowed stay so, as after a firewall's restart."""
        self._swallows = False
        self._flows.set()
        if not self._listens:
            listener = socket.create_server(("127.0.0.1", self.port))
            listener.settimeout(QUICKLY)
            self.port = listener.getsockname()[1]
            self._listens = True
            self._thread = threading.Thread(target=self._accept, args=[listener], daemon=True)
            self._thread.start()

    def cut(self) -> None:
        """Close all connections and refuse new ones, as when the server is gone."""
        self._listens = False
        self._thread.join()
        self._flows.set()
        while self._pairs:
            self._pairs.pop().close()

    def swallow(self) -> None:
        """Let bytes vanish and never answer, as when a network is gone."""
        self._swallows = True
        for pair in self._pairs:
            pair.swallows = True

    def hold(self) -> None:
        """Keep all bytes back until it is mended, as when the server's machine stands still."""
        self._flows.clear()

    def _accept(self, listener: socket.socket) -> None:
        with listener:
            while self._listens:
                with contextlib.suppress(TimeoutError):
                    client = listener.accept()[0]
                    self._pairs.append(_Pair(client, self._to, flows=self._flows, swallows=self._swallows))


class _Pair:
    """A connection to us and ours to the server."""

    def __init__(self, client: socket.socket, to: int, *, flows: threading.Event, swallows: bool) -> None:
        self.swallows = swallows
        self._flows = flows
        self._ends = [client]
        with contextlib.suppress(OSError):  # the server is gone by itself
            self._ends.append(socket.create_connection(("127.0.0.1", to)))
        if len(self._ends) == 1:
            client.close()
            return
        for source, target in (self._ends, self._ends[::-1]):
            source.settimeout(None)
            threading.Thread(target=self._pump, args=[source, target], daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                self._flows.wait()
                if not self.swallows:
                    target.sendall(data)
        if not self.swallows:
            self.close()

    def close(self) -> None:
        for end in self._ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
