"""What was asked for, whom it reaches, what was tried, and what needs a person.

The big tables have no foreign keys in the database: checking one per row costs a third of an insert, and
nothing is ever deleted out from under them. Their indexes each name the query they serve.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from apps.notifications.statuses import Status
from apps.users.models import Organization, ServiceClient, User
from project import ids
from project.clock import Now

LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)  # before anything was held
SUMMARY_ABOVE = 100  # targets; up to so many a summary is derived, above it is kept


def soft_key(to: type[models.Model] | str, **options: Any) -> Any:
    """A foreign key of the ORM's only."""
    return models.ForeignKey(to, models.DO_NOTHING, db_constraint=False, db_index=False, **options)


class Notification(models.Model):
    """One accepted request. Where it stands is a summary of its targets; only `cancelled_at` changes."""

    id = models.UUIDField(primary_key=True, default=ids.uuid7, editable=False)
    organization = models.ForeignKey(Organization, models.PROTECT, db_index=False)
    client = models.ForeignKey(ServiceClient, models.PROTECT, null=True, db_index=False)
    title = models.TextField(blank=True)
    body = models.TextField(blank=True)
    type = models.CharField(max_length=100, blank=True, db_default="")  # slug: what people can opt out of
    critical = models.BooleanField(default=False, db_default=False)  # goes out whatever people have chosen
    template = models.CharField(max_length=100, blank=True)  # its slug
    template_version = models.BigIntegerField(null=True)  # pinned at acceptance: a TemplateVersion's id
    content = models.JSONField(null=True)  # of one accepted before versions: channel -> the template's parts
    payload = models.JSONField(default=dict)
    channels = ArrayField(models.CharField(max_length=20))
    all_channels = models.BooleanField(default=False)  # of these, those the person has an address for
    priority = models.CharField(max_length=10)
    bulk = models.BooleanField(default=False)  # goes by the bulk lanes
    scheduled_at = models.DateTimeField(null=True)
    local_time = models.CharField(max_length=19, blank=True, db_default="")  # where each person is
    expires_at = models.DateTimeField(null=True)
    dedupe_key = models.CharField(max_length=255, blank=True, db_default="")
    collapse_key = models.CharField(max_length=255, blank=True, db_default="")
    max_attempts = models.SmallIntegerField()
    related_type = models.CharField(max_length=100, blank=True)
    related_id = models.CharField(max_length=200, blank=True)
    metadata = models.JSONField(default=dict)
    recipient_count = models.IntegerField()  # people asked for
    cancelled_at = models.DateTimeField(null=True)  # when that was first asked for
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        indexes = [
            models.Index(fields=["organization", "-id"], name="notification_newest"),  # the list
            models.Index(  # the list, filtered by related object
                fields=["organization", "related_type", "related_id", "-id"],
                name="notification_related",
                condition=~Q(related_id=""),
            ),
            models.Index(  # the list, filtered by template; the payloads a new version is tried with
                fields=["organization", "template", "-id"],
                name="notification_template",
                condition=~Q(template=""),
            ),
        ]

    def __str__(self) -> str:
        return str(self.id)


