"""Slack as an app's bot: https://docs.slack.dev/reference/methods/chat.postMessage."""

from __future__ import annotations

from collections.abc import Mapping
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
from apps.integrations.http import MISCONFIGURED_WAIT, by_exception, by_status, not_understood, retry_after
from apps.integrations.session import Answer, Session
from apps.integrations.slack.text import body_of

_INVALID = PermanentFailure("invalid_address")
_PROHIBITED = PermanentFailure("not_permitted")
_REJECTED = PermanentFailure("rejected")
_TOKEN = TemporaryFailure("unauthorized", MISCONFIGURED_WAIT)
_APP = TemporaryFailure("misconfigured", MISCONFIGURED_WAIT)
_LIMITED = TemporaryFailure("rate_limited")
_DOWN = TemporaryFailure("unavailable")
_UNSURE = UnknownOutcome("vendor_error")

# By the `error` of an answer that is not ok: https://docs.slack.dev/reference/methods/chat.postMessage#errors.
# One that is not here is `rejected`. No address is dead: what the bot does not see is not found, and it may
# be invited; channels are unarchived, and people come back.
BY_ERROR: dict[str, Outcome] = {
    "channel_not_found": _INVALID,  # no such conversation, or a private one the bot is not in
    "user_not_found": _INVALID,
    "not_in_channel": PermanentFailure("not_in_channel"),  # the bot must be invited
    "is_archived": PermanentFailure("archived"),
    "restricted_action": _PROHIBITED,  # a workspace preference prevents the bot from posting
    "restricted_action_read_only_channel": _PROHIBITED,
    "restricted_action_thread_only_channel": _PROHIBITED,
    "msg_too_long": PermanentFailure("too_large"),
    "no_text": PermanentFailure("invalid_content"),
    "invalid_arguments": _REJECTED,
    "messages_tab_disabled": _APP,  # the app's Messages tab is off: it can write to no person
    "metadata_must_be_sent_from_app": _APP,  # the token is not a bot's
    "not_authed": _TOKEN,  # no token
    "invalid_auth": _TOKEN,  # a wrong one, or from an IP address that is not on the list
    "account_inactive": _TOKEN,  # of a deleted bot or workspace
    "token_revoked": _TOKEN,
    "token_expired": _TOKEN,
    "not_allowed_token_type": _TOKEN,
    "missing_scope": _TOKEN,  # chat:write
    "no_permission": _TOKEN,
    "access_denied": _TOKEN,
    "accesslimited": _TOKEN,  # not from this network
    "team_access_not_granted": _TOKEN,
    "two_factor_setup_required": _TOKEN,
    "enterprise_is_restricted": _TOKEN,
    "ekm_access_denied": _TOKEN,  # administrators have suspended posting
    "org_login_required": _DOWN,  # the workspace is moving to an organization
    "team_added_to_org": _DOWN,  # likewise
    "ratelimited": _LIMITED,
    "rate_limited": _LIMITED,
    "message_limit_exceeded": _LIMITED,
    "service_unavailable": _DOWN,
    "request_timeout": _DOWN,  # what arrived of the request was truncated
    # Of both: "It's possible some aspect of the operation succeeded before the error was raised."
    "fatal_error": _UNSURE,
    "internal_error": _UNSURE,
}


class SlackAdapter(OneAtATime):
    """One message a call, `batch_size` calls in the air.

    `bot_token` is an app's (xoxb-…) with the scope chat:write; chat:write.public lets it into public channels
    uninvited. The message's address is the id of a conversation (C…, G…, D…) or of a person (U…). `base_url`
    is the Web API's. `timeout` is seconds.
    """

    key = "slack"
    channel = "chat"
    kinds = frozenset({"slack"})
    secrets = frozenset({"bot_token"})

    def __init__(
        self,
        bot_token: str,
        *,
        base_url: str = "https://slack.com/api",
        timeout: float = 10.0,
        batch_size: int = 32,
    ) -> None:
        self.timeout = timeout
        self.batch_size = batch_size
        self._url = f"{base_url.rstrip('/')}/chat.postMessage"
        self._headers = {
            "Authorization": f"Bearer {bot_token.strip()}",
            "Content-Type": "application/json; charset=utf-8",
        }
        self._session = Session(timeout, connections=batch_size)

    async def close(self) -> None:
        """Close the pooled connections."""
        await self._session.close()

    async def send(self, message: Message) -> Outcome:
        """See the contract."""
        body = body_of(message, channel=message.address)
        if isinstance(body, PermanentFailure):
            return body
        try:
            return _outcome(await self._session.post(self._url, body, self._headers))
        except Exception as error:
            return by_exception(error)


def _outcome(answer: Answer) -> Outcome:
    if answer.status != 200:
        return by_status(answer.status, answer.headers, answer.body)
    said = _json(answer.body)
    if said.get("ok") is True:
        return Accepted(f"{said.get('channel', '')}:{said.get('ts', '')}")
    error = said.get("error")
    if not isinstance(error, str):
        return not_understood(answer.body)
    outcome = BY_ERROR.get(error, _REJECTED)
    wait = retry_after(answer.headers)
    if isinstance(outcome, TemporaryFailure) and wait is not None:
        return TemporaryFailure(outcome.code, wait)
    return outcome


def _json(body: bytes) -> Mapping[str, Any]:
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return said if isinstance(said, dict) else {}
