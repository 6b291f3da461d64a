"""Django's settings of the peers: the same Postgres, Redis and simulator as ours, by the same environment."""

from __future__ import annotations

import os

import environ

env = environ.Env()
PROCESSES = 4  # of each peer; as many as ours has for bulk e-mail, planning included

SECRET_KEY = "of-a-benchmark"
USE_TZ = True
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "post_office", "tests.load.baseline"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates"}]
DATABASES = {"default": env.db_url("DATABASE_URL") | {"CONN_MAX_AGE": None}}

SENDGRID_URL = f"{os.environ['SENDGRID_BASE_URL']}/v3/mail/send"
SENDGRID_API_KEY = os.environ["SENDGRID_API_KEY"]
DEFAULT_FROM_EMAIL = "Carillon <notifications@example.com>"
CELERY_BROKER_URL = os.environ["REDIS_URL"]

EMAIL_HOST = os.environ["EMAIL_HOST"]
EMAIL_PORT = int(os.environ["EMAIL_PORT"])
EMAIL_TIMEOUT = 10
POST_OFFICE = {
    "BATCH_SIZE": 5_000,
    "THREADS_PER_PROCESS": 16,  # as ours
    "LOG_LEVEL": 0,
    "TEMPLATE_ENGINE": "django",
}
