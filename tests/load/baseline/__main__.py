"""python -m tests.load.baseline obvious|post_office MESSAGES: the last line is what it did a second.

Of the obvious design a worker must be running: celery -A tests.load.baseline.tasks worker --concurrency=4
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.load.baseline.settings")
SLOWEST = 300  # seconds
WARM_UP = 100  # messages


def main(peer: str, messages: int) -> None:
    django.setup()
    from django.core.management import call_command

    call_command("migrate", run_syncdb=True, verbosity=0)
    run = {"obvious": obvious, "post_office": post_office}[peer]
    run(WARM_UP)
    started = time.monotonic()
    run(messages)
    print(round(messages / (time.monotonic() - started), 1))


def people(number: int) -> list[object]:
    """So many, made where missing."""
    from tests.load.baseline.models import Person

    known = Person.objects.count()
    Person.objects.bulk_create(
        Person(external_id=f"person-{n}", name=f"Person {n}", email=f"person{n}@example.com")
        for n in range(known, number)
    )
    return [*Person.objects.order_by("pk")[:number]]


def obvious(number: int) -> None:
    """From the call of the task that plans to the last row that says sent."""
    from tests.bench.pipeline import CONTENT
    from tests.load.baseline.models import Message, Notification
    from tests.load.baseline.tasks import notify

    notification = Notification.objects.create(
        subject=CONTENT["subject"],
        body=CONTENT["body"],
        payload={"order": "A-1001", "day": "Tuesday"},
    )
    notify.delay(notification.pk, [person.pk for person in people(number)])
    deadline = time.monotonic() + SLOWEST
    while Message.objects.filter(notification=notification, status="sent").count() < number:
        if time.monotonic() > deadline:
            raise TimeoutError(f"not all of {number} were sent within {SLOWEST} s")
        time.sleep(0.1)


def post_office(number: int) -> None:
    """From the call that queues to the end of the command that sends."""
    from django.conf import settings
    from django.core.management import call_command
    from post_office import mail
    from post_office.models import EmailTemplate

    from tests.bench.pipeline import CONTENT

    template, _ = EmailTemplate.objects.get_or_create(
        name="order-shipped", defaults={"subject": CONTENT["subject"], "content": CONTENT["body"]}
    )
    mail.send_many(
        [
            {
                "recipients": [person.email],
                "template": template,
                "context": {
                    "recipient": {"name": person.name, "external_id": person.external_id},
                    "order": "A-1001",
                    "day": "Tuesday",
                },
                "render_on_delivery": True,
            }
            for person in people(number)
        ]
    )
    with tempfile.TemporaryDirectory() as folder:
        lock = str(Path(folder) / "lock")
        call_command("send_queued_mail", processes=settings.PROCESSES, lockfile=lock)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
