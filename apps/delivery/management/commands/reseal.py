"""`manage.py reseal`: everything sealed, under the first of ENCRYPTION_KEYS; then older keys can go."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.apps import apps
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from django.db.models import Model

from apps.delivery import accounts
from project import sealing

# Every sealed column there is; an empty one has nothing in it.
SEALED = (
    ("users.Endpoint", "address"),
    ("users.Endpoint", "secrets"),
)
BATCH = 500  # rows locked at a time, for some milliseconds


class Command(BaseCommand):
    help = (
        "Encrypt again, under the first of ENCRYPTION_KEYS, whatever is kept sealed. May run at any time, "
        "beside everything else, and be repeated. Drop an older key only when it has ended well."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        closed = 0
        for label, field in SEALED:
            done, left = reseal(apps.get_model(label), field)
            self.stdout.write(f"{label}.{field}: {done} resealed, {len(left)} cannot be opened")
            for key in left[:20]:
                self.stderr.write(f"  {label} {key}")
            closed += len(left)
        self.stdout.write(f"delivery.Provider.credentials: {_credentials()} rows resealed")
        closed += (locked := accounts.locked_credentials())
        if locked:
            self.stderr.write(f"  {locked} providers cannot be opened")
        if closed:
            raise CommandError(f"{closed} were sealed with a key that is not among ENCRYPTION_KEYS.")


def _credentials() -> int:
    total = 0
    while done := accounts.reseal_credentials(BATCH):
        total += done
    return total


def reseal(model: type[Model], field: str) -> tuple[int, list[Any]]:
    """How many values of this column were sealed anew, and the keys of rows that could not be opened."""
    done, last = 0, None
    left: list[Any] = []
    rows = model._default_manager.exclude(**{field: ""}).order_by("pk")
    while True:
        with transaction.atomic():  # locked: nobody changes a secret between our reading and writing it
            beyond = rows if last is None else rows.filter(pk__gt=last)
            batch = list(beyond.select_for_update(no_key=True)[:BATCH])
            opened, closed = _sealed_anew(batch, field)
            model._default_manager.bulk_update(opened, [field])
        if not batch:
            return done, left
        done, last = done + len(opened), batch[-1].pk
        left += closed


def _sealed_anew(batch: Iterable[Model], field: str) -> tuple[list[Model], list[Any]]:
    opened, closed = [], []
    for row in batch:
        try:
            setattr(row, field, sealing.resealed(getattr(row, field)))
            opened.append(row)
        except sealing.CannotOpen:
            closed.append(row.pk)
    return opened, closed
