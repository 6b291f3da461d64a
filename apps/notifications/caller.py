"""The calling service, as intake sees it."""

from __future__ import annotations

from dataclasses import dataclass

from rest_framework.request import Request

from apps.users.authentication import client_of, organization_of
from apps.users.models import ApiKey, Scope


@dataclass(frozen=True, slots=True)
class Caller:
    """Who accepts responsibility for a notification, and what they may."""

    organization_id: int
    client_id: int
    keeps_lane: bool  # big audiences stay in the lane of their priority


def caller_of(request: Request) -> Caller:
    """The caller of a view with API key authentication."""
    assert isinstance(request.auth, ApiKey)
    keeps_lane = Scope.KEEP_LANE in request.auth.scopes
    return Caller(organization_of(request), client_of(request).pk, keeps_lane)
