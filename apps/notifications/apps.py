from __future__ import annotations

from collections.abc import Collection
from typing import Any

from django.apps import AppConfig


class NotificationsConfig(AppConfig):
    name = "apps.notifications"

    def ready(self) -> None:
        from apps.preferences import choices
        from apps.users import signals

        choices.changed.connect(_wishes_changed)
        signals.moved.connect(_moved)


def _wishes_changed(user_ids: Collection[int], **_: Any) -> None:
    from apps.notifications import holds

    holds.decide_anew(user_ids, why="preferences")


def _moved(user_ids: Collection[int], **_: Any) -> None:
    from apps.notifications import holds

    holds.decide_anew(user_ids, why="time zone")
