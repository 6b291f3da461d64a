"""Organizations, people, and the services that speak for them."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from typing import ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import PermissionsMixin
from django.contrib.postgres.fields import ArrayField
from django.db import models

from project import ids
from project.clock import Now

DEFAULT_ORGANIZATION_ID = 1  # made by the first migration; a single-tenant user never sees it


class Organization(models.Model):
    """A tenant. Every caller, person and notification belongs to exactly one."""

    name = models.CharField(max_length=200)
    created_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return self.name


class UserManager(BaseUserManager["User"]):
    def create_superuser(self, login: str, password: str | None = None, **fields: object) -> User:
        """An administrator of the default organization, for the admin's pages; no password, no way in."""
        user = User(login=login, is_staff=True, is_superuser=True, **fields)
        user.set_password(password)
        user.save()
        return user


class User(AbstractBaseUser, PermissionsMixin):
    """A person who receives notifications; with a `login` also one who may use the admin."""

    # No index of its own: the unique one below begins with it, and a planner that takes the table for small
    # would read the whole organization by it.
    organization = models.ForeignKey(
        Organization, models.PROTECT, default=DEFAULT_ORGANIZATION_ID, db_index=False
    )
    external_id = models.CharField(
        max_length=200,
        null=True,
        blank=True,
        help_text="The person's id in the product services' own system.",
    )
    name = models.CharField(max_length=200, blank=True)
    email = models.EmailField(blank=True)
    phone = models.CharField(max_length=16, blank=True, help_text="E.164, such as +4930123456.")
    timezone = models.CharField(max_length=64, default="UTC", help_text="IANA name, such as Europe/Berlin.")
    language = models.CharField(max_length=35, default="en", help_text="BCP 47 tag, such as pt-BR.")
    login = models.CharField(max_length=150, unique=True, null=True, blank=True)
    password = models.CharField(max_length=128, default="!")  # "!" never matches: most people cannot log in
    is_active = models.BooleanField(default=True)
    is_staff = models.BooleanField(default=False)
    created_at = models.DateTimeField(db_default=Now())
    updated_at = models.DateTimeField(db_default=Now())

    USERNAME_FIELD = "login"
    REQUIRED_FIELDS: ClassVar[list[str]] = []
    objects = UserManager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "external_id"],
                name="user_external_id",
                opclasses=["int8_ops", "varchar_pattern_ops"],  # also for the search below
            ),
        ]
        indexes = [  # the admin's search, by the beginning of each
            models.Index(fields=["email"], name="user_search_email", opclasses=["varchar_pattern_ops"]),
            models.Index(fields=["phone"], name="user_search_phone", opclasses=["varchar_pattern_ops"]),
        ]

    def __str__(self) -> str:
        return self.external_id or self.login or str(self.pk)


class Device(models.Model):
    """An app or a browser of a person that takes push messages. What becomes of it is in `devices.py`."""

    id = models.UUIDField(primary_key=True, default=ids.uuid7, editable=False)
    organization = models.ForeignKey(Organization, models.PROTECT, db_index=False)
    user = models.ForeignKey(User, models.PROTECT, related_name="devices", db_index=False)
    kind = models.CharField(max_length=20)  # of `places.DEVICE_KINDS`; a new one is no migration
    token = models.TextField()  # of a browser: its subscription, as JSON
    digest = models.CharField(max_length=64)  # SHA-256 of the token: it is longer than an index entry may be
    name = models.CharField(max_length=200, blank=True)
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(db_default=Now())
    updated_at = models.DateTimeField(db_default=Now())
    deactivated_at = models.DateTimeField(null=True)  # set exactly while it is not active
    deactivated_reason = models.CharField(max_length=60, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "kind", "digest"], name="device_token_once")
        ]
        indexes = [models.Index(fields=["user", "id"], name="device_of_user")]  # planning, and their list

    def __str__(self) -> str:
        return f"{self.kind}:{self.pk}"


