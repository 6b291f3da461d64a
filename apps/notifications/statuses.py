"""The words for where a target stands and how an attempt ended, and the groups of them."""

from __future__ import annotations

from django.db import models


class Status(models.TextChoices):
    """A target's status. Only `transitions.py` changes it."""

    HELD = "held"  # waits for its time, with a reason
    QUEUED = "queued"  # claimable
    SENDING = "sending"  # claimed by a worker
    RETRYING = "retrying"  # claimable again at its next attempt
    UNKNOWN = "unknown"  # may have been sent; a receipt may still tell
    SENT = "sent"  # accepted by the provider
    DELIVERED = "delivered"  # proven by a receipt, or in the inbox
    SKIPPED = "skipped"  # not to be sent, with a reason
    FAILED = "failed"  # refused for good
    DEAD = "dead"  # given up; a person may re-drive it
    CANCELLED = "cancelled"
    EXPIRED = "expired"


SETTLED = (
    Status.SKIPPED,
    Status.SENT,
    Status.DELIVERED,
    Status.FAILED,
    Status.DEAD,
    Status.CANCELLED,
    Status.EXPIRED,
)
OPEN = tuple(status for status in Status if status not in SETTLED)
CLAIMABLE = (Status.QUEUED, Status.RETRYING)


S = Status

# What may become what, and by which function of `transitions`. `None` is a row that does not exist yet.
MOVES: dict[str, tuple[tuple[Status | None, ...], tuple[Status, ...]]] = {
    "create": ((None,), (S.QUEUED, S.HELD, S.SKIPPED)),
    "redecide": ((S.HELD,), (S.QUEUED, S.HELD, S.SKIPPED, S.EXPIRED)),
    "claim": ((S.QUEUED, S.RETRYING), (S.SENDING,)),
    "give_back": ((S.SENDING,), (S.QUEUED,)),
    "settle": (
        (S.SENDING,),
        (S.SENT, S.RETRYING, S.FAILED, S.DEAD, S.UNKNOWN, S.SKIPPED, S.EXPIRED, S.CANCELLED),
    ),
    "accept": ((S.SENDING, S.RETRYING, S.UNKNOWN, S.DEAD, S.FAILED), (S.SENT,)),
    "repeat_unknown": ((S.UNKNOWN,), (S.RETRYING,)),
    "bury_unknown": ((S.UNKNOWN,), (S.DEAD,)),
    "deliver": ((S.SENDING, S.SENT, S.RETRYING, S.UNKNOWN, S.DEAD, S.FAILED), (S.DELIVERED,)),
    "deliver_in_app": ((S.QUEUED, S.RETRYING), (S.DELIVERED, S.DEAD, S.SKIPPED, S.EXPIRED, S.CANCELLED)),
    "bounce": ((S.SENDING, S.SENT, S.RETRYING, S.UNKNOWN, S.DEAD, S.FAILED), (S.FAILED,)),
    "cancel": ((S.QUEUED, S.HELD, S.RETRYING, S.UNKNOWN), (S.CANCELLED,)),
    "expire": ((S.QUEUED, S.HELD, S.RETRYING, S.UNKNOWN), (S.EXPIRED,)),
    "skip": ((S.QUEUED, S.HELD, S.RETRYING, S.UNKNOWN), (S.SKIPPED,)),
    "redrive": ((S.FAILED, S.DEAD), (S.QUEUED,)),
}


class AttemptOutcome(models.TextChoices):
    """How one call to a provider ended: the adapter contract's four, and nothing else."""

    ACCEPTED = "accepted"
    TEMPORARY = "temporary_failure"
    PERMANENT = "permanent_failure"
    UNKNOWN = "unknown"


class Reason(models.TextChoices):
    """Why a target is held or has ended, where it is ours to say and not a provider's code."""

    SCHEDULED = "scheduled", "waits for the time asked for"
    LOCAL_TIME = "local_time", "waits for the time asked for, where the person is"
    OUTSIDE_HOURS = "outside_hours", "waits for the hours in which the person takes messages"
    QUIET_HOURS = "quiet_hours", "waits for the end of the person's quiet hours"
    LEGAL_HOURS = "legal_hours", "waits for the hours in which the law allows advertising by SMS"
    DIGEST = "digest", "waits for the person's next digest"
    COLLECTED = "collected", "waits in a digest, whose time has come, until the person takes messages"
    OPTED_OUT = "opted_out", "the person does not want this"
    DUPLICATE = "duplicate", "the person was told of the same event before"
    CAPPED = "capped", "the person has had as many of these as they may get for now"
    MERGED = "merged", "went out together with others"
    REPLACED = "replaced", "a newer one with the same collapse_key went out in its place"
    NO_ADDRESS = "no_address", "the person has no address for this channel"
    GONE = "gone", "the device or endpoint is no longer active"
    INACTIVE = "inactive", "the person is deactivated"
    SUPPRESSED = "suppressed", "the address is suppressed: it is dead, or its owner wants nothing more"
    EXPIRES_AT = "expires_at", "too late to be useful"
    CANCELLED = "cancelled", "cancelled by request"
    ATTEMPTS_USED_UP = "attempts_used_up", "every allowed attempt failed"
    NO_TIME_LEFT = "no_time_left", "the next attempt would come after expires_at"
    UNKNOWN_OUTCOME = "unknown_outcome", "it may have been sent; repeating it is a person's decision"
    RENDERING = "rendering", "the template could not be rendered"
    NO_PROVIDER = "no_provider", "no provider is configured for this channel"
    LOCKED = "locked", "waits: the endpoint was sealed with a key that is not in ENCRYPTION_KEYS"
    RATE_LIMITED = "rate_limited", "waits: the providers' limits are used up for the moment"
    PROVIDER_DOWN = "provider_down", "waits: every provider that could take it fails or is drained"
    BOUNCED = "bounced", "the provider reported that it never arrived"
