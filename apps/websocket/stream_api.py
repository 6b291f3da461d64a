"""The stream's place in the API where it is not served: sockets and streams have a server of their own."""

from __future__ import annotations

from typing import Any, NoReturn

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from pydantic import BaseModel, Field
from rest_framework.authentication import SessionAuthentication
from rest_framework.request import Request
from rest_framework.views import APIView

from apps.users.authentication import IsPerson, UserTokenAuthentication
from project.api import PROBLEM_JSON, PROBLEMS, Problem, ProblemBody


class InboxEvent(BaseModel):
    """One event of the stream; they go on until it ends."""

    event: str = Field(description="The `type` of the frame, or `close`: it ends.")
    id: int | None = Field(description="Up to here you have everything: what to come back with.")
    data: str = Field(description="A frame as a socket sends it (docs/inbox-protocol.md), JSON in one line.")


class StreamView(APIView):
    """What whoever reaches the API's own server by this address is told."""

    authentication_classes = [UserTokenAuthentication, SessionAuthentication]
    permission_classes = [IsPerson]

    def perform_content_negotiation(self, request: Request, force: bool = False) -> Any:
        """Browsers accept nothing but text/event-stream here: they are told what is wrong all the same."""
        return super().perform_content_negotiation(request, force=True)

    @extend_schema(
        operation_id="inbox_stream",
        summary="A person's inbox as it changes, as server-sent events",
        description="For clients without WebSocket. Served by the socket server; elsewhere it is a 501.",
        parameters=[
            OpenApiParameter(
                "since", OpenApiTypes.INT64, description="Go on from this number, 0: all. Else: what is new."
            ),
            OpenApiParameter(
                "Last-Event-ID",
                OpenApiTypes.INT64,
                OpenApiParameter.HEADER,
                description="The same, as browsers send it when they come back. It wins.",
            ),
        ],
        responses={
            (200, "text/event-stream"): InboxEvent,
            **PROBLEMS,
            (429, PROBLEM_JSON): ProblemBody,
            (501, PROBLEM_JSON): ProblemBody,
        },
    )
    def get(self, request: Request) -> NoReturn:
        """Always 501."""
        raise Problem(501, "not_here", "Streams are served by the socket server, which /ws/ leads to.")
