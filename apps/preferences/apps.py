from __future__ import annotations

from typing import Any

from django.apps import AppConfig


class PreferencesConfig(AppConfig):
    name = "apps.preferences"

    def ready(self) -> None:
        from apps.users import signals

        signals.moved.connect(_moved)


def _moved(*, user_ids: list[int], **_: Any) -> None:
    """Another time zone moves quiet times and digests as another choice does."""
    from apps.preferences import choices

    choices.changed.send(sender=None, user_ids=user_ids)
