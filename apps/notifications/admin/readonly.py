"""The base of both admins: nothing is added, changed or deleted here."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest

from project.admin import BaseAdmin


class ReadOnlyAdmin(BaseAdmin):
    """Rows to look at."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_redrive_permission(self, request: HttpRequest) -> bool:
        """Whether this person may re-drive, here or on the other page."""
        return request.user.has_perm("notifications.redrive_deadletter")
