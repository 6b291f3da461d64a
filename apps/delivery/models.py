"""The engine's own row: a claim."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from project.clock import Now


class Claim(models.Model):
    """Who works on which targets, and until when nobody else may. Deleted when all of them are settled.

    The id never repeats: it is the fence of every settle. While `lease_until` is set the claim is at work;
    `call_started_at` says that its messages may be in the air. What ends as unknown stays on the claim,
    with `grace_until` instead of the lease.
    """

    id = models.BigAutoField(primary_key=True)
    lane = models.CharField(max_length=30)
    provider = models.CharField(max_length=40)
    worker = models.CharField(max_length=100)
    target_ids = ArrayField(models.UUIDField())
    call_started_at = models.DateTimeField(null=True)
    lease_until = models.DateTimeField(null=True)
    grace_until = models.DateTimeField(null=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        indexes = [
            models.Index(  # the sweeper: leases that ran out
                fields=["lease_until"], name="claim_lease", condition=Q(lease_until__isnull=False)
            ),
            models.Index(  # the sweeper: graces that are over
                fields=["grace_until"], name="claim_grace", condition=Q(grace_until__isnull=False)
            ),
        ]

    def __str__(self) -> str:
        return str(self.id)
