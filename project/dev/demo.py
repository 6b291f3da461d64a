"""The demo: a person, a service with a key, and a notification that goes to them by every channel.

What sends and follows it uses nothing but the public API and the socket, as a product would.
"""

from __future__ import annotations

import json
import secrets
import threading
import time
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from project.dev.providers import Simulated
from project.queues import CHANNELS

PERSON = {
    "external_id": "ada",
    "name": "Ada Lovelace",
    "email": "ada@example.com",
    "phone": "+4930123456",
    "timezone": "Europe/London",
    "language": "en",
}
COLLEAGUE = {"external_id": "grace", "name": "Grace Hopper", "email": "grace@example.com", "language": "en"}
TEMPLATE = "order-shipped"
TEXTS: dict[str, dict[str, Any]] = {
    "in_app": {
        "subject": "Order {{ order }} is on its way",
        "body": "It should reach you on {{ day }}.",
    },
    "email": {
        "subject": "{{ recipient.name }}, your order is on its way",
        "body": "Hello {{ recipient.name }},\n\nyour order {{ order }} should reach you on {{ day }}.\n",
        "html": "<p>Hello {{ recipient.name }},</p>"
        "<p>your order <b>{{ order }}</b> should come on {{ day }}.</p>",
    },
    "sms": {"body": "Your order {{ order }} should reach you on {{ day }}."},
    "push": {"subject": "Order {{ order }} is on its way", "body": "It should reach you on {{ day }}."},
    "webhook": {
        "subject": "Order shipped",
        "body": "Order {{ order }} should reach {{ recipient.name }} on {{ day }}.",
    },
    "chat": {"subject": "Order {{ order }} is on its way", "body": "It should reach you on {{ day }}."},
}
APPROVAL: dict[str, dict[str, Any]] = {
    "in_app": {
        "subject": "{{ who }} asks for {{ what }}",
        "body": "It would cost {{ sum }}. Do you approve of it?",
        "actions": [
            {"id": "approve", "label": "Approve", "link": ""},
            {"id": "decline", "label": "Decline", "link": ""},
        ],
    }
}
TEMPLATES: dict[str, tuple[str, dict[str, dict[str, Any]], dict[str, str]]] = {  # type, texts, an example
    TEMPLATE: ("status_update", TEXTS, {"order": "A-17", "day": "Monday"}),
    "approval-wanted": ("collaboration_alert", APPROVAL, {"who": "Grace", "what": "a chair", "sum": "€ 90"}),
}
ADMIN_LOGIN, ADMIN_PASSWORD = "admin", "carillon"  # of a server on this machine only
SLOWEST = 60.0  # seconds for the demo to be delivered
REPORTED = ("email", "sms")  # channels whose providers tell, by a receipt, that it was delivered


@dataclass(frozen=True)
class Demo:
    """What the demo calls with."""

    api: str  # http://127.0.0.1:8000
    sockets: str  # http://127.0.0.1:8001
    key: str
    user_id: int


def prepare(folder: Path, at: Simulated) -> tuple[str, int]:
    """The demo's rows, made where missing. Returns the service's API key and the person's id."""
    from apps.users import people
    from apps.users.models import User
    from apps.users.schemas import UserInput

    known = people.upsert(1, [UserInput.model_validate(one) for one in (PERSON, COLLEAGUE)])
    person = known[PERSON["external_id"]]
    prepare_templates()
    prepare_places(person.id, at)
    if not User.objects.filter(login=ADMIN_LOGIN).exists():
        User.objects.create_superuser(ADMIN_LOGIN, ADMIN_PASSWORD)
    return _key(folder), person.id


def prepare_templates() -> None:
    """The demo's templates: one on every channel, one with buttons."""
    from apps.content.models import NotificationTemplate, TemplateVersion
    from project import clock

    for slug, (type, texts, example) in TEMPLATES.items():
        template, is_new = NotificationTemplate.objects.get_or_create(
            slug=slug, organization_id=1, defaults={"type": type}
        )
        if is_new:
            template.current = TemplateVersion.objects.create(
                template=template,
                number=1,
                content={channel: {"en": parts} for channel, parts in texts.items()},
                schema={"type": "object", "required": list(example)},
                example=example,
                published_at=clock.now(),
            )
            template.save()


def prepare_places(user_id: int, at: Simulated) -> None:
    """The person's devices and endpoints: at the simulator, so by plain http, which the API would refuse."""
    from apps.integrations.webhook.simulated import SECRET
    from apps.integrations.webpush.simulated import subscription
    from apps.users import signing
    from apps.users.models import Device, Endpoint
    from apps.users.places import digest
    from project import sealing

    known: dict[str, Any] = {"organization_id": 1, "user_id": user_id}
    devices = {"fcm": "demo-token", "apns": "a11ce5" * 8, "webpush": subscription(f"{at.url}/webpush/demo")}
    for kind, token in devices.items():
        Device.objects.filter(kind=kind, **known).exclude(token=token).delete()
        Device.objects.get_or_create(kind=kind, token=token, digest=digest(token), **known)
    endpoints = {
        "webhook": f"{at.url}/hooks/demo",
        "slack_webhook": f"{at.url}/services/T0/B0/demo",
        "slack": "C0DEMO0000",
        "teams": f"{at.url}/workflows/demo/triggers/manual/paths/invoke?sig=demo",
        "apprise": f"mmost://{at.url.removeprefix('http://')}/mattermost/{'d' * 26}",
    }
    for kind, address in endpoints.items():
        Endpoint.objects.filter(kind=kind, **known).exclude(digest=digest(address)).delete()
        secrets = signing.sealed([signing.Secret(SECRET)]) if kind == "webhook" else ""
        Endpoint.objects.get_or_create(
            kind=kind,
            digest=digest(address),
            **known,
            defaults={"address": sealing.seal(address), "secrets": secrets},
        )


