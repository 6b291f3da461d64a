"""What makes a Provider row right, whoever enters it: a person in the admin, or a script by the command.

A row's `options` and `credentials` are arguments of its adapter's constructor and its receiver's. A secret is
kept as `env:NAME`, or sealed; anything else is an option.
"""

from __future__ import annotations

import inspect
import json
import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import phonenumbers
from django.conf import settings
from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.core.validators import DomainNameValidator
from django.utils.encoding import punycode

from apps.delivery import providers
from apps.delivery.models import Provider
from apps.delivery.providers import ENVIRONMENT, Account, CannotBuild
from apps.integrations import registry
from project import db, loop, sealing

Errors = defaultdict[str, list[str]]  # by field, or by a secret's name

_REFERENCE = re.compile(rf"{ENVIRONMENT}[A-Za-z_][A-Za-z0-9_]*")
_PREFIX = re.compile(r"\+[1-9][0-9]{0,14}")
_LEAST = {"per_second": 1, "per_minute": 1, "per_hour": 1, "per_day": 1, "cost": 0}
_TYPES: Mapping[str, tuple[type, ...]] = {
    "str": (str,), "int": (int,), "float": (int, float), "bool": (bool,),
}  # fmt: skip
_SCALARS = (str, int, float, bool)


@dataclass(frozen=True)
class Argument:
    """One argument that an adapter's constructor takes, or its receiver's. type: such as "float"; "" if it
    is not said."""

    name: str
    type: str
    default: Any
    is_needed: bool  # the adapter cannot be built without it
    is_secret: bool
    for_receipts: bool  # the receiver alone takes it

    def __str__(self) -> str:
        """As an operator reads it."""
        if self.for_receipts:
            return f"{self.name} (for receipts)"
        return (
            f"{self.name} (needed)"
            if self.is_needed
            else f"{self.name} = {json.dumps(self.default, default=str)}"
        )


def arguments(adapter: str) -> dict[str, Argument]:
    """What the adapter and its receiver take, by name, in order; nothing for one that does not exist."""
    kinds: list[Any] = []
    if adapter in registry.ADAPTERS:
        kinds.append(registry.adapter_class(adapter))
    if adapter in registry.RECEIVERS:
        kinds.append(registry.receiver_class(adapter))
    secrets = frozenset().union(*(kind.secrets for kind in kinds))
    found: dict[str, Argument] = {}
    for number, kind in enumerate(kinds):
        for one in inspect.signature(kind).parameters.values():
            found.setdefault(one.name, _argument(one, is_secret=one.name in secrets, for_receipts=number > 0))
    return found


def _argument(one: inspect.Parameter, *, is_secret: bool, for_receipts: bool) -> Argument:
    is_given = one.default is not inspect.Parameter.empty
    return Argument(
        name=one.name,
        type=getattr(one.annotation, "__name__", str(one.annotation)),
        default=one.default if is_given else None,
        is_needed=not is_given and not for_receipts,
        is_secret=is_secret,
        for_receipts=for_receipts,
    )


def is_reference(kept: str) -> bool:
    """Whether it names a variable of the environment, and so may be shown."""
    return _REFERENCE.fullmatch(kept) is not None


def keep(secret: str) -> str:
    """What is kept of a secret that was entered: `env:NAME` as it is, else sealed. Raises ValidationError."""
    if not secret.startswith(ENVIRONMENT):
        return sealing.seal(secret)
    if not is_reference(secret):
        raise ValidationError(f"After {ENVIRONMENT} comes the name of a variable, and nothing else.")
    return secret


def check(provider: Provider) -> None:
    """Bring a row that is to be saved into its one spelling, with its adapter's channel, and build from it.

    Raises ValidationError, by field or by a secret's name. No secret is in it.
    """
    if provider.adapter not in registry.ADAPTERS:
        raise ValidationError({"adapter": f"There is no adapter {provider.adapter}."})
    provider.channel = registry.adapter_class(provider.adapter).channel
    errors = _wrong_arguments(provider)
    for name, least in _LEAST.items():
        value = getattr(provider, name)
        if value is not None and value < least:
            errors[name].append(f"At least {least}; empty for none.")
    try:
        provider.serves = served(provider.channel, provider.serves)
    except ValueError as error:
        errors["serves"].append(str(error))
    if not errors:
        _build(account_of(provider), errors)
    if errors:
        raise ValidationError(dict(errors))


def account_of(provider: Provider) -> Account:
    """A row as `providers.build` takes it."""
    return Account(
        name=provider.name,
        adapter=provider.adapter,
        channel=provider.channel,
        options=provider.options,
        credentials=provider.credentials,
    )


# --- Arguments -------------------------------------------------------------------------------------------


def _wrong_arguments(provider: Provider) -> Errors:
    errors: Errors = defaultdict(list)
    known = arguments(provider.adapter)
    if not isinstance(provider.options, dict):
        errors["options"].append("An object: {…}.")
        return errors
    for name, value in provider.options.items():
        if why := _wrong_option(known.get(name), name, value):
            errors["options"].append(why)
    for name in provider.credentials:
        if name not in known or not known[name].is_secret:
            errors["options"].append(f"{name}: {provider.adapter} has no such secret.")
    for argument in known.values():
        given = provider.credentials if argument.is_secret else provider.options
        if argument.is_needed and argument.name not in given:
            field = argument.name if argument.is_secret else "options"
            errors[field].append(f"{argument.name}: it is needed.")
    return errors


