"""The providers as this process knows them: their accounts and health, adapters, receivers, retry policies.

Read from the database once a second at most. A channel without Provider rows uses what the settings name.
"""

from __future__ import annotations

import inspect
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache
from typing import Any, TypeVar

import orjson
from django.conf import settings

from apps.delivery.health import Health
from apps.delivery.limits import Limit
from apps.delivery.retry import Policy
from apps.delivery.routing import Candidate, Mode
from apps.integrations import registry
from apps.integrations.contract import Adapter, Receiver
from project import db, loop, sealing

logger = logging.getLogger(__name__)
T = TypeVar("T")

# One-time codes come by SMS and e-mail: `after_unknown` repeats them there when they are critical.
REPEATS_UNKNOWN = frozenset({"webhook", "chat", "push"})
KNOWN_FOR = 1.0  # seconds
_WINDOWS = {"per_second": 1, "per_minute": 60, "per_hour": 3_600, "per_day": 86_400}
ENVIRONMENT = "env:"  # begins what is kept of a secret that the environment has


class CannotBuild(Exception):
    """A provider's arguments do not make an adapter. Its text, for an operator, holds no secrets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A provider: which adapter with what arguments, how much it gets, and how it is doing."""

    name: str
    adapter: str
    channel: str
    options: Mapping[str, Any] = field(default_factory=dict, hash=False, compare=False)
    credentials: Mapping[str, str] | None = field(default=None, hash=False, compare=False)
    weight: int = 100
    mode: Mode = Mode.NORMAL
    limits: tuple[Limit, ...] = ()
    serves: tuple[str, ...] = ()
    cost: Decimal | None = None  # of a message
    version: str = ""  # changes with the arguments
    factor: int = 100
    open_left: float = 0.0  # seconds from `read_at` until its breaker lets one message try
    is_open: bool = False  # its breaker is not closed
    is_ailing: bool = False  # a good batch would change its health
    read_at: float = field(default_factory=time.monotonic, compare=False)

    def seconds_left(self) -> float:
        """Until its open breaker lets one message try; 0 or less: now."""
        return self.open_left - (time.monotonic() - self.read_at)

    def candidate(self, *, load: float | None = None) -> Candidate:
        """As a choice sees it. Raises CannotBuild."""
        return Candidate(
            name=self.name,
            weight=self.weight * self.factor / 100,
            mode=self.mode,
            kinds=adapter_of(self).kinds,
            serves=self.serves,
            open=self.is_open,
            load=load,
        )


# --- Reading them -----------------------------------------------------------------------------------------

_READ = """
SELECT p.name, p.adapter, p.channel, p.options, p.credentials, p.weight, p.mode, p.is_active, p.serves,
       p.cost, p.per_second, p.per_minute, p.per_hour, p.per_day, p.updated_at::text,
       NULL::int, NULL::int, NULL::float, NULL::float
FROM delivery_provider p
UNION ALL
SELECT h.provider, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
       h.factor, h.failures, h.open_seconds, extract(epoch FROM h.open_until - carillon_now())::float
FROM delivery_providerhealth h
"""
_NAMES = ("name", "adapter", "channel", "options", "credentials", "weight", "mode", "is_active", "serves")


class _Known:
    """What was read last."""

    def __init__(self) -> None:
        self.until = 0.0
        self.accounts: dict[str, list[Account]] = {}  # by channel, active ones
        self.rows: dict[str, Account] = {}  # by name, active or not
        self.health: dict[str, dict[str, Any]] = {}

    def read(self) -> None:
        found = db.rows(_READ)
        self.health = {row[0]: _health(row) for row in found if row[1] is None}
        rows = [
            dict(zip((*_NAMES, "cost", *_WINDOWS, "version"), row, strict=False)) for row in found if row[1]
        ]
        self.accounts, self.rows = {}, {}
        for row in rows:
            account = _account(row, self.health.get(row["name"], {}))
            self.rows[account.name] = account
            self.accounts.setdefault(account.channel, [])
            if row["is_active"]:
                self.accounts[account.channel].append(account)
        self.until = time.monotonic() + KNOWN_FOR


_known = _Known()


def forget() -> None:
    """Read everything anew next time."""
    _known.until = 0.0


def _current() -> _Known:
    if _known.until < time.monotonic():
        _known.read()
    return _known


def _health(row: db.Row) -> dict[str, Any]:
    factor, failures, open_seconds, left = row[-4:]
    return {
        "factor": factor,
        "open_left": left or 0.0,
        "is_open": open_seconds > 0,
        "is_ailing": not Health(factor=factor, failures=failures, open_seconds=open_seconds).pristine,
    }


def _account(row: Mapping[str, Any], health: Mapping[str, Any]) -> Account:
    return Account(
        name=row["name"],
        adapter=row["adapter"],
        channel=row["channel"],
        options=_parsed(row["options"]),
        credentials=_parsed(row["credentials"]),
        weight=row["weight"],
        mode=Mode(row["mode"]),
        limits=tuple(Limit(row[name], seconds) for name, seconds in _WINDOWS.items() if row[name]),
        serves=tuple(row["serves"]),
        cost=row["cost"],
        version=row["version"],
        **health,
    )


def of_channel(channel: str) -> list[Account]:
    """The channel's active providers."""
    known = _current()
    rows = known.accounts.get(channel)
    if rows is not None:
        return rows
    key = settings.PROVIDERS.get(channel)
    if not key:
        return []
    health = known.health.get(key, {})
    return [Account(name=key, adapter=key, channel=channel, options=settings.PROVIDER_OPTIONS[key], **health)]


