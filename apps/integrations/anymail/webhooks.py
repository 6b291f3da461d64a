"""The library's webhook views, without the web: who signs how, and each event of a request alone."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any
from urllib.parse import parse_qs, urlencode

from django.http import HttpRequest, QueryDict

_JSON, _FORM = "application/json", "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True)
class Webhook:
    """How a service reports: https://anymail.dev/en/stable/esps/, "Status tracking webhooks" of each.

    `key` is what the view calls that with which the service signs; "" if it signs nothing. A request that
    matches `start` holds a list of events behind it, any other is one event; `alone` is a body with one.
    """

    view: str
    key: str = ""
    start: str = r"(?!)"
    alone: bytes = b"%b"
    form: str = ""  # the field the JSON is in, where the body is no JSON


WEBHOOKS: dict[str, Webhook] = {
    "brevo": Webhook("anymail.webhooks.brevo.BrevoTrackingWebhookView"),
    "mailersend": Webhook("anymail.webhooks.mailersend.MailerSendTrackingWebhookView", "signing_secret"),
    "mailgun": Webhook("anymail.webhooks.mailgun.MailgunTrackingWebhookView", "webhook_signing_key"),
    "mailjet": Webhook("anymail.webhooks.mailjet.MailjetTrackingWebhookView", start=r"\s*\["),
    "mailtrap": Webhook(
        "anymail.webhooks.mailtrap.MailtrapTrackingWebhookView",
        "tracking_secret",
        start=r'\s*\{\s*"events"\s*:\s*\[',
        alone=b'{"events":[%b]}',
    ),
    "mandrill": Webhook(
        "anymail.webhooks.mandrill.MandrillCombinedWebhookView",
        "webhook_key",
        start=r"\s*\[",
        alone=b"[%b]",
        form="mandrill_events",
    ),
    "postal": Webhook("anymail.webhooks.postal.PostalTrackingWebhookView", "webhook_key"),
    "postmark": Webhook("anymail.webhooks.postmark.PostmarkTrackingWebhookView"),
    "resend": Webhook("apps.integrations.anymail.resend.ResendWebhookView", "signing_secret"),
    "sparkpost": Webhook(
        "anymail.webhooks.sparkpost.SparkPostTrackingWebhookView", start=r"\s*\[", alone=b"[%b]"
    ),
    "unisender_go": Webhook(
        "anymail.webhooks.unisender_go.UnisenderGoTrackingWebhookView",
        "api_key",
        start=r'(?s)\s*\{.*?"events"\s*:\s*\[',
        alone=b'{"events_by_user":[{"events":[%b]}]}',
    ),
}


def view(webhook: Webhook, *, signing_secret: str, webhook_secret: str, url: str) -> Any:
    """A view for one request to this URL. Every argument is given: what is not is looked up in settings."""
    arguments: dict[str, Any] = {
        "api_key": None,
        "track_initial_open_as_opened": False,
        "webhook_secret": [webhook_secret] if webhook_secret else [],
        "webhook_url": _with(webhook_secret, url),
    }
    if webhook.key:
        arguments[webhook.key] = signing_secret
    return _view(webhook.view)(**arguments)


@cache
def _view(path: str) -> Callable[..., Any]:
    module, _, name = path.rpartition(".")
    kind: Callable[..., Any] = getattr(import_module(module), name)
    return kind


def _with(webhook_secret: str, url: str) -> str:
    """The URL as Mandrill signs it: with user and password, if it was given them."""
    return url.replace("://", f"://{webhook_secret}@", 1) if webhook_secret else url


class Received(HttpRequest):
    """What the views read of a request. Its type is the service's, whatever the header says.

    Of two types a body may be read as, the library would check one and we the other. Not a WSGIRequest, which
    refuses bodies beyond a setting.
    """

    def __init__(self, webhook: Webhook, headers: Mapping[str, str], body: bytes) -> None:
        super().__init__()
        self.method = "POST"
        self.content_type = _FORM if webhook.form else _JSON
        self.META = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items()}
        self._body = body
        if webhook.form:
            self.POST = QueryDict(body, encoding="utf-8")


def reports(webhook: Webhook, body: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Each event: as it came, and a body for the view with nothing else in it. Raises ValueError."""
    whole = _json(webhook, body)
    start = re.match(webhook.start, whole)
    if start is None:
        if not isinstance(json.loads(whole), dict):
            raise ValueError("neither an event nor a list of them")
        yield _bytes(whole), body
        return
    for raw in _elements(whole, start.end()):
        alone = webhook.alone % raw
        yield raw, urlencode({webhook.form: alone}).encode() if webhook.form else alone


def _json(webhook: Webhook, body: bytes) -> str:
    # What is not UTF-8 spoils no more than the string it is in, and comes out as the same bytes.
    text = body.decode(errors="surrogateescape")
    if not webhook.form:
        return text
    values = parse_qs(body.decode(errors="replace"), errors="surrogateescape").get(webhook.form)
    if not values:
        raise ValueError("a form without events")
    return values[-1]


def _elements(whole: str, at: int) -> Iterator[bytes]:
    """The values of a JSON list from behind its bracket, each with the bytes it was read from."""
    read = json.JSONDecoder(strict=False).raw_decode
    between = re.compile(r"[ \t\r\n,]*")
    while not whole.startswith("]", at := between.match(whole, at).end()):  # type: ignore[union-attr]  # or nothing
        _, end = read(whole, at)
        yield _bytes(whole[at:end])
        at = end


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogateescape")
