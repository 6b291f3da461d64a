"""Slack by incoming webhook: https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks."""

from __future__ import annotations

from apps.integrations.contract import (
    Accepted,
    Message,
    OneAtATime,
    Outcome,
    PermanentFailure,
    TemporaryFailure,
    UnknownOutcome,
)
from apps.integrations.hooks import DEAD, Hooks, by_status
from apps.integrations.http import not_understood, retry_after
from apps.integrations.session import Answer
from apps.integrations.slack.text import body_of

_PROHIBITED = PermanentFailure("not_permitted")

# By the word in the answer's body; one that is not here counts as its HTTP status. All of them:
# https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks#handling_errors
BY_WORD: dict[str, Outcome] = {
    "no_service": DEAD,  # 404: the webhook is disabled, removed, or invalid
    "no_service_id": DEAD,  # its service id is missing or invalid
    "no_active_hooks": DEAD,  # 404: the webhook is disabled
    "no_team": DEAD,  # the workspace is missing or invalid
    "team_disabled": DEAD,  # the workspace is no longer active
    "invalid_token": DEAD,  # 403: the URL's secret part is wrong, or expired
    "channel_not_found": DEAD,  # 404: the channel does not exist; a webhook has but one
    "channel_is_archived": PermanentFailure("archived"),  # 410: it may be unarchived
    "user_not_found": PermanentFailure("user_not_found"),  # 400: the person may be let in again
    "action_prohibited": _PROHIBITED,  # 403: an administrator has restricted it
    "posting_to_general_channel_denied": _PROHIBITED,  # 403: only some may post to #general
    "invalid_payload": PermanentFailure("rejected"),  # 400: ours to mend
    "no_text": PermanentFailure("invalid_content"),  # 400
    "too_many_attachments": PermanentFailure("rejected"),  # 400: we send none
    # 500: "something strange and unusual happened"; nothing was posted.
    # https://docs.slack.dev/changelog/2016-05-17-changes-to-errors-for-incoming-webhooks
    "rollup_error": TemporaryFailure("unavailable"),
}


class SlackWebhookAdapter(OneAtATime):
    """One message a call, `batch_size` calls in the air; the message's address is the webhook's URL.

    A URL must be on https://hooks.slack.com, or below `base_url`, another host that takes Slack's webhooks.
    `allow` has the networks that are connected to although they are not on the internet, as
    "10.1.0.0/16, fd12::/48". `timeout` is seconds.
    """

    key = "slack_webhook"
    channel = "chat"
    kinds = frozenset({"slack_webhook"})

    def __init__(
        self, *, base_url: str = "", allow: str = "", timeout: float = 10.0, batch_size: int = 32
    ) -> None:
        self.timeout = timeout
        self.batch_size = batch_size
        self._hooks = Hooks(
            "hooks.slack.com", base_url=base_url, allow=allow, timeout=timeout, connections=batch_size
        )

    async def close(self) -> None:
        """Close the pooled connections."""
        await self._hooks.close()

    async def send(self, message: Message) -> Outcome:
        """See the contract. Slack answers "ok", and no id."""
        body = body_of(message)
        if isinstance(body, PermanentFailure):
            return body
        answer = await self._hooks.post(message.address, body)
        return _outcome(answer) if isinstance(answer, Answer) else answer


def _outcome(answer: Answer) -> Outcome:
    word = answer.body[:100].decode(errors="replace").strip()
    if answer.status == 200:
        return Accepted() if word == "ok" else not_understood(answer.body)
    general = by_status(answer.status, answer.headers, answer.body)
    if isinstance(general, UnknownOutcome):  # a gateway's answer, whatever its body says
        return general
    outcome = BY_WORD.get(word, general)
    wait = retry_after(answer.headers)
    if isinstance(outcome, TemporaryFailure) and wait is not None:
        return TemporaryFailure(outcome.code, wait)
    return outcome