class NotificationTarget(models.Model):
    """One recipient x channel x address. Carries the status, which only `transitions.py` changes."""

    id = models.UUIDField(primary_key=True, default=ids.target_id, editable=False)
    notification = soft_key(Notification, related_name="targets")
    organization = soft_key(Organization)
    user = soft_key(User, related_name="targets")
    channel = models.CharField(max_length=20)
    address = models.CharField(max_length=320)  # as it was, normalised, when this was planned
    lane = models.CharField(max_length=30)
    status = models.CharField(max_length=10)
    reason = models.CharField(max_length=60, blank=True)  # ours (`Reason`) or a provider's code
    next_attempt_at = models.DateTimeField(null=True)  # set exactly while it can be claimed
    held_until = models.DateTimeField(null=True)  # set exactly while it is held
    expires_at = models.DateTimeField(null=True)
    claim_id = models.BigIntegerField(null=True)  # the fence of every settle
    attempts = models.SmallIntegerField(default=0)
    attempts_allowed = models.SmallIntegerField()
    created_at = models.DateTimeField(db_default=Now())
    sent_at = models.DateTimeField(null=True)
    delivered_at = models.DateTimeField(null=True)
    settled_at = models.DateTimeField(null=True)
    bounced_at = models.DateTimeField(null=True)
    opened_at = models.DateTimeField(null=True)
    clicked_at = models.DateTimeField(null=True)
    complained_at = models.DateTimeField(null=True)
    cancel_asked_at = models.DateTimeField(null=True)  # while a call may be under way: do not repeat it
    recalled_at = models.DateTimeField(null=True)  # when it was taken out of the inbox again
    merged_into = models.UUIDField(null=True)  # the target that went out in the place of this one

    class Meta:
        indexes = [
            models.Index(fields=["notification", "id"], name="target_of_notification"),
            # Claims. The predicate is on the column a claim clears, not on the status: so a settle changes
            # no indexed column and stays within its page (HOT).
            models.Index(
                fields=["lane", "next_attempt_at", "id"],
                name="target_due",
                condition=Q(next_attempt_at__isnull=False),
            ),
            models.Index(  # release of what is held
                fields=["held_until", "id"], name="target_held", condition=Q(held_until__isnull=False)
            ),
            models.Index(  # what a person has waiting; of no use to a release, which asks for less
                fields=["user", "id"], name="target_held_of_user", condition=Q(held_until__gt=LONG_AGO)
            ),
            models.Index(  # what a digest is made of
                fields=["merged_into", "id"], name="target_merged", condition=Q(merged_into__isnull=False)
            ),
            models.Index(  # expiry of what waits for a worker that does not come
                fields=["expires_at", "id"],
                name="target_expiring",
                condition=Q(expires_at__isnull=False, next_attempt_at__isnull=False),
            ),
        ]
        constraints = [
            models.CheckConstraint(condition=Q(status__in=Status.values), name="target_status"),
            models.CheckConstraint(
                condition=Q(status__in=["queued", "retrying"], next_attempt_at__isnull=False)
                | (~Q(status__in=["queued", "retrying"]) & Q(next_attempt_at__isnull=True)),
                name="target_claimable_has_time",
            ),
            models.CheckConstraint(
                condition=Q(status="held", held_until__isnull=False)
                | (~Q(status="held") & Q(held_until__isnull=True)),
                name="target_held_has_time",
            ),
        ]

    def __str__(self) -> str:
        return str(self.id)


class DeliveryAttempt(models.Model):
    """One call to one provider. Its id is its target's with its number in the last byte (`project.ids`).

    The table is partitioned by month on the id, so by the month its target was made in.
    """

    id = models.UUIDField(primary_key=True, editable=False)
    target_id = models.UUIDField()
    number = models.SmallIntegerField()
    provider = models.CharField(max_length=40)
    route = models.CharField(max_length=60, blank=True, db_default="")  # why this provider
    worker = models.CharField(max_length=100)
    started_at = models.DateTimeField()  # when the call was about to start; committed before it did
    finished_at = models.DateTimeField(null=True)  # empty if nobody lived to see the end
    outcome = models.CharField(max_length=20)  # `AttemptOutcome`
    unknown_at = models.DateTimeField(null=True)  # when that became unknown; stays, whatever is proven later
    code = models.CharField(max_length=60, blank=True)
    provider_message_id = models.CharField(max_length=200, blank=True)
    cost = models.DecimalField(max_digits=12, decimal_places=6, null=True)  # if accepted, and known
    answer = models.CharField(max_length=500, blank=True, db_default="")  # one not understood, redacted

    def __str__(self) -> str:
        return f"{self.target_id} #{self.number}"


class TargetDecision(models.Model):
    """Why a target was held, released, merged or skipped: each decision about it that needs explaining."""

    id = models.BigAutoField(primary_key=True)
    target = soft_key(NotificationTarget, related_name="decisions")
    at = models.DateTimeField(db_default=Now())
    status = models.CharField(max_length=10)  # what it became
    reason = models.CharField(max_length=60, blank=True)  # of `Reason`
    until = models.DateTimeField(null=True)  # of one held
    detail = models.JSONField(default=dict)  # what it was decided by: whose rule, which, in which time zone

    class Meta:
        indexes = [models.Index(fields=["target", "id"], name="decision_of_target")]

    def __str__(self) -> str:
        return f"{self.target_id}: {self.status}"