def _wrong_option(argument: Argument | None, name: str, value: Any) -> str:
    """What is wrong with an option, without its value; "" if nothing is."""
    if argument is None:
        return f"{name}: there is no such argument."
    if argument.is_secret:
        return f"{name}: it is a secret, and no option."
    if isinstance(value, str) and value.startswith(ENVIRONMENT):
        return f"{name}: only secrets are taken from the environment."
    wanted = _TYPES.get(argument.type, _SCALARS)
    if not isinstance(value, wanted) or (isinstance(value, bool) and bool not in wanted):
        return f"{name}: {_WORDS.get(argument.type, 'a text, a number, true or false')} is wanted."
    return "" if _is_keepable(value) else f"{name}: it has something in it that cannot be kept."


def _is_keepable(value: Any) -> bool:
    """Whether Postgres takes it as JSON: no U+0000, no half of a pair, no NaN."""
    if isinstance(value, str):
        return db.text(value, len(value)) == value
    return math.isfinite(value)


_WORDS = {"str": "a text", "int": "a whole number", "float": "a number", "bool": "true or false"}


def _build(account: Account, errors: Errors) -> None:
    """Build what workers and the API will, and look whether the engine can use it."""
    try:
        adapter = providers.build(account)
        loop.run(adapter.close())
        if _has_receiver(account):
            providers.build_receiver(account)
    except CannotBuild as error:
        errors[NON_FIELD_ERRORS].append(str(error))
        return
    most = settings.CLAIM_LEASE - settings.CLAIM_MARGIN
    if not 0 < adapter.timeout < most:  # no call starts later than the lease less the timeout and the margin
        errors["options"].append(f"timeout: above 0 and below {most:g} s (CLAIM_LEASE less CLAIM_MARGIN).")
    if adapter.batch_size < 1:
        errors["options"].append("batch_size: at least 1.")


def _has_receiver(account: Account) -> bool:
    """Whether it has what its receiver needs, or at least something that only a receiver takes."""
    if account.adapter not in registry.RECEIVERS:
        return False
    taken = providers.arguments_of(registry.receiver_class(account.adapter))
    given = {*account.options, *(account.credentials or {})}
    own = {one.name for one in arguments(account.adapter).values() if one.for_receipts}
    return {name for name, is_needed in taken.items() if is_needed} <= given or not given.isdisjoint(own)


# --- What it serves --------------------------------------------------------------------------------------


def served(channel: str, texts: Iterable[str]) -> list[str]:
    """Countries and prefixes of numbers, or domains, in their one spelling, each once.

    Raises ValueError, for the person who entered them.
    """
    several = list(dict.fromkeys(texts))
    rule = _SERVED.get(channel)
    if several and rule is None:
        raise ValueError(f"Addresses of {channel} have no country and no domain: leave it empty.")
    return list(dict.fromkeys(rule(text) for text in several)) if rule else []


def _country_or_prefix(text: str) -> str:
    if text.startswith("+"):
        if not _PREFIX.fullmatch(text):
            raise ValueError(f"{text}: a prefix is + and digits, such as +49.")
        return text
    if text.upper() not in phonenumbers.SUPPORTED_REGIONS:
        raise ValueError(f"{text}: a country has two letters (ISO 3166), such as DE; a prefix begins with +.")
    return text.upper()


_is_domain = DomainNameValidator()


def _domain(text: str) -> str:
    try:
        domain = punycode(text).lower()
        _is_domain(domain)
    except (ValidationError, UnicodeError):
        raise ValueError(f"{text}: this is not a domain, such as example.com.") from None
    return domain


_SERVED: Mapping[str, Callable[[str], str]] = {"sms": _country_or_prefix, "email": _domain}


# --- A new key -------------------------------------------------------------------------------------------


def reseal_credentials(limit: int) -> int:
    """Seal what old keys have sealed with the first one, of `limit` rows at most; of how many it was.

    What none of our keys opens stays as it is. Workers are not told: the secrets are the same.
    """
    done = 0
    for id, old in Provider.objects.order_by("id").values_list("id", "credentials"):
        if done >= limit:
            break
        new = {name: _resealed(kept) for name, kept in old.items()}
        if new != old:  # unless somebody has changed them meanwhile
            done += Provider.objects.filter(id=id, credentials=old).update(credentials=new)
    return done


def locked_credentials() -> int:
    """How many providers have a secret that none of our keys opens."""
    every = Provider.objects.values_list("credentials", flat=True)
    return sum(any(_is_locked(kept) for kept in credentials.values()) for credentials in every)


def _is_locked(kept: str) -> bool:
    try:
        return not kept.startswith(ENVIRONMENT) and not sealing.unseal(kept)
    except sealing.CannotOpen:
        return True


def _resealed(kept: str) -> str:
    if kept.startswith(ENVIRONMENT) or sealing.is_current(kept):
        return kept
    try:
        return sealing.resealed(kept)
    except sealing.CannotOpen:
        return kept
