"""A message as Slack takes it, by webhook and by its Web API alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from apps.integrations.contract import Message, PermanentFailure

# "Slack will truncate messages containing more than 40,000 characters": half a message is none.
# https://docs.slack.dev/changelog/2018-04-truncating-really-long-messages
LONGEST = 40_000  # characters, as sent
QUIET = {"unfurl_links": False, "unfurl_media": False}  # no previews of what a text links to
EVENT_TYPE = "carillon_message"
# https://docs.slack.dev/messaging/formatting-message-text#escaping. It also keeps a text from naming
# <!channel> or <@U…>, which would call people.
ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


def body_of(message: Message, **more: Any) -> bytes | PermanentFailure:
    """The request's JSON, or why there can be none. `more` goes into it as it is.

    The subject is a bold line above the text. No blocks: a section takes 3,000 characters, a text 40,000.
    """
    text = _marked_up(message)
    if not text:
        return PermanentFailure("invalid_content")
    if len(text) > LONGEST:
        return PermanentFailure("too_large")
    try:
        return orjson.dumps({"text": text, **QUIET, "metadata": _metadata(message), **more})
    except TypeError:  # text that is not Unicode
        return PermanentFailure("invalid_content")


def _metadata(message: Message) -> Mapping[str, Any]:
    """Our reference: https://docs.slack.dev/messaging/message-metadata. (`client_msg_id` is not for bots.)"""
    payload = {"target": str(message.target), "attempt": str(message.attempt)}
    return {"event_type": EVENT_TYPE, "event_payload": payload}


def _marked_up(message: Message) -> str:
    subject = " ".join(message.subject.split())
    bold = f"*{subject}*" if subject else ""
    return f"{bold}\n{message.text}".strip().translate(ESCAPES)
