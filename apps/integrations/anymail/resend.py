"""Resend's webhooks: what the library wants another package for, and words that are new to it."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import Any, ClassVar

from anymail.exceptions import AnymailWebhookValidationFailure
from anymail.signals import EventType
from anymail.webhooks.base import AnymailBaseWebhookView
from anymail.webhooks.resend import ResendTrackingWebhookView
from django.http import HttpRequest


class ResendWebhookView(ResendTrackingWebhookView):  # type: ignore[misc]  # the library is untyped
    """`signing_secret` is the webhook's, "whsec_…". Raises ValueError if it is none."""

    warn_if_no_basic_auth = False
    # https://resend.com/docs/webhooks/event-types
    event_types: ClassVar[dict[str, str]] = {
        **ResendTrackingWebhookView.event_types,
        "email.failed": EventType.FAILED,
        "email.suppressed": EventType.REJECTED,  # it bounced, or complained, before
    }

    def __init__(self, *, signing_secret: str, **arguments: Any) -> None:
        AnymailBaseWebhookView.__init__(self, **arguments)
        self._svix_webhook = None  # the library's own check
        self._key = base64.b64decode(signing_secret.removeprefix("whsec_"), validate=True)

    def validate_request(self, request: HttpRequest) -> None:
        """As https://docs.svix.com/receiving/verifying-payloads/how-manual has it, but for the age."""
        id, timestamp = (request.headers.get(name, "") for name in ("svix-id", "svix-timestamp"))
        signed = hmac.digest(self._key, f"{id}.{timestamp}.".encode() + request.body, hashlib.sha256)
        for signature in request.headers.get("svix-signature", "").split():
            version, _, encoded = signature.partition(",")
            if version == "v1" and hmac.compare_digest(_decoded(encoded), signed):
                return
        raise AnymailWebhookValidationFailure("no signature of these bytes")


def _decoded(encoded: str) -> bytes:
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        return b""
