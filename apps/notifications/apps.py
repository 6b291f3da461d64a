from __future__ import annotations

from collections.abc import Collection
from typing import Any

from django.apps import AppConfig


class NotificationsConfig(AppConfig):
    name = "apps.notifications"

    def ready(self) -> None:
        from apps.preferences import choices

        choices.changed.connect(_decide_anew)


def _decide_anew(user_ids: Collection[int], **_: Any) -> None:
    from apps.notifications import holds

    holds.decide_anew(user_ids, why="preferences")
