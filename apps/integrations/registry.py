"""Every adapter, by key. A new provider: its folder, a line here, its options in the settings, its tests."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from apps.integrations.contract import Adapter, Receiver

# Dotted paths, imported on first use: a worker of one channel does not pay for the SDKs of the others.
ADAPTERS = {
    "apprise": "apps.integrations.apprise.adapter.AppriseAdapter",
    "anymail": "apps.integrations.anymail.adapter.AnymailAdapter",
    "apns": "apps.integrations.apns.adapter.ApnsAdapter",
    "fcm": "apps.integrations.fcm.adapter.FcmAdapter",
    "sendgrid": "apps.integrations.sendgrid.adapter.SendGridAdapter",
    "slack": "apps.integrations.slack.adapter.SlackAdapter",
    "slack_webhook": "apps.integrations.slack.webhook.SlackWebhookAdapter",
    "ses": "apps.integrations.ses.adapter.SesAdapter",
    "smtp": "apps.integrations.smtp.adapter.SmtpAdapter",
    "teams": "apps.integrations.teams.adapter.TeamsAdapter",
    "twilio": "apps.integrations.twilio.adapter.TwilioAdapter",
    "webhook": "apps.integrations.webhook.adapter.WebhookAdapter",
    "webpush": "apps.integrations.webpush.adapter.WebPushAdapter",
    "vonage": "apps.integrations.vonage.adapter.VonageAdapter",
}
# Those that report back what became of a message.
RECEIVERS = {
    "anymail": "apps.integrations.anymail.receipts.AnymailReceiver",
    "sendgrid": "apps.integrations.sendgrid.receipts.SendGridReceiver",
    "ses": "apps.integrations.ses.receipts.SesReceiver",
    "twilio": "apps.integrations.twilio.receipts.TwilioReceiver",
    "vonage": "apps.integrations.vonage.receipts.VonageReceiver",
}
# Those whose addresses are made with a public key of ours: what tells it, from the adapter's arguments.
PUBLIC_KEYS = {"webpush": "apps.integrations.webpush.vapid.public_key"}


def adapter_class(key: str) -> type[Adapter]:
    """The adapter's class. Raises KeyError for a key nobody registered."""
    return _imported(ADAPTERS[key])  # type: ignore[no-any-return]


def receiver_class(key: str) -> type[Receiver]:
    """The receiver's class. Raises KeyError for one that reports nothing."""
    return _imported(RECEIVERS[key])  # type: ignore[no-any-return]


def public_key_of(key: str) -> Callable[..., str]:
    """What tells the public key. Raises KeyError for an adapter that has none."""
    return _imported(PUBLIC_KEYS[key])  # type: ignore[no-any-return]


def receiver(key: str, options: dict[str, Any]) -> Receiver:
    """A receiver from its settings (`RECEIPT_OPTIONS[key]`). Raises KeyError for one that reports nothing."""
    return _imported(RECEIVERS[key])(**options)  # type: ignore[no-any-return]


def _imported(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(import_module(module), name)
