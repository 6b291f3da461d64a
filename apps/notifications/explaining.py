"""The story of a target in short sentences, in the order of time, for a person who asks why. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from apps.notifications.because import Made, because, label, moment
from apps.notifications.inbox_models import InboxItem
from apps.notifications.models import DeliveryAttempt, Notification, NotificationTarget, TargetDecision
from apps.notifications.statuses import AttemptOutcome, Reason, Status

# A person's choices that decisions were made by, those that still stand: by user, type and channel.
Choices = Mapping[tuple[int, str, str], Made]


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """What is known of a target: its decisions and attempts, oldest first, and its item in an inbox."""

    notification: Notification
    target: NotificationTarget
    decisions: Sequence[TargetDecision]
    attempts: Sequence[DeliveryAttempt]
    choices: Choices
    item: InboxItem | None


class _Event(NamedTuple):
    at: datetime
    sentence: str


def explain(story: Story) -> list[str]:
    """What became of it and why, each sentence with a full stop. Times are UTC."""
    events = [*_beginning(story), *_decided(story), *_tried(story), *_reported(story), *_ended(story)]
    events.sort(key=lambda event: event.at)  # of the same moment in the order they are told here
    return [event.sentence for event in events] + _now(story)


def _beginning(story: Story) -> Iterator[_Event]:
    at = story.notification.created_at
    yield _Event(at, f"Accepted {moment(at)}.")
    if story.notification.critical:
        yield _Event(at, "It is critical: it goes out whatever the person has chosen.")


def _decided(story: Story) -> Iterator[_Event]:
    for decision in story.decisions:
        detail = decision.detail
        until = f" until {moment(decision.until, detail.get('zone'))}" if decision.until else ""
        head = "merged" if detail.get("rule") == "merge" else decision.status
        made = _made(story, decision)
        why = because(detail, decision.reason, channel=story.target.channel, made=made)
        yield _Event(decision.at, _sentence(f"{head}{_when(story, decision.at)}{until}", why))


def _made(story: Story, decision: TargetDecision) -> Made | None:
    """The choice it was decided by, if that has not been made anew since."""
    made = story.choices.get(key_of(story.target, decision))
    return made if made and made.at <= decision.at else None


def key_of(target: NotificationTarget, decision: TargetDecision) -> tuple[int, str, str]:
    """By what `Choices` has the choice that this was decided by, if it was by one."""
    return target.user_id, str(decision.detail.get("type")), str(decision.detail.get("channel"))


_OUTCOMES: dict[str, str] = {
    AttemptOutcome.ACCEPTED: "Sent by {provider} at {at}.",
    AttemptOutcome.TEMPORARY: "Tried by {provider} at {at}: a temporary failure{code}.",
    AttemptOutcome.PERMANENT: "Refused by {provider} at {at}{code}.",
    AttemptOutcome.UNKNOWN: "Given to {provider} at {at}, and nobody knows whether it was sent{code}.",
}


def _tried(story: Story) -> Iterator[_Event]:
    for attempt in story.attempts:
        at = attempt.finished_at or attempt.started_at
        code = f" ({attempt.code})" if attempt.code else ""
        text = _OUTCOMES[attempt.outcome]
        yield _Event(at, text.format(provider=attempt.provider, at=moment(at), code=code))


_REPORTS = {
    "bounced_at": "The provider reported at {at} that it did not arrive.",
    "opened_at": "Opened at {at}.",
    "clicked_at": "A link in it was clicked at {at}.",
    "complained_at": "Reported as spam at {at}.",
    "cancel_asked_at": "Cancelling was asked for at {at}, while it may have been on its way.",
}
_DONE_IN_INBOX = {
    "seen_at": "Seen in the inbox at {at}.",
    "read_at": "Read in the inbox at {at}.",
    "acted_at": "Its button {row.action} was pressed at {at}.",
    "archived_at": "Archived in the inbox at {at}.",
}


def _reported(story: Story) -> Iterator[_Event]:
    target = story.target
    in_app = target.channel == "in_app"
    accepted = any(attempt.outcome == AttemptOutcome.ACCEPTED for attempt in story.attempts)
    sent = {} if in_app or accepted else {"sent_at": "Sent at {at}."}
    arrived = {"delivered_at": "Put into the inbox at {at}." if in_app else "Delivered at {at}."}
    yield from _stamped(target, sent | arrived | _REPORTS)
    if story.item is not None:
        yield from _stamped(story.item, _DONE_IN_INBOX)


def _stamped(row: NotificationTarget | InboxItem, texts: Mapping[str, str]) -> Iterator[_Event]:
    """Of each of these columns that has a time, its text."""
    for name, text in texts.items():
        at = getattr(row, name)
        if at is not None:
            yield _Event(at, text.format(at=moment(at), row=row))


_ENDS: dict[str, str] = {
    Status.SKIPPED: "skipped",
    Status.CANCELLED: "cancelled",
    Status.EXPIRED: "expired",
    Status.FAILED: "failed",
    Status.DEAD: "given up",
}


def _ended(story: Story) -> Iterator[_Event]:
    """How it ended, where no decision tells it."""
    target = story.target
    head = _ENDS.get(target.status)
    if head is None or target.settled_at is None or _last_decided(story) == target.status:
        return
    why = "" if target.reason == Reason.CANCELLED else label(target.reason)
    yield _Event(target.settled_at, _sentence(f"{head}{_when(story, target.settled_at)}", why))


_STANDS: dict[str, str] = {
    Status.SENDING: "It is being sent.",
    Status.UNKNOWN: "A receipt may still tell.",
    Status.DEAD: "A person may send it again.",
}


def _now(story: Story) -> list[str]:
    """What it waits for, where no decision tells it."""
    target = story.target
    if target.held_until and _last_decided(story) != Status.HELD:
        return [_sentence(f"held until {moment(target.held_until)}", label(target.reason))]
    if target.status == Status.RETRYING and target.next_attempt_at:
        return [f"The next attempt is due {moment(target.next_attempt_at)}."]
    if target.status == Status.QUEUED:
        waits = label(target.reason)  # the lane's, if it does
        return [f"It {waits if waits.startswith('waits') else 'waits for a worker'}."]
    return [_STANDS[target.status]] if target.status in _STANDS else []


def _last_decided(story: Story) -> str:
    return story.decisions[-1].status if story.decisions else ""


def _when(story: Story, at: datetime) -> str:
    """When, where it was not at once."""
    text = moment(at)
    return "" if text == moment(story.notification.created_at) else f" at {text}"


def _sentence(what: str, why: str) -> str:
    return f"{what[:1].upper()}{what[1:]}{': ' if why else ''}{why}."
