"""What is known of addresses: facts, not choices."""

from __future__ import annotations

from django.db import models

from apps.users.models import Organization
from project.clock import Now


class Suppression(models.Model):
    """An address to which nothing is sent by this channel. Lifting it deletes it.

    The first cause stays: a fact about an address that is suppressed already is nothing new.
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

    def __str__(self) -> str:
        return str(self.pk)
