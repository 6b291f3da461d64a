"""Suppressions: facts about addresses. Preferences: choices of people."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.models import Q

from apps.users.models import Organization, ServiceClient, User
from project.clock import Now

NOTE_LENGTH = 500


def _who(to: type[models.Model]) -> Any:
    """A foreign key of the ORM's only: the database would read the whole table to delete one of them."""
    return models.ForeignKey(
        to, models.DO_NOTHING, null=True, blank=True, db_constraint=False, db_index=False, related_name="+"
    )


class Suppression(models.Model):
    """An address to which nothing is sent by this channel, for good or until a time. Lifting it deletes it.

    Of several facts about one address that stands which holds longest; of two that hold as long, the first.
    """

    organization = models.ForeignKey(
        Organization,
        models.PROTECT,
        null=True,
        blank=True,
        db_index=False,
        help_text="Leave it empty to suppress the address for every organization.",
    )
    channel = models.CharField(max_length=20)
    address = models.CharField(max_length=320)  # normalised as in `apps.users.normalise`
    cause = models.CharField(max_length=20)  # of `suppression.Cause`; a new one is no migration
    created_at = models.DateTimeField(db_default=Now())
    until = models.DateTimeField(  # from then on it holds no longer
        null=True, blank=True, help_text="UTC. Leave it empty to suppress the address for good."
    )
    note = models.CharField(
        max_length=NOTE_LENGTH, blank=True, db_default="", help_text="Why, for whoever looks later."
    )
    created_by = _who(User)  # who entered it in the admin
    client = _who(ServiceClient)  # which service did by the API; neither: it was learned

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["address", "channel", "organization"],
                name="suppression_once",
                nulls_distinct=False,
                opclasses=["varchar_pattern_ops", "varchar_ops", "int8_ops"],  # also for the admin's search
                violation_error_message="This address is suppressed already.",
            )
        ]
        indexes = [
            models.Index(fields=["organization", "-id"], name="suppression_newest"),  # the list
            models.Index(  # forgetting
                fields=["until"], name="suppression_over", condition=Q(until__isnull=False)
            ),
        ]

    def __str__(self) -> str:
        return str(self.pk)


class How(models.TextChoices):
    """How a person wants something."""

    ON = "on", "at once"
    OFF = "off", "not at all"
    DAILY = "daily", "in a daily digest"
    WEEKLY = "weekly", "in a weekly digest"


class Choice(models.Model):
    """What a person wants of a type, by a channel, or of everything; without a row, the defaults hold.

    What is off anywhere is off: by its type and channel, by its type, by its channel, or by everything.
    """

    user = models.ForeignKey(User, models.CASCADE, db_index=False, related_name="choices")
    type = models.CharField(max_length=100, blank=True)  # slug of a NotificationType; empty: every type
    channel = models.CharField(max_length=20, blank=True)  # empty: every channel
    how = models.CharField(max_length=10)  # of `How`; a new one is no migration
    until = models.DateTimeField(null=True, blank=True)  # UTC; from then on the defaults hold again
    reason = models.CharField(max_length=NOTE_LENGTH, blank=True, db_default="")  # in the person's own words
    source = models.CharField(max_length=20)  # who said so: person, service, link, mail_client, admin
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "type", "channel"], name="choice_once")]

    def __str__(self) -> str:
        return f"{self.type or '*'}/{self.channel or '*'}: {self.how}"


class _When(models.Model):
    """When and how often people want messages. What is null is as the level below has it.

    Times are by the clock on the person's wall. hours, quiet: lists of {"days": ["mon", …], "start": "09:00",
    "end": "18:00"}; one that ends before it starts ends on the next day; an empty list: none.
    """

    hours = models.JSONField(null=True, blank=True)  # messages may come within these; none: at any time
    quiet = models.JSONField(null=True, blank=True)  # and not within these
    daily_at = models.TimeField(null=True, blank=True)  # of the daily digest
    weekly_day = models.SmallIntegerField(null=True, blank=True)  # of the weekly one: 0 is Monday
    weekly_at = models.TimeField(null=True, blank=True)
    cap_per_hour = models.SmallIntegerField(null=True, blank=True)  # messages by one channel
    updated_at = models.DateTimeField(db_default=Now())

    class Meta:
        abstract = True


class UserPreference(_When):
    """A person's own hours, digest times and cap. Language and time zone are the user's."""

    user = models.OneToOneField(User, models.CASCADE, primary_key=True, related_name="preference")

    def __str__(self) -> str:
        return str(self.user_id)


class PreferencesOfPerson(User):
    """A person, for the admin's page of what they have chosen: most have no row of `UserPreference`."""

    class Meta:
        proxy = True
        verbose_name = "preferences of a person"
        verbose_name_plural = "preferences of people"


class PreferenceDefaults(_When):
    """What holds for people who have not chosen: an organization's, and below that the system's."""

    organization = models.OneToOneField(
        Organization, models.CASCADE, null=True, blank=True
    )  # null: the system
    # {type or "": {channel or "": how}}
    choices = models.JSONField(default=dict, blank=True)

    class Meta:
        verbose_name_plural = "preference defaults"
        constraints = [
            models.UniqueConstraint(
                fields=["organization"], name="preference_defaults_once", nulls_distinct=False
            )
        ]

    def __str__(self) -> str:
        return str(self.organization or "system")
