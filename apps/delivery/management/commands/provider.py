"""`manage.py provider mail smtp host=mx.example.com port=25 sender=a@example.com --weight 90`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.delivery import accounts, overview, steering
from apps.delivery.accounts import Argument
from apps.delivery.models import Provider
from apps.delivery.routing import Mode
from apps.integrations import registry
from project import clock, sealing

_FIELDS = ("is_active", "weight", "per_second", "per_minute", "per_hour", "per_day", "serves", "cost")
_SPEAKING = (NON_FIELD_ERRORS, "options")  # these errors say themselves what they are about
_COLUMNS = ("name", "adapter", "channel", "active", "mode", "weight", "breaker", "limits", "last event (UTC)")


class Command(BaseCommand):
    help = (
        "Create a provider, or change one: what is not given stays as it is, and what is so already is no "
        "change. Without a name it lists them."
    )

    def create_parser(self, prog_name: str, subcommand: str, **named: Any) -> CommandParser:
        """Options may stand between the arguments."""
        parser = super().create_parser(prog_name, subcommand, **named)
        parser.parse_args = parser.parse_intermixed_args  # type: ignore[method-assign]
        return parser

    def add_arguments(self, parser: CommandParser) -> None:
        parser.argument_default = argparse.SUPPRESS  # what is not given is not there
        parser.add_argument("name", nargs="?", default="", help="what attempts and events call it")
        parser.add_argument("adapter", nargs="?", default="", help=f"one of {', '.join(registry.ADAPTERS)}")
        parser.add_argument(
            "arguments",
            nargs="*",
            default=[],
            metavar="argument=value",
            help="of the adapter or its receiver; a secret as env:NAME, or as it is, to be kept sealed; "
            "without a value: the adapter's own default",
        )
        parser.add_argument("--weight", type=int, help="its share, against the others of its channel")
        for span in ("second", "minute", "hour", "day"):
            parser.add_argument(
                f"--per-{span}", type=_or_none(int), metavar="N", help="messages at most; or none"
            )
        parser.add_argument("--serves", type=_parts, metavar="DE,+49", help="or domains; '' for all")
        parser.add_argument("--cost", type=_or_none(Decimal), metavar="X", help="of a message; or none")
        parser.add_argument("--mode", choices=[mode.value for mode in Mode])
        active = parser.add_mutually_exclusive_group()
        active.add_argument("--active", dest="is_active", action="store_true")
        active.add_argument("--inactive", dest="is_active", action="store_false")

    def handle(self, *args: Any, name: str, adapter: str, arguments: Sequence[str], **options: Any) -> None:
        if not name:
            self._list()
            return
        provider = _found(name, adapter)
        before = _values(provider)
        for field in _FIELDS:
            setattr(provider, field, options.get(field, getattr(provider, field)))
        for text in arguments:
            _give(provider, text)
        is_new, mode = provider.pk is None, Mode(options.get("mode", provider.mode))
        if is_new:
            provider.mode = mode
        if is_new or _values(provider) != before:
            _check(provider)
        changed = is_new or _values(provider) != before  # in its one spelling it may be none
        if changed:
            provider.updated_at = clock.now()
            provider.save()
            steering.wake(provider.channel)
        changed |= steering.set_mode(provider, mode, detail="by the command")
        self.stdout.write(f"{name}: {'saved' if changed else 'unchanged'}.")

    def _list(self) -> None:
        rows = overview.with_standing(Provider.objects.order_by("channel", "name"))
        lines = [_COLUMNS, *(_words(row) for row in rows)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        for line in lines:
            cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
            self.stdout.write("  ".join(cells).rstrip())


def _or_none(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    def parsed(text: str) -> Any:
        try:
            return None if text == "none" else parse(text)
        except (ValueError, InvalidOperation):
            raise argparse.ArgumentTypeError(f"{text!r} is no number, and not none") from None

    return parsed


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _found(name: str, adapter: str) -> Provider:
    """The row of this name, or a new one."""
    provider = Provider.objects.filter(name=name).first()
    if provider and adapter in ("", provider.adapter):
        return provider
    if provider:
        raise CommandError(f"{name} is one of {provider.adapter}: one of {adapter} needs another name.")
    if adapter not in registry.ADAPTERS:
        raise CommandError(f"Which adapter? There are {', '.join(registry.ADAPTERS)}.")
    return Provider(name=name, adapter=adapter)


def _values(provider: Provider) -> dict[str, Any]:
    values = {field: getattr(provider, field) for field in _FIELDS}
    return values | {"options": dict(provider.options), "credentials": dict(provider.credentials)}


def _give(provider: Provider, text: str) -> None:
    """One argument, in its place; without a value it is taken away."""
    known = accounts.arguments(provider.adapter)
    name, is_given, value = text.partition("=")
    if not is_given or name not in known:
        takes = ", ".join(map(str, known.values()))
        raise CommandError(f"{name}: {provider.adapter} takes, each as name=value: {takes}.")
    place = provider.credentials if known[name].is_secret else provider.options
    if not value:
        place.pop(name, None)
    elif not known[name].is_secret:
        place[name] = _value(known[name], value)
    elif not _is_same(place.get(name, ""), value):
        place[name] = _kept(name, value)


def _kept(name: str, secret: str) -> str:
    try:
        return accounts.keep(secret)
    except ValidationError as error:
        raise CommandError(f"{name}: {' '.join(error.messages)}") from None


def _is_same(kept: str, secret: str) -> bool:
    """Whether this secret is kept already: sealed anew it would look like another one."""
    try:
        return kept == secret or sealing.unseal(kept) == secret
    except sealing.CannotOpen:
        return False


def _value(argument: Argument, text: str) -> Any:
    """As JSON where it is any, and no text is wanted: a sender's number is none."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if argument.type != "str" or isinstance(value, str) else text


def _check(provider: Provider) -> None:
    try:
        provider.full_clean(exclude=["channel"])
        accounts.check(provider)
    except ValidationError as error:
        told = (
            text if field in _SPEAKING or text.startswith(f"{field}:") else f"{field}: {text}"
            for field, texts in error.message_dict.items()
            for text in texts
        )
        raise CommandError("\n".join(told)) from None


def _words(row: Any) -> Sequence[str]:
    return (
        row.name,
        row.adapter,
        row.channel,
        "yes" if row.is_active else "no",
        row.mode,
        overview.share(row),
        overview.breaker(row.health, row.at),
        overview.limits(row),
        overview.last_event(row),
    )