class Endpoint(models.Model):
    """A URL of a person that takes webhooks or chat messages. What becomes of it is in `endpoints.py`."""

    id = models.UUIDField(primary_key=True, default=ids.uuid7, editable=False)
    organization = models.ForeignKey(Organization, models.PROTECT, db_index=False)
    user = models.ForeignKey(User, models.PROTECT, related_name="endpoints", db_index=False)
    kind = models.CharField(max_length=20)  # of `places.ENDPOINT_KINDS`; a new one is no migration
    address = models.TextField()  # sealed: whoever knows a chat's URL can write there
    digest = models.CharField(max_length=64)  # SHA-256 of the address, in clear
    secrets = models.TextField(blank=True)  # sealed, see `signing.py`; empty unless it is a webhook
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(db_default=Now())
    deactivated_at = models.DateTimeField(null=True)  # set exactly while it is not active
    deactivated_reason = models.CharField(max_length=60, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "user", "kind", "digest"], name="endpoint_address_once"
            )
        ]
        indexes = [models.Index(fields=["user", "id"], name="endpoint_of_user")]  # planning, and their list

    def __str__(self) -> str:
        return f"{self.kind}:{self.pk}"


class Scope(models.TextChoices):
    """What an API key may do."""

    SEND = "notifications:write", "send notifications"
    READ = "notifications:read", "read notifications, targets and attempts"
    USERS = "users:write", "create and change users"
    TOKENS = "tokens:write", "mint tokens for users"
    SUPPRESSIONS = "suppressions:write", "suppress addresses, and lift that"
    TEMPLATES = "templates:write", "write types and templates, publish and test them"
    KEEP_LANE = "lane:keep", "more than 1,000 targets stay in the lane of their priority"


def all_but_keep_lane() -> list[str]:
    return [scope.value for scope in Scope if scope is not Scope.KEEP_LANE]


class ServiceClient(models.Model):
    """A product service that calls the API."""

    organization = models.ForeignKey(Organization, models.PROTECT, default=DEFAULT_ORGANIZATION_ID)
    name = models.CharField(max_length=200)
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return self.name


_KEY_FORM = re.compile(r"(ck_[0-9a-f]{8})_[A-Za-z0-9_-]{43}")


class ApiKey(models.Model):
    """A secret of a service: only its hash is kept, the key itself is shown once."""

    client = models.ForeignKey(ServiceClient, models.CASCADE, related_name="keys")
    prefix = models.CharField(max_length=12, unique=True)
    digest = models.CharField(max_length=64)  # SHA-256 is enough: the secret has 256 random bits
    scopes = ArrayField(models.CharField(max_length=40), default=all_but_keep_lane)  # of `Scope`
    created_at = models.DateTimeField(db_default=Now())
    revoked_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"{self.prefix}…"

    @classmethod
    def issue(cls, client: ServiceClient, scopes: list[str] | None = None) -> tuple[ApiKey, str]:
        """A new key and its secret text, which exists nowhere else from here on."""
        key = cls(client=client)
        text = key.make_secret()
        if scopes is not None:
            key.scopes = scopes
        key.save()
        return key, text

    def make_secret(self) -> str:
        """Give an unsaved key its secret; the text is returned and not kept."""
        self.prefix = "ck_" + secrets.token_hex(4)
        text = f"{self.prefix}_{secrets.token_urlsafe(32)}"
        self.digest = self.hash(text)
        return text

    @staticmethod
    def prefix_of(text: str) -> str | None:
        """The prefix of a text that has the form of a key, else None."""
        form = _KEY_FORM.fullmatch(text)
        return form[1] if form else None

    @staticmethod
    def hash(text: str) -> str:
        return hashlib.sha256(text.encode()).hexdigest()

    def matches(self, text: str) -> bool:
        """Whether this is the key's secret, in a time that does not tell how nearly."""
        return hmac.compare_digest(self.digest, self.hash(text))
