"""The upgrade to counts that are kept: what the migration counts of what was there before."""

from __future__ import annotations

import importlib
from types import SimpleNamespace

import pytest
from django.db import connection

from apps.notifications.inbox_models import InboxState
from tests.support.inboxes import ADA, BOB, deliver

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("hinted")]
migration = importlib.import_module("apps.notifications.migrations.0011_inbox_counts")


def unread() -> dict[int, tuple[int, int]]:
    return {state.user_id: (state.unread, state.unseen) for state in InboxState.objects.all()}


@pytest.mark.parametrize("at_once", [1, 1_000])
def test_the_migration_counts_everybodys_items(monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    monkeypatch.setattr(migration, "AT_ONCE", at_once)
    deliver(ADA, 3)
    deliver(BOB, 1)
    InboxState.objects.update(unread=0, unseen=0)
    migration.count(None, SimpleNamespace(connection=connection))
    assert unread() == {ADA: (3, 3), BOB: (1, 1)}
