"""What is known of addresses: facts, not choices."""

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
