"""What recurs, and what became of each of its occurrences."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from apps.users.models import Organization, ServiceClient
from project import ids
from project.clock import Now

WALL = 19  # characters of a wall time, such as 2027-01-31T09:00:00


class Missed(models.TextChoices):
    """What becomes of occurrences that nobody made in time, since nothing ran."""

    ONCE = "once", "the latest is made"
    ALL = "all", "each is made, the latest 100"
    SKIP = "skip", "none is made that is more than a minute late"


class RunStatus(models.TextChoices):
    """What became of an occurrence."""

    MADE = "made", "a notification was made"
    MISSED = "missed", "it was missed, and the schedule says not to make up for it"
    FAILED = "failed", "its notification was refused"


class Schedule(models.Model):
    """A notification that is made again and again, by a rule over wall times."""

    id = models.UUIDField(primary_key=True, default=ids.uuid7, editable=False)
    organization = models.ForeignKey(Organization, models.PROTECT, db_index=False)
    client = models.ForeignKey(ServiceClient, models.PROTECT, db_index=False)  # who gave the notification
    keeps_lane = models.BooleanField(default=False)  # with a key that had the scope
    name = models.CharField(max_length=100)
    notification = models.JSONField()  # the body of a POST of one
    rrule = models.TextField(blank=True)  # exactly one of these two
    cron = models.TextField(blank=True)
    timezone = models.CharField(max_length=64)  # IANA name, or `recipient`
    starts_at = models.CharField(max_length=WALL)
    ends_at = models.CharField(max_length=WALL, blank=True)
    excluded = ArrayField(models.CharField(max_length=WALL), default=list)  # dates and wall times
    missed = models.CharField(max_length=4, default=Missed.ONCE)
    paused_at = models.DateTimeField(null=True)
    next_at = models.DateTimeField(null=True)  # empty while it is paused, and when it has ended
    next_wall = models.CharField(max_length=WALL, blank=True)  # the same as a wall time
    last_at = models.DateTimeField(null=True)  # the latest occurrence that was made or failed
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        permissions = [("pause_schedule", "Can pause and resume schedules")]
        indexes = [
            models.Index(fields=["organization", "-id"], name="schedule_newest"),  # the list
            models.Index(fields=["next_at", "id"], name="schedule_due", condition=Q(next_at__isnull=False)),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(rrule="", cron__gt="") | Q(rrule__gt="", cron=""), name="schedule_one_rule"
            )
        ]

    def __str__(self) -> str:
        return self.name


class ScheduleRun(models.Model):
    """One occurrence. Its key is why none is made twice; it commits with what it made."""

    pk = models.CompositePrimaryKey("schedule", "occurrence")
    schedule = models.ForeignKey(Schedule, models.CASCADE, db_index=False, related_name="runs")
    occurrence = models.DateTimeField()
    wall = models.CharField(max_length=WALL)
    status = models.CharField(max_length=6)  # of `RunStatus`
    notification_id = models.UUIDField(null=True)  # of one made
    errors = models.JSONField(null=True)  # of one failed, as in a problem's `errors`
    created_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return f"{self.schedule_id} {self.wall}"
