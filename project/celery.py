"""Celery, used as a bell only: no results, no retries, no countdowns, no priorities of messages."""

from __future__ import annotations

import os

from celery import Celery
from celery.schedules import schedule
from kombu import Exchange, Queue

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
from django.conf import settings

from project import queues

app = Celery("carillon")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.conf.update(
    task_queues=[Queue(lane, Exchange(lane), routing_key=lane) for lane in queues.LANES],
    task_create_missing_queues=False,
    task_default_queue=queues.CONTROL,
    task_ignore_result=True,
    task_store_errors_even_if_ignored=False,
    task_acks_late=False,  # losing a bell is harmless, hearing it forever is not
    worker_prefetch_multiplier=1,
    worker_hijack_root_logger=False,
    worker_send_task_events=False,
    worker_cancel_long_running_tasks_on_connection_loss=False,
    broker_connection_retry_on_startup=True,
    broker_connection_timeout=settings.REDIS_TIMEOUT,
    broker_transport_options={
        "queue_order_strategy": "priority",  # a group's lanes in the order it lists them
        "socket_timeout": settings.REDIS_TIMEOUT * 5,
        "socket_connect_timeout": settings.REDIS_TIMEOUT,
        "socket_keepalive": True,
        "health_check_interval": 10,
        "visibility_timeout": 3600,
    },
    beat_schedule={
        "sweep": {
            "task": "delivery.sweep",
            "schedule": schedule(settings.SWEEP_INTERVAL),
            "options": {"queue": queues.CONTROL, "expires": 5},
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
