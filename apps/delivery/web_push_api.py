"""What a page must know to subscribe a browser to push messages."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from pydantic import BaseModel, Field
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.delivery import providers
from apps.users.authentication import ApiKeyAuthentication, HasScopeOrIsPerson, UserTokenAuthentication
from apps.users.models import Scope
from project.api import PROBLEMS, Problem


class WebPushKeyOutput(BaseModel):
    """The key that subscriptions are made with."""

    public_key: str = Field(
        description="VAPID, RFC 8292: base64url of an uncompressed point of P-256, without padding. "
        "The `applicationServerKey` of `PushManager.subscribe()`."
    )


class WebPushKeyView(APIView):
    """The key of our Web Push."""

    authentication_classes = [ApiKeyAuthentication, UserTokenAuthentication]
    permission_classes = [HasScopeOrIsPerson]
    scopes = {"GET": Scope.USERS}

    @extend_schema(
        operation_id="devices_web_push_key",
        responses={200: WebPushKeyOutput, **PROBLEMS},
        tags=["devices"],
    )
    def get(self, request: Request) -> Response:
        """The public key that a browser subscribes with, before it is registered as a device.

        With a person's token, or an API key of the scope `users:write`. 404 `no_web_push`: none is set up.
        """
        key = providers.web_push_key()
        if not key:
            raise Problem(404, "no_web_push", "There is no provider of Web Push here.")
        return Response({"public_key": key})
