"""Templates against what is real, by API: the impact of a version, and a test sent to one person."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from pydantic import BaseModel, Field
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.content import payloads, versioning
from apps.content.models import TemplateVersion
from apps.content.named import seen, version_asked
from apps.content.schemas import Channels, OfVersion
from apps.notifications import checks, intake, representations, template_checks
from apps.notifications.api import IDEMPOTENCY_KEY, once_and_ring
from apps.notifications.caller import Caller, caller_of
from apps.notifications.representations import AcceptedOutput
from apps.users.api import active_person
from apps.users.authentication import organization_of
from apps.users.models import Scope
from apps.users.schemas import UserRef
from project.api import PROBLEMS, FieldError, body_of, invalid


class ImpactInput(OfVersion):
    """Which version, and how far to look back."""

    last: Annotated[int, Field(strict=True, ge=1, le=template_checks.MOST)] = Field(
        default=100, description="Notifications of this template, the newest."
    )


class FaultyOutput(BaseModel):
    """A notification the version would not have done for: its payload, its channels, or their rendering."""

    notification: UUID
    errors: list[FieldError]


class ImpactOutput(BaseModel):
    """What the version would have made of the latest notifications of its template.

    `complete` false: it took longer than 5 seconds, and only the newest `tried` were looked at.
    """

    version: int
    tried: int
    ok: int
    complete: bool
    faulty: list[FaultyOutput]


class ImpactView(APIView):
    """What a version would do to what is sent."""

    scopes = {"POST": (Scope.READ, Scope.TEMPLATES)}

    @extend_schema(
        operation_id="templates_impact",
        request=ImpactInput,
        responses={200: ImpactOutput, **PROBLEMS},
        tags=["templates"],
    )
    def post(self, request: Request, slug: str) -> Response:
        """Try a version with the payloads that your organization sent lately. Nothing is written or sent.

        Each is rendered for its first recipient, in their language. Needs the scope `notifications:read` or
        `templates:write`.
        """
        asked = body_of(ImpactInput, request)
        organization_id = organization_of(request)
        version = version_asked(seen(organization_id, slug), asked.version)
        found = template_checks.impact(version, organization_id=organization_id, last=asked.last)
        faulty = [{"notification": one.notification_id, "errors": one.errors} for one in found.faulty]
        return Response(
            {
                "version": version.number,
                "tried": found.tried,
                "ok": found.ok,
                "complete": found.complete,
                "faulty": faulty,
            }
        )


class TestInput(OfVersion):
    """What to send as a test, and to whom."""

    payload: dict[str, Any] | None = Field(default=None, description="Left out: the version's example.")
    channels: Channels = Field(
        default=[], description="Empty: all it has content for, as far as the person has an address."
    )
    user: UserRef = Field(description="One person: an id (integer) or an external_id (string).")


class TestView(APIView):
    """A version as it really arrives."""

    scopes = {"POST": Scope.TEMPLATES}

    @extend_schema(
        operation_id="templates_test",
        request=TestInput,
        responses={202: AcceptedOutput, **PROBLEMS},
        parameters=[IDEMPOTENCY_KEY],
        tags=["templates"],
    )
    def post(self, request: Request, slug: str) -> Response:
        """Send a test of a version, also of the draft, to one person. Answers as a notification does.

        It is critical and of no type: it goes out at once, whatever the person has chosen; only suppressions
        stop it. Its metadata is {"test": true}. Needs the scope `templates:write`.
        """
        asked, caller = body_of(TestInput, request), caller_of(request)
        version = version_asked(seen(caller.organization_id, slug), asked.version)
        payload = version.example if asked.payload is None else asked.payload
        _check(version, payload, asked)
        person = active_person(caller.organization_id, asked.user)
        order = _order(version, payload, asked, caller)

        def accept(now: datetime) -> tuple[dict[str, Any], set[str]]:
            (accepted,) = intake.accept([(order, [person])], now)
            return representations.accepted(accepted), accepted.lanes

        return once_and_ring(request, caller, accept)


def _check(version: TemplateVersion, payload: Mapping[str, Any], asked: TestInput) -> None:
    """Raises the problem that names what sending would be refused for."""
    wanted = versioning.as_version(version)
    errors = [
        *checks.without_content(wanted, asked.channels),
        *payloads.told(wanted, payload),
    ]
    if errors:
        raise invalid(errors)


def _order(
    version: TemplateVersion, payload: Mapping[str, Any], asked: TestInput, caller: Caller
) -> intake.Order:
    return template_checks.order_of_test(
        version,
        payload,
        asked.channels,
        organization_id=caller.organization_id,
        client_id=caller.client_id,
    )