def named(channel: str, name: str) -> Account | None:
    """One of the channel's active providers; None if there is none of that name (any more)."""
    return next((account for account in of_channel(channel) if account.name == name), None)


# --- Their adapters and receivers -------------------------------------------------------------------------

_adapters: dict[str, tuple[str, Adapter]] = {}  # by name: the version it was built from


def adapter_of(account: Account) -> Adapter:
    """The provider's adapter, one per process and version of its arguments. Raises CannotBuild."""
    version, adapter = _adapters.get(account.name, ("", None))
    if adapter is None or version != account.version:
        if adapter is not None:
            loop.run(adapter.close())
        adapter = build(account)
        _adapters[account.name] = (account.version, adapter)
    return adapter


def build(account: Account) -> Adapter:
    """A new adapter. Raises CannotBuild."""
    try:
        kind = registry.adapter_class(account.adapter)
    except KeyError:
        raise CannotBuild(f"There is no adapter {account.adapter}.") from None
    given = _arguments(account)
    callback = f"{settings.PUBLIC_URL}/api/receipts/{account.name}/"
    defaults = {"timeout": settings.PROVIDER_TIMEOUT} | (
        {"status_callback": callback} if settings.PUBLIC_URL else {}
    )
    names = arguments_of(kind)
    arguments = {name: value for name, value in (defaults | given).items() if name in names}
    return _constructed(kind, arguments)


def _of_account(kind: Callable[..., T], account: Account) -> T:
    """Made of those of the provider's arguments that it takes. Raises CannotBuild."""
    names = arguments_of(kind)
    return _constructed(kind, {name: value for name, value in _arguments(account).items() if name in names})


def _constructed(kind: Callable[..., T], arguments: Mapping[str, Any]) -> T:
    missing = [name for name, needed in arguments_of(kind).items() if needed and name not in arguments]
    if missing:
        raise CannotBuild(f"{', '.join(missing)} missing.")
    try:
        return kind(**arguments)
    except Exception as error:  # of whatever library; its text may repeat a value
        raise CannotBuild(f"Its arguments are not accepted ({type(error).__name__}).") from error


def arguments_of(kind: Callable[..., Any]) -> dict[str, bool]:
    """The names of a constructor's or a function's arguments, and whether each must be given."""
    parameters = list(inspect.signature(kind).parameters.values())
    return {one.name: one.default is inspect.Parameter.empty for one in parameters}


def _arguments(account: Account) -> dict[str, Any]:
    """Options, and credentials opened. Raises CannotBuild."""
    opened = {name: _opened(name, kept) for name, kept in (account.credentials or {}).items()}
    return {**account.options, **opened}


def _opened(name: str, kept: str) -> str:
    if kept.startswith(ENVIRONMENT):
        variable = kept.removeprefix(ENVIRONMENT)
        if variable not in os.environ:
            raise CannotBuild(f"{name}: {variable} is not in the environment.")
        return os.environ[variable]
    try:
        return sealing.unseal(kept)
    except sealing.CannotOpen:
        raise CannotBuild(f"{name}: sealed with a key that is not in ENCRYPTION_KEYS.") from None


_receivers: dict[str, tuple[str, Receiver | None]] = {}


def receiver_of(name: str) -> Receiver | None:
    """The provider's receiver, one per process; None if it has none, or not what it verifies with."""
    account = _current().rows.get(name)
    if account is None:
        options = settings.RECEIPT_OPTIONS.get(name)
        return _receiver(name) if options and all(options.values()) else None
    version, receiver = _receivers.get(name, ("", None))
    if version != account.version:
        receiver = _built_receiver(account)
        _receivers[name] = (account.version, receiver)
    return receiver


def build_receiver(account: Account) -> Receiver | None:
    """A new receiver; None if the adapter reports nothing. Raises CannotBuild."""
    if account.adapter not in registry.RECEIVERS:
        return None
    return _of_account(registry.receiver_class(account.adapter), account)


def _built_receiver(account: Account) -> Receiver | None:
    try:
        return build_receiver(account)
    except CannotBuild as error:
        logger.warning("receiver not built", extra={"provider": account.name, "error": str(error)})
        return None


@cache
def _receiver(key: str) -> Receiver:
    return registry.receiver(key, settings.RECEIPT_OPTIONS[key])


def web_push_key() -> str:
    """The public key that browsers subscribe with: that of the first provider by name. Empty: none."""
    for account in sorted(of_channel("push"), key=lambda account: account.name):
        if account.adapter in registry.PUBLIC_KEYS:
            try:
                return _of_account(registry.public_key_of(account.adapter), account)
            except CannotBuild as error:
                logger.warning("public key not told", extra={"provider": account.name, "error": str(error)})
    return ""


# --- Their policies ---------------------------------------------------------------------------------------


@cache
def policy_of(channel: str) -> Policy:
    """How this channel retries."""
    return Policy(
        base=settings.RETRY_BASE, cap=settings.RETRY_CAP, repeats_unknown=channel in REPEATS_UNKNOWN
    )


def is_plain(accounts: Sequence[Account]) -> bool:
    """Whether there is nothing to choose: one provider, for every address, without limits, with its breaker
    closed. Raises CannotBuild."""
    if len(accounts) != 1:
        return False
    (one,) = accounts
    usable = not (one.serves or one.limits or one.is_open or one.mode is Mode.DRAINED)
    return usable and not adapter_of(one).kinds


def _parsed(value: Any) -> Any:
    """A document, as the driver hands it over."""
    return orjson.loads(value) if isinstance(value, str) else value