class DedupeMark(models.Model):
    """An event that a person was told of, and until when the same key is the same event."""

    pk = models.CompositePrimaryKey("user_id", "type", "key")
    user_id = models.BigIntegerField()
    type = models.CharField(max_length=100)
    key = models.CharField(max_length=255)
    notification = soft_key(Notification)
    until = models.DateTimeField()

    class Meta:
        indexes = [
            models.Index(fields=["until"], name="dedupe_mark_over"),  # forgetting
            models.Index(fields=["notification"], name="dedupe_mark_of_notification"),  # its cancellation
        ]

    def __str__(self) -> str:
        return self.key


class CapUse(models.Model):
    """When a person was last written to by a channel, as far back as their caps count."""

    pk = models.CompositePrimaryKey("user_id", "channel", "type")
    user_id = models.BigIntegerField()
    channel = models.CharField(max_length=20)
    type = models.CharField(max_length=100)  # slug; empty: of every type
    times = ArrayField(models.DateTimeField())  # oldest first
    updated_at = models.DateTimeField(db_default=Now())

    class Meta:
        indexes = [models.Index(fields=["updated_at"], name="cap_use_age")]  # forgetting

    def __str__(self) -> str:
        return f"{self.user_id} {self.channel} {self.type}"


class UseCursor(models.Model):
    """The one row that says how far the uses of template versions are counted."""

    last = models.UUIDField()  # notifications up to this id

    def __str__(self) -> str:
        return str(self.last)


class DeadLetter(models.Model):
    """A target nobody will retry without a person. Thin: the target tells the rest."""

    id = models.BigAutoField(primary_key=True)
    target = soft_key(NotificationTarget, related_name="dead_letters")
    organization = soft_key(Organization)
    reason = models.CharField(max_length=60)
    created_at = models.DateTimeField(db_default=Now())
    resolved_at = models.DateTimeField(null=True)
    resolved_by = soft_key(User, null=True, related_name="+")
    resolution = models.CharField(max_length=20, blank=True)  # "re-driven", or the receipt's proof

    class Meta:
        permissions = [("redrive_deadletter", "Can re-drive what failed or is dead")]
        constraints = [
            models.UniqueConstraint(
                fields=["target"], name="dead_letter_one_open", condition=Q(resolved_at__isnull=True)
            )
        ]
        indexes = [
            models.Index(  # the admin's list
                fields=["-id"], name="dead_letter_open", condition=Q(resolved_at__isnull=True)
            ),
            models.Index(fields=["target"], name="dead_letter_of_target"),  # its whole story
        ]

    def __str__(self) -> str:
        return str(self.target_id)


class NotificationSummary(models.Model):
    """How many targets of a big notification are held or settled, by status. The rest is on its way."""

    notification = models.OneToOneField(
        Notification, models.DO_NOTHING, primary_key=True, db_constraint=False, related_name="summary"
    )
    planned = models.IntegerField(default=0)
    held = models.IntegerField(default=0)
    skipped = models.IntegerField(default=0)
    sent = models.IntegerField(default=0)
    delivered = models.IntegerField(default=0)
    failed = models.IntegerField(default=0)
    dead = models.IntegerField(default=0)
    cancelled = models.IntegerField(default=0)
    expired = models.IntegerField(default=0)

    def __str__(self) -> str:
        return str(self.notification_id)


class AudienceChunk(models.Model):
    """People of a big audience whose targets are not planned yet. Planning a chunk deletes it."""

    id = models.BigAutoField(primary_key=True)
    notification = soft_key(Notification)
    user_ids = ArrayField(models.BigIntegerField())

    class Meta:
        indexes = [models.Index(fields=["notification"], name="chunk_of_notification")]  # its cancellation

    def __str__(self) -> str:
        return str(self.id)


class IdempotencyKey(models.Model):
    """A caller's key and the answer it got, written in the same transaction as the effect."""

    pk = models.CompositePrimaryKey("client", "key")
    client = models.ForeignKey(ServiceClient, models.CASCADE, db_index=False)
    key = models.CharField(max_length=255)
    fingerprint = models.BinaryField()  # SHA-256 of method, path and body
    status_code = models.SmallIntegerField()
    body = models.BinaryField()
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        indexes = [models.Index(fields=["created_at"], name="idempotency_key_age")]  # forgetting

    def __str__(self) -> str:
        return self.key


def target_of(attempt: UUID) -> UUID:
    """The target an attempt's id belongs to."""
    return UUID(int=attempt.int & ~0xFF)


from apps.notifications.inbox_models import InboxItem, InboxState  # noqa: E402, F401  (Django looks here)
from apps.notifications.schedule_models import Schedule, ScheduleRun  # noqa: E402, F401
