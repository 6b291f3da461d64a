"""The address the providers report to."""

from __future__ import annotations

import logging
from typing import Any

from django.conf import settings
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.delivery import providers, receipts
from apps.integrations.contract import BadReceipt, BadSignature, ReceiptEvent, ReceivedRequest
from apps.users.authentication import first_read
from project import queues
from project.api import Problem, bytes_of

logger = logging.getLogger(__name__)


class ReceiptsView(APIView):
    """What a provider reports of the messages it took. It has no API key: its signature authenticates it."""

    authentication_classes = ()
    permission_classes = ()
    http_method_names = ("post",)

    def perform_content_negotiation(self, request: Request, force: bool = False) -> Any:
        """Whatever a provider says it accepts: there is nothing to choose from."""
        return super().perform_content_negotiation(request, force=True)

    @extend_schema(exclude=True)  # for providers, who have their own description of it
    def post(self, request: Request, provider: str) -> Response:
        """204: every event is committed. 403: not signed by the provider; 400: signed, but not readable."""
        events = _events(request, provider)
        first_read(lambda: receipts.store(provider, events))  # once more if need be: an event is written once
        queues.ring(queues.RECEIPTS)
        return Response(status=status.HTTP_204_NO_CONTENT)


def _events(request: Request, provider: str) -> list[ReceiptEvent]:
    receiver = first_read(lambda: providers.receiver_of(provider))
    if receiver is None:
        raise Problem(404, "not_found", "There is no such provider here, or its key is not configured.")
    body = bytes_of(request, settings.RECEIPT_MAX_BYTES)
    received = ReceivedRequest(url=_public_url(request), headers=request.headers, body=body)
    try:
        receiver.verify(received)
        return receiver.parse(received)
    except BadSignature as error:
        logger.warning("receipt not signed", extra={"provider": provider, "error": str(error)})
        raise Problem(403, "bad_signature", "The signature is not this provider's.") from None
    except BadReceipt as error:
        logger.error("receipt not readable", extra={"provider": provider, "error": type(error).__name__})
        raise Problem(400, "bad_receipt", "The request is signed, but cannot be read.") from None


def _public_url(request: Request) -> str:
    """The address the provider called and signed: ours may be that of a machine behind a proxy."""
    if settings.PUBLIC_URL:
        return f"{settings.PUBLIC_URL}{request.get_full_path()}"
    url: str = request.build_absolute_uri()
    return url
