"""The obvious design's tasks."""

from __future__ import annotations

import os
from functools import cache

import requests
from celery import Celery, Task
from django.conf import settings
from django.template import Context, Template
from django.utils import timezone

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.load.baseline.settings")
app = Celery("baseline")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.conf.update(task_default_queue="baseline", task_ignore_result=True, worker_hijack_root_logger=False)

AT_ONCE = 1_000
TIMEOUT = 10  # seconds


@app.task
def notify(notification_id: int, person_ids: list[int]) -> None:
    """A row and a task for each person."""
    from tests.load.baseline.models import Message

    for start in range(0, len(person_ids), AT_ONCE):
        messages = Message.objects.bulk_create(
            Message(notification_id=notification_id, person_id=id)
            for id in person_ids[start : start + AT_ONCE]
        )
        for message in messages:
            send.delay(message.pk)


@app.task(
    bind=True, autoretry_for=(requests.RequestException,), retry_backoff=True, max_retries=5, acks_late=True
)
def send(self: Task, message_id: int) -> None:
    """Render one message and give it to SendGrid."""
    from tests.load.baseline.models import Attempt, Message

    message = Message.objects.select_related("notification", "person").get(pk=message_id)
    if message.status == "sent":
        return
    message.status = "sending"
    message.save(update_fields=["status", "updated_at"])
    attempt = Attempt.objects.create(message=message)
    answer = session().post(settings.SENDGRID_URL, json=body(message), timeout=TIMEOUT)
    attempt.status_code, attempt.finished_at = answer.status_code, timezone.now()
    attempt.provider_message_id = answer.headers.get("X-Message-Id", "")
    attempt.save()
    answer.raise_for_status()
    message.status = "sent"
    message.save(update_fields=["status", "updated_at"])


def body(message: object) -> dict[str, object]:
    """As SendGrid takes it."""
    context = Context({"recipient": message.person, **message.notification.payload}, autoescape=False)
    name, _, address = settings.DEFAULT_FROM_EMAIL.rstrip(">").partition(" <")
    text = template(message.notification.body).render(context)
    return {
        "from": {"email": address, "name": name},
        "subject": template(message.notification.subject).render(context),
        "personalizations": [
            {"to": [{"email": message.person.email}], "custom_args": {"target": str(message.pk)}}
        ],
        "content": [{"type": "text/plain", "value": text}],
    }


@cache
def template(text: str) -> Template:
    """Parsed once a process."""
    return Template(text)


@cache
def session() -> requests.Session:
    """One a process, with its connection kept."""
    made = requests.Session()
    made.headers["Authorization"] = f"Bearer {settings.SENDGRID_API_KEY}"
    return made
