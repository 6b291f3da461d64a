"""boto3's SESv2 client, with nothing taken from the environment and the leaving of a request made visible."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import boto3
from botocore.config import Config
from botocore.configprovider import BOTOCORE_DEFAUT_SESSION_VARIABLES
from botocore.session import Session


class GivenUp(Exception):
    """Nobody waits for the message any more, and none of its body has left."""


class Call:
    """One message on its way. The lock decides which was first: giving up, or the body's first byte."""

    def __init__(self) -> None:
        self.left = False
        self._given_up = False
        self._lock = threading.Lock()

    def give_up(self) -> None:
        """From here on nothing of it may leave, unless it has."""
        with self._lock:
            self._given_up = True

    def body(self, content: bytes) -> Iterator[bytes]:
        """The body as it is taken to be sent: when there is a connection, and the head has gone."""
        with self._lock:
            if self._given_up:
                raise GivenUp
            self.left = True
        yield content


class Transport:
    """Blocking and thread-safe. Costs 0.3 s to make: one per adapter, in a thread.

    `credentials`: id, secret and session token ("" for none). Raises what boto3 raises for a region or a URL
    that cannot be.
    """

    def __init__(
        self, credentials: tuple[str, str, str], region: str, base_url: str, config: Mapping[str, Any]
    ) -> None:
        isolated = _isolated()
        isolated.set_credentials(*credentials)  # by boto3 empty ones would be looked for elsewhere
        session = boto3.session.Session(botocore_session=isolated, region_name=region)
        self._client = session.client("sesv2", endpoint_url=base_url or None, config=_config(config))
        self._client.meta.events.register("before-send.sesv2.SendEmail", self._watch)
        self._now = threading.local()
        _silence()

    def send(self, call: Call, request: Mapping[str, Any]) -> str:
        """The vendor's id of the message it took. Raises botocore's exceptions, or GivenUp within one."""
        self._now.call = call
        return str(self._client.send_email(**request)["MessageId"])

    def _watch(self, request: Any, **_: Any) -> None:
        """boto3 tells of no difference between a request that never left and one that did."""
        call: Call = self._now.call
        request.body = call.body(request.body)

    def close(self) -> None:
        """Close the pooled connections."""
        self._client.close()


def _silence() -> None:
    """At DEBUG the SDK's modules log requests, session tokens and answers, each by a logger of its own.

    By filters, since levels can be set elsewhere; when the client is made, which imports what it needs.
    """
    for name in list(logging.root.manager.loggerDict):
        if name.partition(".")[0] == "botocore":
            logging.getLogger(name).addFilter(_nothing)


def _nothing(_record: logging.LogRecord) -> bool:
    return False


def _isolated() -> Session:
    """A session that knows the SDK's defaults, and no variable, profile or file of this machine's."""
    variables = {
        name: (None, None, default, convert)
        for name, (_, _, default, convert) in BOTOCORE_DEFAUT_SESSION_VARIABLES.items()
    }
    nowhere = (None, None, os.devnull, None)
    return Session(session_vars={**variables, "config_file": nowhere, "credentials_file": nowhere})


def _config(config: Mapping[str, Any]) -> Config:
    return Config(
        **config,
        retries={"total_max_attempts": 1, "mode": "standard"},
        proxies={},  # None would ask the environment
        ignore_configured_endpoint_urls=True,
    )
