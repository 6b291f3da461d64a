"""Every setting, from the environment only. Times are in seconds unless a line says otherwise."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import environ
from django.core.exceptions import ImproperlyConfigured

from project import alive

BASE_DIR = Path(__file__).resolve().parent.parent
env = environ.Env()

DEBUG = env.bool("DEBUG", False)
SECRET_KEY = env.str("SECRET_KEY", "insecure-for-development-only-never-in-production" if DEBUG else "")
if not SECRET_KEY:
    raise ImproperlyConfigured("Set SECRET_KEY (or DEBUG=1 on a machine of your own; bin/dev does all this).")
# Earlier ones, by which what they have signed is still known: links in e-mails that people have kept.
SECRET_KEY_FALLBACKS = env.list("SECRET_KEY_FALLBACKS", default=[])
# Fernet keys for secrets in the database: the first encrypts, any decrypts. Without any, one is derived from
# SECRET_KEY.
ENCRYPTION_KEYS = env.list("ENCRYPTION_KEYS", default=[])
for needed in ("DATABASE_URL", "REDIS_URL"):
    if needed not in env.ENVIRON:
        raise ImproperlyConfigured(f"Set {needed}, or start through bin/dev, bin/test or bin/bench.")

ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"] if DEBUG else [])
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])
ROOT_URLCONF = "project.urls"
WSGI_APPLICATION = "project.wsgi.application"
ASGI_APPLICATION = "project.asgi.application"
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
AUTH_USER_MODEL = "users.User"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("MinimumLengthValidator", "CommonPasswordValidator", "NumericPasswordValidator")
]

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.postgres",
    "django.contrib.staticfiles",
    "channels",
    "corsheaders",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "apps.users",
    "apps.content",
    "apps.preferences",
    "apps.notifications",
    "apps.delivery",
    "apps.websocket",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "corsheaders.middleware.CorsMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

STATIC_URL = "/static/"
STATIC_ROOT = env.str("STATIC_ROOT", str(BASE_DIR / "staticfiles"))
WHITENOISE_USE_FINDERS = DEBUG
# collectstatic writes each file compressed, too; their names stay, since other sites' pages load them.
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedStaticFilesStorage"},
}

# --- Postgres: the diary ---------------------------------------------------------------------------------
DATABASES: dict[str, Any] = {"default": env.db_url("DATABASE_URL")}
DATABASES["default"] |= {
    "CONN_MAX_AGE": None,
    "CONN_HEALTH_CHECKS": False,
    "OPTIONS": {
        "connect_timeout": env.int("DATABASE_CONNECT_TIMEOUT", 3),
        # A server that vanished without a word is noticed after 25 s, not after the system's two hours.
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 25_000,  # ms
        # The engine's statements are prepared. Behind pgbouncer in transaction mode set 0: none are.
        "prepare_threshold": env.int("DATABASE_PREPARE_THRESHOLD", 2) or None,
        "application_name": env.str("ROLE", "carillon"),
        # Every statement on a growing table goes by an index, whatever the statistics say today (a
        # table that was empty when a statement was prepared would be scanned for minutes).
        # Tests pin the plans.
        "options": "-c plan_cache_mode=force_generic_plan -c jit=off -c enable_seqscan=off"
        " -c enable_hashjoin=off -c enable_mergejoin=off"
        " -c idle_in_transaction_session_timeout=60s -c lock_timeout=30s",
    },
}
DATABASE_DOWN_RETRY_AFTER = 5  # seconds, in the answer of a request that found no database

# --- Redis: the bell -------------------------------------------------------------------------------------
REDIS_URL = env.str("REDIS_URL")
CELERY_BROKER_URL = REDIS_URL
REDIS_TIMEOUT = env.float("REDIS_TIMEOUT", 2.0)  # seconds, connecting and answering
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        # redis-py 8 would give up on a quiet connection after 5 s; a quiet socket is the normal case.
        "CONFIG": {"hosts": [{"address": REDIS_URL, "socket_timeout": None}], "prefix": "carillon"},
    }
}

# --- API -------------------------------------------------------------------------------------------------
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["apps.users.authentication.ApiKeyAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["apps.users.authentication.HasScope"],
    "DEFAULT_RENDERER_CLASSES": ["project.api.OrjsonRenderer"],
    "DEFAULT_PARSER_CLASSES": ["project.api.OrjsonParser"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "project.negotiation.JsonNegotiation",
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "project.api.problem_response",
    "UNAUTHENTICATED_USER": None,
    "URL_FORMAT_OVERRIDE": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Carillon",
    "DESCRIPTION": "Notifications to people, by every channel. A 2xx is a commit.",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_AUTHENTICATION": [],
    "SERVE_PERMISSIONS": [],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SWAGGER_UI_SETTINGS": {"persistAuthorization": True},
    "COMPONENT_SPLIT_REQUEST": True,
    # A type that several fields have would otherwise be called after one of them.
    "ENUM_NAME_OVERRIDES": {
        "ChannelEnum": "project.queues.CHANNELS",
        "Day": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"],
    },
}
MAX_BODY_BYTES = env.int("MAX_BODY_BYTES", 1_000_000)  # of one POST; bulk POSTs may have ten times that
DATA_UPLOAD_MAX_MEMORY_SIZE = 10 * MAX_BODY_BYTES
MAX_TARGETS = 1_000  # recipients named in one request
IDEMPOTENCY_KEPT = timedelta(hours=24)
# What pages of other origins may call, with a person's token and never with our cookies: project/origins.py
CORS_URLS_REGEX = r"/api/(inbox/|devices/|preferences/$)"
CORS_ALLOW_HEADERS = ["authorization", "content-type"]
CORS_EXPOSE_HEADERS = ["retry-after"]
USER_TOKEN_SECONDS = env.int("USER_TOKEN_SECONDS", 3600)  # longest life of a person's token

# --- The engine (apps/delivery) --------------------------------------------------------------------------
# All in seconds. The lease is how long a claim is safe from the sweeper; no call starts later than
# lease - provider timeout - margin.
CLAIM_LEASE = env.float("CLAIM_LEASE", 60.0)
CLAIM_MARGIN = env.float("CLAIM_MARGIN", 5.0)
UNKNOWN_GRACE = env.float("UNKNOWN_GRACE", 300.0)  # how long a receipt may clear an unknown outcome
SWEEP_INTERVAL = env.float("SWEEP_INTERVAL", 1.0)
BULK_BATCH = env.int("BULK_BATCH", 500)  # rows claimed at once, where the provider takes so many
MAX_ATTEMPTS = env.int("MAX_ATTEMPTS", 6)
RETRY_BASE = env.float("RETRY_BASE", 10.0)  # first wait; doubles, with jitter
RETRY_CAP = env.float("RETRY_CAP", 3600.0)
BREAKER_SECONDS = env.float("BREAKER_SECONDS", 30.0)  # a failing provider is left alone at first; doubles
SLOW_RECEIPT = env.float("SLOW_RECEIPT", 240.0)  # from sending to delivery: slower ones lower its share
# Of a provider's limit each process takes this part while Redis, where it is shared, is away.
LIMIT_SHARES = env.int("LIMIT_SHARES", 16)

# --- Preferences (docs/preferences.md) ---------------------------------------------------------------------
# Over so many seconds those are spread whose quiet times end at the same moment.
HOLD_SPREAD = env.float("HOLD_SPREAD", 300.0)

# --- Receipts (docs/receipts.md) ---------------------------------------------------------------------------
# What the providers reach us by, such as https://carillon.example.com: part of what they sign. The links of
# tracked e-mails begin with it (docs/tracking.md).
PUBLIC_URL = env.str("PUBLIC_URL", "").rstrip("/")
RECEIPT_MAX_BYTES = 5_000_000  # of one request; a batch of events may be some megabytes
RECEIPTS_KEPT = timedelta(days=env.int("RECEIPTS_KEPT", 30))
# What HELP by SMS is answered with. Empty: not by us; some vendors answer it themselves.
SMS_HELP_TEXT = env.str("SMS_HELP_TEXT", "").strip()

# --- Is a worker alive? (project/alive.py reads ALIVE_FILE itself) ----------------------------------------
CANARY_INTERVAL = env.float("CANARY_INTERVAL", 5.0)
WORKER_STUCK_AFTER = env.float("WORKER_STUCK_AFTER", alive.STUCK_AFTER)  # without a canary; then restart it

# --- Providers (apps/integrations): channel -> adapter, adapter -> its constructor's arguments --------------
PROVIDER_TIMEOUT = env.float("PROVIDER_TIMEOUT", 10.0)  # seconds one call may last
PROVIDERS = {"email": env.str("EMAIL_PROVIDER", "sendgrid"), "sms": env.str("SMS_PROVIDER", "twilio")}
DEFAULT_FROM_EMAIL = env.str("EMAIL_FROM", "Carillon <notifications@example.com>")
EMAIL_HOST = env.str("EMAIL_HOST", "localhost")
EMAIL_PORT = env.int("EMAIL_PORT", 25)
EMAIL_HOST_USER = env.str("EMAIL_HOST_USER", "")
EMAIL_HOST_PASSWORD = env.str("EMAIL_HOST_PASSWORD", "")
EMAIL_USE_TLS = env.bool("EMAIL_USE_TLS", False)
EMAIL_USE_SSL = env.bool("EMAIL_USE_SSL", False)
PROVIDER_OPTIONS: dict[str, dict[str, Any]] = {
    "sendgrid": {
        "api_key": env.str("SENDGRID_API_KEY", ""),
        "sender": DEFAULT_FROM_EMAIL,
        "base_url": env.str("SENDGRID_BASE_URL", "https://api.sendgrid.com"),
        "timeout": PROVIDER_TIMEOUT,
    },
    "smtp": {
        "host": EMAIL_HOST,
        "port": EMAIL_PORT,
        "username": EMAIL_HOST_USER,
        "password": EMAIL_HOST_PASSWORD,
        "use_tls": EMAIL_USE_TLS,
        "use_ssl": EMAIL_USE_SSL,
        # Of each worker process; servers limit those of one client (Postfix: 50 outside its own networks).
        "connections": env.int("EMAIL_CONNECTIONS", 32),
        "sender": DEFAULT_FROM_EMAIL,
        "timeout": PROVIDER_TIMEOUT,
    },
    "twilio": {
        "account_sid": env.str("TWILIO_ACCOUNT_SID", ""),
        "auth_token": env.str("TWILIO_AUTH_TOKEN", ""),
        "sender": env.str("TWILIO_SENDER", ""),
        "base_url": env.str("TWILIO_BASE_URL", "https://api.twilio.com"),
        "status_callback": env.str(
            "TWILIO_STATUS_CALLBACK", PUBLIC_URL and f"{PUBLIC_URL}/api/receipts/twilio/"
        ),
        "timeout": PROVIDER_TIMEOUT,
    },
}
# What the receivers verify signatures with. One with an empty option is not configured: it answers 404.
RECEIPT_OPTIONS: dict[str, dict[str, Any]] = {
    "sendgrid": {"public_key": env.str("SENDGRID_RECEIPT_KEY", "")},
    "twilio": {"auth_token": env.str("TWILIO_AUTH_TOKEN", "")},
}

# --- Sockets (apps/websocket) ----------------------------------------------------------------------------
# Pages that may open a socket, and call the API with a person's token (project/origins.py).
WEBSOCKET_ALLOWED_ORIGINS = env.list("WEBSOCKET_ALLOWED_ORIGINS", default=ALLOWED_HOSTS)
WEBSOCKET_AUTH_SECONDS = env.float("WEBSOCKET_AUTH_SECONDS", 5.0)  # to send the token as first message
WEBSOCKET_CATCH_UP_SECONDS = env.float("WEBSOCKET_CATCH_UP_SECONDS", 15.0)  # a lost hint costs at most this

# --- Behind TLS -------------------------------------------------------------------------------------------
if not DEBUG:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if env.bool("BEHIND_PROXY", False) else None
    SECURE_SSL_REDIRECT = env.bool("SSL_REDIRECT", True)
    SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT
    SECURE_HSTS_SECONDS = env.int("HSTS_SECONDS", 31_536_000)
    SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = True

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"()": "project.logs.LineFormatter"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": env.str("LOG_LEVEL", "INFO")},
    "loggers": {"django": {"handlers": [], "propagate": True}},
}
