"""The address the providers report to."""

from __future__ import annotations

import logging
from typing import Any

import aiohttp
from django.conf import settings
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.delivery import providers, receipts
from apps.integrations.contract import (
    BadReceipt,
    BadSignature,
    ReceiptEvent,
    ReceiptKind,
    ReceivedRequest,
    Receiver,
)
from apps.integrations.session import fetch
from apps.users.authentication import first_read
from project import counting, loop, queues
from project.api import Problem, bytes_of

logger = logging.getLogger(__name__)

CONFIRM_SECONDS = 10.0


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
        receiver, received = _received(request, provider)
        events = _events(receiver, received, provider)
        for event in events:
            if event.kind is ReceiptKind.OTHER:
                counting.count(f"receipts.other.{provider}")
        first_read(lambda: receipts.store(provider, events))  # once more if need be: an event is written once
        queues.ring(queues.RECEIPTS)
        if url := receiver.confirmation(received):
            loop.run(_confirm(provider, url))
        return Response(status=status.HTTP_204_NO_CONTENT)


async def _confirm(provider: str, url: str) -> None:
    """Let the provider begin to report. If that fails, the operator asks it for another confirmation."""
    try:
        code = await fetch(url, CONFIRM_SECONDS)
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        logger.error("not confirmed", extra={"provider": provider, "error": type(error).__name__})
    else:
        logger.warning("confirmed to the provider", extra={"provider": provider, "status": code})


def _received(request: Request, provider: str) -> tuple[Receiver, ReceivedRequest]:
    receiver = first_read(lambda: providers.receiver_of(provider))
    if receiver is None:
        raise Problem(404, "not_found", "There is no such provider here, or its key is not configured.")
    body = bytes_of(request, settings.RECEIPT_MAX_BYTES)
    return receiver, ReceivedRequest(url=_public_url(request), headers=request.headers, body=body)


def _events(receiver: Receiver, received: ReceivedRequest, provider: str) -> list[ReceiptEvent]:
    try:
        receiver.verify(received)
        return receiver.parse(received)
    except BadSignature as error:
        counting.count(f"receipts.refused.{provider}")
        logger.warning("receipt not signed", extra={"provider": provider, "error": str(error)})
        raise Problem(403, "bad_signature", "The signature is not this provider's.") from None
    except OSError as error:  # a certificate it is verified with
        logger.error("certificate not fetched", extra={"provider": provider, "error": str(error)})
        raise Problem(
            503, "certificate_unavailable", "Send it again.", headers={"Retry-After": "60"}
        ) from None
    except BadReceipt as error:
        counting.count(f"receipts.unreadable.{provider}")
        logger.error("receipt not readable", extra={"provider": provider, "error": type(error).__name__})
        raise Problem(400, "bad_receipt", "The request is signed, but cannot be read.") from None


def _public_url(request: Request) -> str:
    """The address the provider called and signed: ours may be that of a machine behind a proxy."""
    if settings.PUBLIC_URL:
        return f"{settings.PUBLIC_URL}{request.get_full_path()}"
    url: str = request.build_absolute_uri()
    return url
