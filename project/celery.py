"""Celery, used as a bell only: no results, no retries, no countdowns, no priorities of messages."""

from __future__ import annotations

import os
from typing import Any

import celery.app.amqp
import kombu
from celery import Celery
from celery.schedules import schedule
from kombu import Exchange, Queue

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
from django.conf import settings

from project import queues


class Connection(kombu.Connection):
    """Looks for a lost broker every second; Celery would wait longer and longer, up to 30 s."""

    def ensure_connection(self, *args: Any, **options: Any) -> Any:
        return super().ensure_connection(*args, **{"interval_start": 1, "interval_max": 1} | options)


class AMQP(celery.app.amqp.AMQP):
    Connection = Connection


app = Celery("carillon", amqp=AMQP)
app.config_from_object("django.conf:settings", namespace="CELERY")
app.conf.update(
    task_queues=[Queue(lane, Exchange(lane), routing_key=lane, no_ack=True) for lane in queues.LANES],
    task_create_missing_queues=False,
    task_default_queue=queues.CONTROL,
    task_ignore_result=True,
    task_store_errors_even_if_ignored=False,
    task_acks_late=False,  # losing a bell is harmless, hearing it forever is not
    # Nor is a bell acknowledged at all, or taken before a child is free: an acknowledgement that is lost with
    # its connection makes a worker deaf, or ends it (docs/decisions/0007-deaf-workers.md).
    worker_disable_prefetch=True,
    worker_hijack_root_logger=False,
    worker_send_task_events=False,
    worker_cancel_long_running_tasks_on_connection_loss=False,
    broker_connection_retry_on_startup=True,
    broker_connection_timeout=settings.REDIS_TIMEOUT,
    broker_connection_max_retries=None,  # after the 100 of the default it would end
    broker_transport_options={
        "queue_order_strategy": "project.turns:ByUrgency",
        "socket_timeout": settings.REDIS_TIMEOUT * 2,
        "socket_connect_timeout": settings.REDIS_TIMEOUT,
        "socket_keepalive": True,
        "health_check_interval": 3,  # so soon after it should have answered a dead connection is replaced
    },
    beat_schedule={
        "sweep": {
            "task": "delivery.sweep",
            "schedule": schedule(settings.SWEEP_INTERVAL),
            # By the worker's clock: one that is five minutes ahead must not drop every tick. Those that pile
            # up while no worker is there are swept in seconds.
            "options": {"queue": queues.CONTROL, "expires": 600},
        },
        "partitions": {
            "task": "notifications.partitions",
            "schedule": schedule(3600),
            "options": {"queue": queues.CONTROL, "expires": 600},
        },
    },
    beat_scheduler="celery.beat:Scheduler",  # nothing to remember: ticks are idempotent
)
app.autodiscover_tasks(["apps.notifications", "apps.delivery"])
