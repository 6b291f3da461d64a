"""The engine's own rows: claims, and what the providers reported."""

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


class Receipt(models.Model):
    """One thing a provider reported of a message or of an address, written once however often it is told.

    It waits while `due_at` is set; applying it clears that and says in `applied` what it did.
    """

    id = models.BigAutoField(primary_key=True)
    provider = models.CharField(max_length=40)
    event_id = models.CharField(max_length=200)  # the provider's own, the same for every repetition
    kind = models.CharField(max_length=20)  # `ReceiptKind`
    target_id = models.UUIDField(null=True)  # our reference as it came back, if it did
    attempt_id = models.UUIDField(null=True)
    provider_message_id = models.CharField(max_length=200, blank=True)
    address = models.CharField(max_length=320, blank=True)
    code = models.CharField(max_length=60, blank=True)
    address_is_dead = models.BooleanField()
    occurred_at = models.DateTimeField(null=True)  # by the provider's clock
    raw = models.BinaryField()  # the report itself, as it was signed
    received_at = models.DateTimeField(db_default=Now())
    due_at = models.DateTimeField(null=True, db_default=Now())  # empty once it is applied
    applied = models.CharField(max_length=20, blank=True)  # what it did: `apps.delivery.evidence.Effect`

    class Meta:
        constraints = [models.UniqueConstraint(fields=["provider", "event_id"], name="receipt_once")]
        indexes = [
            models.Index(  # applying
                fields=["due_at", "id"], name="receipt_due", condition=Q(due_at__isnull=False)
            ),
            models.Index(  # the admin's page, and a settle that knows less than a receipt
                fields=["target_id", "id"], name="receipt_of_target", condition=Q(target_id__isnull=False)
            ),
            models.Index(fields=["received_at"], name="receipt_age"),  # forgetting
        ]

    def __str__(self) -> str:
        return str(self.id)