def _key(folder: Path) -> str:
    """The demo service's key: kept in a file beside the data, since the database has only its hash."""
    from apps.users.authentication import find_key
    from apps.users.models import ApiKey, ServiceClient

    file = folder / "demo-key"
    if file.exists() and find_key(text := file.read_text()):
        return text
    client, _ = ServiceClient.objects.get_or_create(name="demo", organization_id=1)
    _, text = ApiKey.issue(client)
    file.touch(mode=0o600)
    file.write_text(text)
    return text


@dataclass(frozen=True)
class Delivery:
    """How the demo went to one address. `seconds` is from the POST's acceptance, None while under way."""

    channel: str  # and the kind of device or endpoint
    status: str
    reason: str | None
    seconds: float | None

    @property
    def good(self) -> bool:
        """Whether it went as far as it can."""
        return self.status == "delivered" or (self.status == "sent" and self.channel not in REPORTED)


def send(demo: Demo) -> tuple[list[Delivery], float | None]:
    """Send the demo notification and follow it until it is settled everywhere.

    Returns one row per address, and after how many seconds the open socket had it (None: not in time).
    """
    arrived: dict[str, float] = {}
    ready = threading.Event()
    listener = threading.Thread(target=_listen, args=[demo, arrived, ready], daemon=True)
    listener.start()
    ready.wait(SLOWEST)
    posted = time.monotonic()
    answer = call(demo, "/api/notifications/", body(), {"Idempotency-Key": secrets.token_hex(8)})
    targets = _until_settled(demo, answer["id"])
    in_app = next(target["id"] for target in targets if target["channel"] == "in_app")
    deadline = time.monotonic() + SLOWEST
    while in_app not in arrived and listener.is_alive() and time.monotonic() < deadline:
        listener.join(0.01)
    seconds = arrived[in_app] - posted if in_app in arrived else None
    deliveries = [_delivery(target, answer["created_at"]) for target in targets]
    return sorted(deliveries, key=lambda one: (CHANNELS.index(one.channel.split()[0]), one.channel)), seconds


def body() -> dict[str, Any]:
    """The demo's request."""
    return {
        "template": TEMPLATE,
        "payload": {"order": "A-1001", "day": "Tuesday"},
        "targets": [PERSON["external_id"]],
        "channels": "all",
    }


def call(
    demo: Demo, path: str, data: Mapping[str, Any] | None = None, headers: Mapping[str, str] | None = None
) -> Any:
    """One call of the API with the demo's key. Raises urllib.error.HTTPError."""
    request = urllib.request.Request(
        demo.api + path,
        data=json.dumps(data).encode() if data is not None else None,
        headers={
            "Authorization": f"Bearer {demo.key}",
            "Content-Type": "application/json",
            **(headers or {}),
        },
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def _until_settled(demo: Demo, id: str) -> list[dict[str, Any]]:
    """And until receipts have come where there are some."""
    deadline = time.monotonic() + SLOWEST
    while True:
        summary = call(demo, f"/api/notifications/{id}/")["summary"]
        targets: list[dict[str, Any]] = call(demo, f"/api/notifications/{id}/targets/")["items"]
        told = all(target["status"] != "sent" for target in targets if target["channel"] in REPORTED)
        if (summary["settled"] and told) or time.monotonic() > deadline:
            return targets
        time.sleep(0.02)


def _delivery(target: Mapping[str, Any], accepted_at: str) -> Delivery:
    from datetime import datetime

    ended = target["delivered_at"] or target["sent_at"]
    seconds = None
    if ended:
        seconds = (datetime.fromisoformat(ended) - datetime.fromisoformat(accepted_at)).total_seconds()
    kind, colon, _ = target["address"].partition(":")
    label = f"{target['channel']} ({kind})" if colon else target["channel"]
    return Delivery(label, target["status"], target["reason"], seconds)


def _listen(demo: Demo, arrived: dict[str, float], ready: threading.Event) -> None:
    """Be the person's open page: note when each in-app notification comes, until the first has."""
    import asyncio

    import aiohttp

    token = call(demo, "/api/tokens/", {"user": demo.user_id})["token"]

    async def listen() -> None:
        async with aiohttp.ClientSession() as session:
            protocols = ("carillon", f"bearer.{token}")
            async with session.ws_connect(f"{demo.sockets}/ws/notifications/", protocols=protocols) as socket:
                async for message in socket:
                    frame = message.json()
                    if frame["type"] == "hello":
                        ready.set()
                    elif frame["type"] == "notification":
                        arrived[frame["item"]["id"]] = time.monotonic()
                        return

    try:
        asyncio.run(asyncio.wait_for(listen(), SLOWEST))
    finally:
        ready.set()
