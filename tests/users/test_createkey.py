"""manage.py createkey"""

from __future__ import annotations

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from apps.users.authentication import find_key
from apps.users.models import ApiKey, Scope, ServiceClient
from tests.api_helpers import Api, make_organization, make_service, problem

pytestmark = pytest.mark.django_db


def create(*arguments: str) -> tuple[str, str]:
    out, notes = StringIO(), StringIO()
    call_command("createkey", *arguments, stdout=out, stderr=notes, no_color=True)
    return out.getvalue(), notes.getvalue()


def test_the_key_alone_is_printed() -> None:
    out, notes = create("--client", "shop")
    text = out.removesuffix("\n")
    key = find_key(text)
    assert key is not None and key.client.name == "shop" and key.client.organization_id == 1
    assert set(key.scopes) == set(Scope.values) - {Scope.KEEP_LANE}
    assert text not in notes and key.prefix in notes
    problem(Api(text).get("/api/users/nobody/"), 404, "not_found")


def test_another_key_of_the_same_service() -> None:
    first, second = create("--client", "shop")[0], create("--client", "shop")[0]
    assert first != second
    assert ServiceClient.objects.count() == 1 and ApiKey.objects.count() == 2


def test_scopes() -> None:
    key = find_key(create("--client", "shop", "--scope", Scope.SEND, "--scope", Scope.KEEP_LANE)[0].strip())
    assert key is not None and key.scopes == [Scope.SEND, Scope.KEEP_LANE]
    with pytest.raises(CommandError):
        create("--client", "shop", "--scope", "everything")


def test_another_organization() -> None:
    other = make_organization()
    make_service()
    key = find_key(create("--client", "shop", "--organization", str(other.pk))[0].strip())
    assert key is not None and key.client.organization == other


def test_refused() -> None:
    with pytest.raises(CommandError, match="no organization"):
        create("--client", "shop", "--organization", "999")
    make_service(is_active=False)
    with pytest.raises(CommandError, match="deactivated"):
        create("--client", "shop")
    make_service()
    with pytest.raises(CommandError, match="Several"):
        create("--client", "shop")
    assert not ApiKey.objects.exists()
