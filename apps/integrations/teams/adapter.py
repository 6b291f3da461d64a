"""Microsoft Teams by the webhook of a workflow.

https://learn.microsoft.com/connectors/teams/#microsoft-teams-webhook
"""

from __future__ import annotations

import re
from typing import Any

import orjson

from apps.integrations.contract import (
    Accepted,
    Message,
    OneAtATime,
    Outcome,
    PermanentFailure,
    UnknownOutcome,
)
from apps.integrations.hooks import DEAD, Hooks, by_status, reference
from apps.integrations.http import not_understood
from apps.integrations.session import Answer

# Where triggers have their URLs: once .logic.azure.com, now .environment.api.powerplatform.com.
# https://learn.microsoft.com/troubleshoot/power-platform/power-automate/flow-run-issues/triggers-troubleshoot
# #changes-to-http-or-teams-webhook-trigger-flows
HOSTS = (".logic.azure.com", ".api.powerplatform.com")
# "The approximate message size limit is 28 KB", for all of it. The workflow accepts more, and fails later,
# when nobody hears of it: https://learn.microsoft.com/connectors/teams/#known-issues-and-limitations-with-actions
LARGEST = 28_000  # bytes
RUN = "x-ms-workflow-run-id"  # the run, as the workflow's history has it

_OFF = PermanentFailure("workflow_off")
# By `error.code` of the answer, and what its message says of the workflow's state; the first that fits. One
# that is not here counts as its HTTP status.
# https://learn.microsoft.com/azure/logic-apps/logic-apps-http-endpoint
BY_ERROR: tuple[tuple[str, Outcome], ...] = (
    (r"WorkflowNotFound ", DEAD),  # 404
    (r"WorkflowTriggerIsNotEnabled .*state 'Deleted'", DEAD),  # 400
    (r"WorkflowTriggerIsNotEnabled ", _OFF),  # 400: somebody, or the platform, turned it off
    (r"TriggerInputSchemaMismatch ", PermanentFailure("rejected")),  # 400: its trigger wants other fields
    # 401: not for anyone, or the URL lacks its signature. The trigger's setting can be changed back.
    (r"DirectApiAuthorizationRequired ", PermanentFailure("unauthorized")),
)
# What the older connectors answered with 200, and hosts that speak their language still may:
# https://learn.microsoft.com/microsoftteams/platform/webhooks-and-connectors/how-to/connectors-using
WITHIN = re.compile(rb"returned HTTP error (\d{3})")


class TeamsAdapter(OneAtATime):
    """One message a call, `batch_size` calls in the air; the message's address is the workflow's URL.

    A URL must be on https at Microsoft's hosts for workflows, or below `base_url`, another host that takes
    their requests. `allow` has the networks that are connected to although they are not on the internet, as
    "10.1.0.0/16, fd12::/48". `timeout` is seconds.
    """

    key = "teams"
    channel = "chat"
    kinds = frozenset({"teams"})

    def __init__(
        self, *, base_url: str = "", allow: str = "", timeout: float = 10.0, batch_size: int = 32
    ) -> None:
        self.timeout = timeout
        self.batch_size = batch_size
        self._hooks = Hooks(*HOSTS, base_url=base_url, allow=allow, timeout=timeout, connections=batch_size)

    async def close(self) -> None:
        """Close the pooled connections."""
        await self._hooks.close()

    async def send(self, message: Message) -> Outcome:
        """See the contract. Accepted means that the workflow was started, its run being the id."""
        try:
            body = orjson.dumps(_payload(message))
        except (TypeError, ValueError):  # text that is not Unicode; nothing in it
            return PermanentFailure("invalid_content")
        if len(body) > LARGEST:
            return PermanentFailure("too_large")
        answer = await self._hooks.post(message.address, body, reference(message))
        return _outcome(answer) if isinstance(answer, Answer) else answer


def _payload(message: Message) -> dict[str, Any]:
    """The message as a card: https://adaptivecards.io/explorer/AdaptiveCard.html. Raises ValueError."""
    blocks = [*_title(message.subject), *_lines(message.text)]
    if not blocks:
        raise ValueError("a subject or a text is required")
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "msteams": {"width": "Full"},
        "body": blocks,
    }
    content_type = "application/vnd.microsoft.card.adaptive"
    attachment = {"contentType": content_type, "contentUrl": None, "content": card}
    return {"type": "message", "attachments": [attachment]}


def _title(subject: str) -> list[dict[str, Any]]:
    if not subject.strip():
        return []
    return [
        {"type": "TextBlock", "text": subject, "weight": "Bolder", "size": "Medium", "wrap": True},
    ]


def _lines(text: str) -> list[dict[str, Any]]:
    """A block for each line, since within a block they would run together; a blank line is a gap."""
    blocks: list[dict[str, Any]] = []
    gap = True
    for line in text.splitlines():
        if line.strip():
            spacing = {} if gap else {"spacing": "None"}
            blocks.append({"type": "TextBlock", "text": line, "wrap": True, **spacing})
        gap = not line.strip()
    return blocks


def _outcome(answer: Answer) -> Outcome:
    if answer.status == 202:
        return Accepted(answer.headers.get(RUN, ""))
    if answer.status == 200:
        return _within(answer)
    general = by_status(answer.status, answer.headers, answer.body)
    if isinstance(general, UnknownOutcome):  # a gateway's answer, whatever its body says
        return general
    said = _error(answer.body)
    return next((outcome for pattern, outcome in BY_ERROR if re.match(pattern, said)), general)


def _within(answer: Answer) -> Outcome:
    """Of a 200, which a workflow with an answer of its own gives, and says in it what it likes."""
    if found := WITHIN.search(answer.body):
        return by_status(int(found[1]), answer.headers)
    if answer.headers.get("Content-Type", "").startswith("text/html"):  # a page is no workflow's
        return not_understood(answer.body)
    return Accepted(answer.headers.get(RUN, ""))


def _error(body: bytes) -> str:
    """ "code message" of an error's body, or ""."""
    try:
        error = orjson.loads(body)["error"]
        return f"{error['code']} {error.get('message', '')}"
    except (ValueError, TypeError, KeyError, AttributeError):
        return ""
