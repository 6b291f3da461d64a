"""The admin's pages of notifications, dead letters and schedules; and of templates, which try and send them.

All but templates are read-only: a status moves only by a re-drive, and a schedule is only paused and resumed.
"""

from __future__ import annotations

from django.contrib import admin

from apps.notifications.admin.dead_letters import DeadLetterAdmin
from apps.notifications.admin.notifications import NotificationAdmin
from apps.notifications.admin.schedules import ScheduleAdmin
from apps.notifications.admin.templates import NotificationTemplateAdmin

__all__ = ["DeadLetterAdmin", "NotificationAdmin", "NotificationTemplateAdmin", "ScheduleAdmin"]

admin.site.site_header = admin.site.site_title = "Carillon"
admin.site.index_title = "Overview"
admin.site.index_template = "notifications/admin/index.html"
admin.site.site_url = None  # there is no other site to view
