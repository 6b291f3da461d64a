"""The engine's own rows: claims, the providers and how they are doing, and what they reported."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from apps.users.models import User
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
    route = models.CharField(max_length=60, blank=True, db_default="")  # why this provider
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


class Provider(models.Model):
    """An account with a vendor. A channel without any uses the one that the settings name.

    `options` and `credentials` together are the arguments of the adapter's constructor, and of its
    receiver's. A credential is a reference to the environment (`env:NAME`) or sealed (`project.sealing`).
    """

    name = models.SlugField(
        max_length=40,
        unique=True,
        help_text="What attempts and events call it, and its receipts' address: /api/receipts/name/.",
    )
    adapter = models.CharField(max_length=40)  # of the registry; a new one is no migration
    channel = models.CharField(max_length=20, editable=False)  # the adapter's
    options = models.JSONField(default=dict, blank=True)
    credentials = models.JSONField(default=dict, blank=True)
    is_active = models.BooleanField(default=True)
    mode = models.CharField(max_length=10, default="normal")  # of `routing.Mode`
    weight = models.PositiveSmallIntegerField(
        default=100, help_text="Its share among the providers of its channel; 0: when no other is left."
    )
    per_second = models.PositiveIntegerField(null=True, blank=True)
    per_minute = models.PositiveIntegerField(null=True, blank=True)
    per_hour = models.PositiveIntegerField(null=True, blank=True)
    per_day = models.PositiveIntegerField(null=True, blank=True)
    serves = ArrayField(
        models.CharField(max_length=100),
        default=list,
        blank=True,
        help_text="Countries (DE) or prefixes (+49) of numbers, domains of e-mail addresses; empty: all.",
    )
    cost = models.DecimalField(
        max_digits=10,
        decimal_places=6,
        null=True,
        blank=True,
        help_text="Of a message (an SMS: of a segment), in the currency of your bills.",
    )
    updated_at = models.DateTimeField(db_default=Now())  # workers build the adapter anew

    class Meta:
        permissions = [("check_provider", "Can send a test message through a provider")]

    def __str__(self) -> str:
        return self.name


class ProviderHealth(models.Model):
    """How a provider is doing (`health.Health`), shared by all workers. One without a row is well."""

    provider = models.CharField(max_length=40, primary_key=True)  # its name: also one of the settings'
    factor = models.SmallIntegerField(default=100)
    failures = models.IntegerField(default=0)
    open_seconds = models.FloatField(default=0.0)
    open_until = models.DateTimeField(null=True)
    probe_until = models.DateTimeField(null=True)  # somebody is trying it with one message
    stepped_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return self.provider


class ProviderEvent(models.Model):
    """One change of how a provider is used, and why."""

    id = models.BigAutoField(primary_key=True)
    provider = models.CharField(max_length=40)
    kind = models.CharField(max_length=20)  # of `health.Kind`
    detail = models.CharField(max_length=200, blank=True)
    user = models.ForeignKey(User, models.SET_NULL, null=True, db_index=False, related_name="+")
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        indexes = [models.Index(fields=["provider", "-id"], name="event_of_provider")]

    def __str__(self) -> str:
        return f"{self.provider} {self.kind}"
