"""SMS through Vonage's Messages API, version 1: https://developer.vonage.com/en/api/messages."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import orjson

from apps.integrations.contract import (
    Accepted,
    Message,
    OneAtATime,
    Outcome,
    PermanentFailure,
    TemporaryFailure,
    UnknownOutcome,
)
from apps.integrations.http import MISCONFIGURED_WAIT, by_exception, by_status, retry_after
from apps.integrations.session import Answer, Session
from apps.integrations.vonage.credentials import OfApplication, of_account

_INVALID = PermanentFailure("invalid_address", address_is_dead=True)
_SENDER = TemporaryFailure("misconfigured", MISCONFIGURED_WAIT)
_ACCOUNT = TemporaryFailure("unauthorized", MISCONFIGURED_WAIT)
_BALANCE = TemporaryFailure("low_balance", MISCONFIGURED_WAIT)

# By what a refusal (4xx) says of itself; the first that is here decides: the parameters it names as invalid,
# its title, and the code at the end of its type. Codes: https://developer.vonage.com/en/api-errors/messages;
# titles and parameters: https://developer.vonage.com/en/api/messages#errors. The same title has had several
# codes (an invalid sender is 1120 and 1420) and some codes several meanings (1130, 1150): those are not here.
# What is not counts as its HTTP status: apps/integrations/http.py.
BY_REASON: dict[str, Outcome] = {
    "to": _INVALID,
    "from": _SENDER,
    "text": PermanentFailure("invalid_content"),  # missing, or over 1,000 characters
    "Invalid recipient": _INVALID,
    "Invalid sender": _SENDER,
    "1000": TemporaryFailure("rate_limited"),
    "1030": TemporaryFailure("unavailable"),  # an internal error
    "1050": PermanentFailure("barred"),  # the number is on the vendor's black list
    "1060": _ACCOUNT,  # the account is barred
    "1070": _BALANCE,  # not enough credit
    "1080": _ACCOUNT,  # the account may not use this API
    "1120": _SENDER,  # the country does not take this sender
    "1140": _SENDER,  # a facility the account does not have
    "1160": _SENDER,  # a trial account, which writes to listed numbers only
    "1170": _INVALID,  # the number is missing or invalid
    "1190": _INVALID,  # absent for good: to be removed from the database
    # The block is the vendor's and each further message would be refused; a START from the person lifts both.
    "1240": PermanentFailure("opted_out", address_is_dead=True),
    "1320": UnknownOutcome("already_sent"),
    "1420": _SENDER,
    "1430": _INVALID,
    "low-balance": _BALANCE,  # https://developer.vonage.com/en/api-errors#low-balance
}

# Seconds, of the SMS API, which carries them: https://developer.vonage.com/en/api/sms#send-an-sms
SHORTEST_TTL, LONGEST_TTL = 20, 604_800


class VonageAdapter(OneAtATime):
    """One message a call, `batch_size` calls in the air. An account has 30 calls a second to begin with.

    `api_key` and `api_secret` are the account's. With an `application_id` and its `private_key` (PEM) the
    messages are that application's, and key and secret may be empty. Raises ValueError if that key is none.
    `sender` is a number or a sender name. `timeout` is seconds. `status_callback` is where Vonage reports
    what became of a message; without it, where the application or the account says. `base_url` may be a
    region's, such as https://api-eu.vonage.com.
    """

    key = "vonage"
    channel = "sms"
    secrets = frozenset({"api_secret", "private_key"})

    def __init__(
        self,
        api_key: str,
        api_secret: str,
        sender: str,
        *,
        application_id: str = "",
        private_key: str = "",
        base_url: str = "https://api.nexmo.com",
        timeout: float = 10.0,
        batch_size: int = 16,
        status_callback: str = "",
    ) -> None:
        self.timeout = timeout
        self.batch_size = batch_size
        by_token = application_id and private_key
        self._credentials = (
            OfApplication(application_id, private_key) if by_token else of_account(api_key, api_secret)
        )
        self._sender = sender.removeprefix("+")
        self._callback = {"webhook_url": status_callback, "webhook_version": "v1"} if status_callback else {}
        self._url = f"{base_url.rstrip('/')}/v1/messages"
        self._session = Session(timeout, connections=batch_size)

    async def close(self) -> None:
        """Close the pooled connections."""
        await self._session.close()

    async def send(self, message: Message) -> Outcome:
        """See the contract."""
        try:
            body = orjson.dumps(self._fields(message))
        except orjson.JSONEncodeError:  # text that is not Unicode
            return PermanentFailure("invalid_content")
        headers = {"Content-Type": "application/json", "Authorization": self._credentials()}
        try:
            return _outcome(await self._session.post(self._url, body, headers))
        except Exception as error:
            return by_exception(error)

    def _fields(self, message: Message) -> dict[str, Any]:
        return {
            "channel": "sms",
            "message_type": "text",
            "to": message.address.removeprefix("+"),
            "from": self._sender,
            "text": message.text,
            "client_ref": f"{message.target}:{message.attempt}",  # of 100 characters
            "sms": {"encoding_type": "auto"},
            **_ttl(message),
            **self._callback,
        }


def _ttl(message: Message) -> dict[str, int]:
    """How long delivery is tried: 72 hours, unless the message expires."""
    if message.expires_at is None:
        return {}
    left = int((message.expires_at - datetime.now(UTC)).total_seconds())
    return {"ttl": min(max(left, SHORTEST_TTL), LONGEST_TTL)}


def _outcome(answer: Answer) -> Outcome:
    fields = _object(answer.body)
    if 200 <= answer.status < 300 and isinstance(id := fields.get("message_uuid"), str) and id:
        return Accepted(id)
    general = by_status(answer.status, answer.headers, answer.body)
    if not 400 <= answer.status < 500:
        return general
    outcome = next((BY_REASON[reason] for reason in _reasons(fields) if reason in BY_REASON), general)
    wait = retry_after(answer.headers)
    if isinstance(outcome, TemporaryFailure) and wait is not None:
        return TemporaryFailure(outcome.code, wait)
    return outcome


def _reasons(problem: dict[str, Any]) -> Iterator[str]:
    """What a problem (RFC 9457) is about, the most precise first."""
    invalid = problem.get("invalid_parameters")
    for parameter in invalid if isinstance(invalid, list) else ():
        if isinstance(parameter, dict):
            yield str(parameter.get("name"))
    yield str(problem.get("title"))
    yield str(problem.get("type")).rpartition("#")[2]


def _object(body: bytes) -> dict[str, Any]:
    """The object in an answer; an empty one for what is none."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}
