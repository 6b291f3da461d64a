"""Provider rows that point every channel at the simulator; two providers of e-mail and of SMS."""

from __future__ import annotations

import base64
from typing import Any, NamedTuple

from project.dev.processes import RECEIPT_KEY

SENDER = "Carillon <notifications@example.com>"
LOCAL = "127.0.0.0/8"
# Of a browser-push sender that does not exist: any number below the order of the curve is a key.
VAPID_KEY = base64.urlsafe_b64encode(bytes(range(1, 33))).decode().rstrip("=")


class Simulated(NamedTuple):
    """Where the simulator listens."""

    url: str
    http2_url: str


def rows(at: Simulated) -> list[dict[str, Any]]:
    """The providers: name (as the simulator calls them), arguments, and the secret ones among these."""
    return [*_email(at), *_sms(at), *_push(at), *_webhook_and_chat(at)]


def _email(at: Simulated) -> list[dict[str, Any]]:
    from apps.integrations.ses.simulated_receipts import CERTIFICATES, TOPIC

    return [
        _row(
            "sendgrid",
            {"sender": SENDER, "base_url": at.url, "public_key": RECEIPT_KEY},
            {"api_key": "SG.simulated.key"},
        ),
        _row(
            "ses",
            {
                "access_key_id": "AKIASIMULATED0000000",
                "region": "us-east-1",
                "sender": SENDER,
                "base_url": at.url,
                "topics": TOPIC,
                "certificate_url": f"{at.url}{CERTIFICATES}",
            },
            {"secret_access_key": "simulated"},
        ),
    ]


def _sms(at: Simulated) -> list[dict[str, Any]]:
    from apps.integrations.vonage.simulated_receipts import API_KEY, SECRET

    return [
        _row(
            "twilio",
            {"account_sid": "AC" + "0" * 32, "sender": "+15005550006", "base_url": at.url},
            {"auth_token": "simulated"},
        ),
        _row(
            "vonage",
            {"api_key": API_KEY, "sender": "15005550006", "base_url": at.url},
            {"api_secret": "simulated", "signature_secret": SECRET},
        ),
    ]


def _push(at: Simulated) -> list[dict[str, Any]]:
    from apps.integrations.apns.simulated import KEY
    from apps.integrations.fcm.simulated import service_account

    apns = {"key_id": "SIMULATED0", "team_id": "CARILLON00", "topic": "com.example.carillon"}
    return [
        _row("fcm", {"base_url": at.url}, {"service_account": service_account(at.url)}),
        _row("apns", {**apns, "base_url": at.http2_url}, {"key": KEY}),
        _row(
            "webpush",
            {"subject": "mailto:operator@example.com", "allow": LOCAL},
            {"private_key": VAPID_KEY},
        ),
    ]


def _webhook_and_chat(at: Simulated) -> list[dict[str, Any]]:
    return [
        _row("webhook", {"allow": LOCAL}),
        _row("slack_webhook", {"base_url": at.url, "allow": LOCAL}),
        _row("slack", {"base_url": f"{at.url}/api"}, {"bot_token": "xoxb-simulated"}),
        _row("teams", {"base_url": at.url, "allow": LOCAL}),
        _row("apprise", {"schemes": "mmost", "allow": LOCAL}),
    ]


def _row(name: str, options: dict[str, Any], secrets: dict[str, str] | None = None) -> dict[str, Any]:
    return {"name": name, "options": options, "secrets": secrets or {}}


def install(at: Simulated, names: set[str] | None = None) -> None:
    """Write these rows (or those of these names) where they are missing or point elsewhere."""
    from apps.delivery.models import Provider
    from apps.integrations.registry import adapter_class
    from project import sealing
    from project.clock import Now

    for row in rows(at):
        if names is None or row["name"] in names:
            fields = {
                "adapter": row["name"],
                "channel": adapter_class(row["name"]).channel,
                "options": row["options"],
                "credentials": {name: sealing.seal(value) for name, value in row["secrets"].items()},
                "updated_at": Now(),
            }
            Provider.objects.update_or_create(name=row["name"], defaults=fields)
