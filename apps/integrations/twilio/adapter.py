"""SMS through Twilio: https://www.twilio.com/docs/messaging/api/message-resource#create-a-message-resource."""

from __future__ import annotations

import orjson
from twilio.rest import Client

from apps.integrations.contract import (
    Accepted,
    Message,
    OneAtATime,
    Outcome,
    PermanentFailure,
    TemporaryFailure,
    UnknownOutcome,
)
from apps.integrations.http import MISCONFIGURED_WAIT, by_exception, by_status, not_understood, retry_after
from apps.integrations.twilio.transport import NotUnderstood, Refused, Transport

_INVALID = PermanentFailure("invalid_address", address_is_dead=True)
_SENDER = TemporaryFailure("misconfigured", MISCONFIGURED_WAIT)
_ACCOUNT = TemporaryFailure("unauthorized", MISCONFIGURED_WAIT)

# By Twilio's error code; each is https://www.twilio.com/docs/api/errors/<code>. Codes get split now and
# then, so one that is not here counts as its HTTP status: apps/integrations/http.py.
BY_CODE: dict[int, Outcome] = {
    20003: _ACCOUNT,  # authentication failed
    20005: _ACCOUNT,  # account not active
    20404: _SENDER,  # no such account
    20429: TemporaryFailure("rate_limited"),  # too many requests
    21211: _INVALID,  # invalid 'To' phone number
    21212: _SENDER,  # invalid 'From'
    21217: _INVALID,  # phone number does not appear to be valid
    21408: PermanentFailure("region_not_enabled"),  # no permission to send to this region
    21602: PermanentFailure("invalid_content"),  # message body is required
    21603: _SENDER,  # 'From' is required
    21604: _INVALID,  # 'To' is required
    21606: _SENDER,  # 'From' cannot send messages
    # The block is Twilio's and each further message would be refused; a START from the person lifts both.
    21610: PermanentFailure("opted_out", address_is_dead=True),
    21611: TemporaryFailure("rate_limited"),  # the sender's queue is full
    21612: PermanentFailure("no_route"),  # this 'To' is not reachable from this 'From'
    21614: _INVALID,  # not a mobile number
    21617: PermanentFailure("too_large"),  # body over 1,600 characters
    21635: _INVALID,  # a landline
    21659: _SENDER,  # 'From' is not a Twilio number
    21660: _SENDER,  # 'From' belongs to another account
    21703: _SENDER,  # the Messaging Service has no sender
}


class TwilioAdapter(OneAtATime):
    """One message a call, `batch_size` calls in the air.

    `sender` is a number, a short code, a sender name, or a Messaging Service's SID (MG…). `timeout` is
    seconds. `status_callback` is where Twilio reports what became of a message; target and attempt are
    added to its query, since a call that timed out leaves no SID to match a report by.
    """

    key = "twilio"
    channel = "sms"
    secrets = frozenset({"auth_token"})

    def __init__(
        self,
        account_sid: str,
        auth_token: str,
        sender: str,
        *,
        base_url: str = "https://api.twilio.com",
        timeout: float = 10.0,
        batch_size: int = 128,
        status_callback: str = "",
    ) -> None:
        self.timeout = timeout
        self.batch_size = batch_size
        self._transport = Transport(account_sid, auth_token, base_url, timeout, connections=batch_size)
        # An environment of its own, or the SDK would take region and edge from the process's.
        client = Client(account_sid, auth_token, http_client=self._transport, environment={"TWILIO_EDGE": ""})
        self._create = client.messages.create_async
        is_service = sender.startswith("MG") and len(sender) == 34
        self._sender = {"messaging_service_sid" if is_service else "from_": sender}
        self._callback = status_callback and status_callback + ("&" if "?" in status_callback else "?")

    async def close(self) -> None:
        """Close the pooled connections."""
        await self._transport.close()

    async def send(self, message: Message) -> Outcome:
        """See the contract."""
        optional = {"status_callback": self._callback_of(message)} if self._callback else {}
        try:
            created = await self._create(to=message.address, body=message.text, **self._sender, **optional)
        except Refused as refusal:
            return _outcome(refusal)
        except NotUnderstood as answer:
            return not_understood(answer.content)
        except Exception as error:
            return by_exception(error)
        return Accepted(created.sid)

    def _callback_of(self, message: Message) -> str:
        return f"{self._callback}target={message.target}&attempt={message.attempt}"


def _outcome(refusal: Refused) -> Outcome:
    general = by_status(refusal.status, refusal.headers, refusal.content)
    if isinstance(general, UnknownOutcome):  # a gateway's answer, whatever its body says
        return general
    outcome = BY_CODE.get(_code(refusal.content), general)
    wait = retry_after(refusal.headers)
    if isinstance(outcome, TemporaryFailure) and wait is not None:
        return TemporaryFailure(outcome.code, wait)
    return outcome


def _code(content: bytes) -> int:
    """Twilio's code in an error's body: https://www.twilio.com/docs/usage/twilios-response#errors."""
    try:
        return int(orjson.loads(content)["code"])
    except (ValueError, TypeError, KeyError):
        return 0
