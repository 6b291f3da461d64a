"""The admin's pages of types and templates.

`templates.TemplateAdmin` is registered by `apps/notifications/admin/templates.py`, which adds what needs
notifications: publishing, with its impact, and tests.
"""

from __future__ import annotations

from apps.content.admin.types import NotificationTypeAdmin

__all__ = ["NotificationTypeAdmin"]
