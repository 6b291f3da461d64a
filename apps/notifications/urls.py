from __future__ import annotations

from django.urls import path

from apps.notifications import api, inbox_api, template_api
from apps.notifications.cancelling_api import CancelView
from apps.notifications.inbox_api import NAMES
from apps.notifications.schedules_api import RunsView, SchedulesView, ScheduleView
from apps.notifications.target_api import TargetView

urlpatterns = [
    path("notifications/", api.NotificationsView.as_view()),
    path("notifications/bulk/", api.BulkView.as_view()),
    path("notifications/preview/", api.PreviewView.as_view()),
    path("notifications/<uuid:id>/", api.NotificationView.as_view()),
    path("notifications/<uuid:id>/cancel/", CancelView.as_view()),
    path("notifications/<uuid:id>/targets/", api.TargetsView.as_view()),
    path("notifications/<uuid:id>/targets/<uuid:target_id>/", TargetView.as_view()),
    path("notifications/<uuid:id>/attempts/", api.AttemptsView.as_view()),
    path("schedules/", SchedulesView.as_view()),
    path("schedules/<uuid:id>/", ScheduleView.as_view()),
    path("schedules/<uuid:id>/runs/", RunsView.as_view()),
    path("templates/<slug:slug>/impact/", template_api.ImpactView.as_view()),
    path("templates/<slug:slug>/test/", template_api.TestView.as_view()),
    path("inbox/", inbox_api.InboxView.as_view()),
    path("inbox/counts/", inbox_api.CountsView.as_view()),
    path("inbox/<uuid:id>/", inbox_api.ItemView.as_view()),
    path("inbox/<uuid:id>/actions/<str:action>/", inbox_api.ActionView.as_view()),
    *(path(f"inbox/{name}/", inbox_api.change_view(name).as_view()) for name in NAMES),
    *(path(f"inbox/<uuid:id>/{name}/", inbox_api.item_change_view(name).as_view()) for name in NAMES),
]
