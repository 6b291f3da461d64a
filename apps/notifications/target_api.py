"""The API of one target: why it is where it is."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from django.http import Http404
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.notifications import decisions, engagement, target_representations, waits
from apps.notifications.caller import caller_of
from apps.notifications.explaining import Story
from apps.notifications.models import DeliveryAttempt, NotificationTarget
from apps.notifications.target_representations import MOST_MERGED, TargetStory
from apps.users.models import Scope
from project.api import PROBLEMS


class TargetView(APIView):
    """One target."""

    scopes = {"GET": Scope.READ}

    @extend_schema(operation_id="notifications_target", responses={200: TargetStory, **PROBLEMS})
    def get(self, request: Request, id: UUID, target_id: UUID) -> Response:
        """The target with every decision about it, every attempt, and an explanation for people.

        Needs the scope `notifications:read`.
        """
        target = _find(caller_of(request).organization_id, id, target_id)
        waits.tell([target])
        decided = decisions.of([target_id])
        story = Story(
            notification=target.notification,
            target=target,
            decisions=decided.get(target_id, []),
            attempts=_attempts(target_id),
            choices=decisions.choices_behind([target], decided),
            item=engagement.in_inbox([target]).get(target_id),
        )
        return Response(target_representations.story(story, _merged(target_id)))


def _find(organization_id: int, notification_id: UUID, target_id: UUID) -> NotificationTarget:
    """With its notification. Raises Http404, also for another organization's."""
    rows = NotificationTarget.objects.select_related("notification")
    of = {"notification": notification_id, "notification__organization": organization_id}
    target = rows.filter(id=target_id, **of).first()
    if target is None:
        raise Http404
    return target


def _attempts(target_id: UUID) -> Sequence[DeliveryAttempt]:
    """Of an attempt's id all but the last byte is its target's."""
    last = UUID(int=target_id.int | 0xFF)
    return list(DeliveryAttempt.objects.filter(id__gt=target_id, id__lte=last).order_by("id"))


def _merged(target_id: UUID) -> Sequence[UUID]:
    rows = NotificationTarget.objects.filter(merged_into=target_id).order_by("id")
    return list(rows.values_list("id", flat=True)[: MOST_MERGED + 1])
