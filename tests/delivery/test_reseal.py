"""manage.py reseal"""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.core.management import CommandError, call_command

from apps.delivery.management.commands import reseal
from apps.delivery.models import Provider
from apps.users import places
from apps.users.models import Endpoint
from project import sealing
from tests.support import rows
from tests.support.database import capture
from tests.support.places import endpoint

pytestmark = pytest.mark.django_db
OLD, NEW = (Fernet.generate_key().decode() for _ in range(2))


@pytest.fixture(autouse=True)
def old_key(settings: Any) -> None:
    settings.ENCRYPTION_KEYS = [OLD]


def run() -> str:
    out = StringIO()
    call_command("reseal", stdout=out, stderr=StringIO())
    return out.getvalue()


def test_afterwards_the_old_key_is_not_needed(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reseal, "BATCH", 3)
    (ada,) = rows.people()
    made = [str(endpoint(ada, kind)) for kind in ("webhook", "slack") for _ in range(4)]
    before = places.destinations(made)
    settings.ENCRYPTION_KEYS = [NEW, OLD]
    told = run()
    assert "users.Endpoint.address: 8 resealed, 0 cannot" in told
    assert "users.Endpoint.secrets: 4 resealed, 0 cannot" in told
    settings.ENCRYPTION_KEYS = [NEW]
    assert places.destinations(made) == before and len(before) == 8
    assert run() == told


def test_what_cannot_be_opened_is_told_and_left_and_the_rest_is_done(settings: Any) -> None:
    (ada,) = rows.people()
    lost = endpoint(ada, "slack")
    settings.ENCRYPTION_KEYS = [NEW]
    there = endpoint(ada, "slack")
    before = there.address
    with pytest.raises(CommandError, match="1 were sealed with a key"):
        run()
    lost_now, there_now = (Endpoint.objects.get(pk=row.pk) for row in (lost, there))
    assert lost_now.address == lost.address and there_now.address != before


def test_batches_are_of_some_rows_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reseal, "SEALED", [("users.Endpoint", "address")])
    (ada,) = rows.people()
    for _ in range(4):
        endpoint(ada)
    monkeypatch.setattr(reseal, "BATCH", 2)
    with capture() as statements:
        run()
    reads = [sql for sql in statements if "FOR NO KEY UPDATE" in sql]
    assert len(reads) == 3 and all("LIMIT 2" in sql for sql in reads)


def test_the_credentials_of_providers_too(settings: Any) -> None:
    made = Provider.objects.create(
        name="a", adapter="x", channel="email", credentials={"key": sealing.seal("k"), "other": "env:K"}
    )
    settings.ENCRYPTION_KEYS = [NEW, OLD]
    assert "delivery.Provider.credentials: 1 rows resealed" in run()
    settings.ENCRYPTION_KEYS = [NEW]
    made.refresh_from_db()
    assert sealing.unseal(made.credentials["key"]) == "k" and made.credentials["other"] == "env:K"


def test_a_provider_that_cannot_be_opened_is_told_of(settings: Any) -> None:
    Provider.objects.create(name="a", adapter="x", channel="email", credentials={"key": sealing.seal("k")})
    settings.ENCRYPTION_KEYS = [NEW]
    with pytest.raises(CommandError, match="1 were sealed"):
        run()
