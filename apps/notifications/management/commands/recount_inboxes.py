from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from apps.notifications import inbox_changes
from apps.notifications.inbox_models import InboxState

AT_ONCE = 500  # people in one transaction


class Command(BaseCommand):
    """To be run once after the upgrade to counts that are kept; safe at any time."""

    help = "Count what is unread and unseen in every inbox anew, and say how many counts were wrong."

    def handle(self, *args: Any, **options: Any) -> None:
        wrong, last = 0, 0
        while people := list(
            InboxState.objects.filter(user_id__gt=last)
            .order_by("user_id")
            .values_list("user_id", flat=True)[:AT_ONCE]
        ):
            wrong += inbox_changes.recount(people)
            last = people[-1]
        self.stdout.write(f"{wrong} of the counts were wrong")
