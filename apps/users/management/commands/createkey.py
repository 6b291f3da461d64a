"""`manage.py createkey --client shop`: an API key for a service, shown this once."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from apps.users.models import DEFAULT_ORGANIZATION_ID, ApiKey, Organization, Scope, ServiceClient


class Command(BaseCommand):
    help = (
        "Issue an API key for a service, which is made if there is none of this name. "
        "The key alone goes to stdout, and nowhere else: only its hash is kept."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--client", required=True, metavar="NAME", help="the service's name")
        parser.add_argument(
            "--scope",
            action="append",
            choices=Scope.values,
            metavar="SCOPE",
            help=f"what it may do, repeatable: {', '.join(Scope.values)}; default: all but {Scope.KEEP_LANE}",
        )
        parser.add_argument("--organization", type=int, default=DEFAULT_ORGANIZATION_ID, metavar="ID")

    @transaction.atomic
    def handle(self, *args: Any, client: str, organization: int, **options: Any) -> None:
        key, text = ApiKey.issue(_client(client, organization), options["scope"])
        self.stderr.write(f"Key {key} of {key.client} for {', '.join(key.scopes)}. It is not shown again:")
        self.stdout.write(text)


def _client(name: str, organization_id: int) -> ServiceClient:
    if not Organization.objects.filter(pk=organization_id).exists():
        raise CommandError(f"There is no organization {organization_id}.")
    named = ServiceClient.objects.filter(name=name, organization_id=organization_id)[:2]
    if len(named) > 1:
        raise CommandError(f"Several services are called {name}: issue the key in the admin.")
    if named and not named[0].is_active:
        raise CommandError(f"{name} is deactivated.")
    return named[0] if named else ServiceClient.objects.create(name=name, organization_id=organization_id)
