"""One Mail Send request through the official SDK, and what that lacks: a timeout, silence, cheap bodies."""

from __future__ import annotations

import logging
from http.client import HTTPException
from urllib.error import URLError

from python_http_client.exceptions import HTTPError
from sendgrid import SendGridAPIClient

from apps.integrations.contract import Outcome, TemporaryFailure, UnknownOutcome
from apps.integrations.http import MISCONFIGURED_WAIT
from apps.integrations.session import Answer


class Body(bytes):
    """JSON that is encoded already, in the guise the SDK wants.

    The SDK would encode with `json` (5 times slower than orjson on 500 personalizations) and, at any log
    level, write the whole payload into a debug line it then throws away; it sees a short text here instead.
    """

    def encode(self, _encoding: str) -> Body:
        """What the SDK calls on a body whose content type is not exactly `application/json`."""
        return self

    def __str__(self) -> str:
        return f"<{len(self)} bytes>"

    __repr__ = __str__


class Transport:
    """Blocking and thread-safe. One connection per request, as the SDK does it.

    A kept connection that the vendor closes while it is idle would leave a whole request unknown now and
    then; a handshake shared by up to 500 messages costs less than that.
    """

    def __init__(self, api_key: str, base_url: str) -> None:
        # The SDK logs the key, payloads and answers at DEBUG. A filter, since levels can be set elsewhere.
        logging.getLogger("python_http_client.client").addFilter(_nothing)
        client = SendGridAPIClient(api_key, host=base_url.rstrip("/")).client
        client.request_headers["Content-Type"] = "application/json; charset=utf-8"
        self._post = client.mail.send.post

    def post(self, body: bytes, timeout: float) -> Answer | Outcome:
        """The vendor's answer, or the outcome without one. `timeout`: seconds, of each socket operation."""
        try:
            answer = self._post(request_body=Body(body), timeout=timeout)
            return Answer(answer.status_code, answer.headers, answer.body)
        except HTTPError as error:
            return Answer(error.status_code, error.headers, error.body)
        except URLError:
            # urllib wraps what goes wrong before the last byte of the request was handed over: DNS, refusal,
            # TLS, a broken write. The vendor cannot have read a whole request.
            return TemporaryFailure("unreachable")
        except TimeoutError:
            return UnknownOutcome("timeout")
        except (OSError, HTTPException):
            return UnknownOutcome("disconnected")
        except ValueError:  # the key or the URL cannot be written into a request
            return TemporaryFailure("misconfigured", MISCONFIGURED_WAIT)


def _nothing(_record: logging.LogRecord) -> bool:
    return False
