"""A person's inbox over HTTP: what the socket sends as it comes, read back."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from pydantic import BaseModel, Field
from rest_framework.authentication import SessionAuthentication
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.notifications.models import InboxItem
from apps.users.authentication import IsPerson, UserTokenAuthentication
from apps.users.models import User
from project.api import PROBLEMS, field_error
from project.paging import PARAMETERS, page_model, paginate

_COLUMNS = {  # in the answer: of the row
    "sequence": "sequence",
    "id": "target_id",
    "notification_id": "notification_id",
    "title": "title",
    "body": "body",
    "link": "link",
    "actions": "actions",
    "created_at": "created_at",
    "seen_at": "target__seen_at",
    "read_at": "target__read_at",
}
_WRONG_SINCE = field_error("since", "invalid", "The last sequence you have, 0 for all.")


class InboxAction(BaseModel):
    """A button of an item."""

    id: str
    label: str
    link: str


class InboxItemOutput(BaseModel):
    """An item of the inbox, as in the socket's frames, and whether it was seen and read."""

    sequence: int = Field(description="Grows with each item of this person; a recalled one leaves a hole.")
    id: UUID = Field(description="The target's.")
    notification_id: UUID
    title: str
    body: str
    link: str = Field(description="Where it leads: an address, or a path of yours; empty: nowhere.")
    actions: list[InboxAction] = Field(description="Its buttons.")
    created_at: datetime
    seen_at: datetime | None
    read_at: datetime | None


class InboxView(APIView):
    """The inbox of the person who asks; nobody can ask for another's."""

    authentication_classes = [UserTokenAuthentication, SessionAuthentication]
    permission_classes = [IsPerson]

    @extend_schema(
        operation_id="inbox_list",
        summary="A person's in-app notifications, newest first",
        parameters=[
            *PARAMETERS,
            OpenApiParameter(
                "since", OpenApiTypes.INT64, description="Only items with a sequence greater than this."
            ),
        ],
        responses={200: page_model("InboxPage", InboxItemOutput), **PROBLEMS},
    )
    def get(self, request: Request) -> Response:
        assert isinstance(request.user, User)
        query = request.query_params
        since = query.get("since", "0")
        wrong = [] if _is_sequence(since) else [_WRONG_SINCE]
        rows = InboxItem.objects.filter(user_id=request.user.pk, sequence__gt=0 if wrong else int(since))
        page = paginate(query, rows.values(*_COLUMNS.values()), "sequence", errors=wrong)
        return Response(page.body(_represent))


def _represent(row: dict[str, Any]) -> dict[str, Any]:
    found = {name: row[column] for name, column in _COLUMNS.items()}
    return found | {"actions": found["actions"] or []}


def _is_sequence(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 18  # within a bigint
