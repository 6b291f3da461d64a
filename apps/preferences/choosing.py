"""Choices as the API takes and shows them: {"sms": "off"} of channels, {"news": "daily"} of types. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from apps.content.models import Category, NotificationType
from apps.preferences.models import How
from apps.preferences.own import Key
from apps.preferences.resolver import WAKING
from apps.preferences.rules import Chosen
from project.api import field_error
from project.queues import CHANNELS

ALL = "all"  # in the place of a channel: every channel
Types = Mapping[str, NotificationType]  # by slug
Errors = list[dict[str, str]]

_HOWS: dict[object, str] = {True: How.ON.value, False: How.OFF.value} | {how: how for how in How.values}
_EVERYTHING = ("", "")
_NO_CHANNEL = f"There is no such channel. There are: {', '.join(CHANNELS)}; and all."
_NO_HOW = f"One of {', '.join(How.values)}; true, false; or null for the default."
_CRITICAL = "It is critical: it goes out whatever people choose, and cannot be turned off or collected."


class _Line(NamedTuple):
    """One thing that is said, and where."""

    field: str
    type: str
    channel: str | None  # None: the type as a whole, in place of what was said of its channels
    how: object

    @property
    def key(self) -> Key:
        return self.type, "" if self.channel in (None, ALL) else str(self.channel)


def applied(
    body: Mapping[str, Any], held: Mapping[Key, Chosen], types: Types, *, replace: bool
) -> tuple[dict[Key, Chosen], Errors]:
    """What is held, changed or replaced by a body's `channels` and `types`; and what is wrong there.

    A pause (everything off until a time) is not said there, and stays. What is said again as it is held stays
    as it is, with its time.
    """
    lines = [*_of_channels(body.get("channels")), *_of_types(body.get("types"))]
    errors = [*_shapes(body), *_unknown_types(body.get("types"), types)]
    errors += [error for line in lines if (error := _error(line, types))]
    if errors:
        return dict(held), errors
    after = {key: one for key, one in held.items() if _stays(key, one, body, replace)}
    for line in lines:
        _apply(line, after, held)
    return after, []


def paused(choices: Mapping[Key, Chosen]) -> datetime | None:
    """Until when everything is off. UTC."""
    everything = choices.get(_EVERYTHING)
    return everything.until if everything and _is_pause(_EVERYTHING, everything) else None


def _is_pause(key: Key, one: Chosen) -> bool:
    return key == _EVERYTHING and one.how == How.OFF and one.until is not None


def pause(choices: dict[Key, Chosen], until: datetime | None) -> None:
    """Turn everything off until then, in place of what is held of everything; None ends a pause."""
    if until is not None:
        choices[_EVERYTHING] = Chosen(How.OFF.value, until)
    elif paused(choices):
        del choices[_EVERYTHING]


# --- Reading ---------------------------------------------------------------------------------------------


def _of_channels(said: object) -> Iterator[_Line]:
    for channel, how in said.items() if isinstance(said, dict) else ():
        yield _Line(f"channels.{channel}", "", channel, how)


def _of_types(said: object) -> Iterator[_Line]:
    for slug, value in said.items() if isinstance(said, dict) else ():
        if isinstance(value, dict):
            for channel, how in value.items():
                yield _Line(f"types.{slug}.{channel}", slug, channel, how)
        else:
            yield _Line(f"types.{slug}", slug, None, value)


def _shapes(body: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    for name in ("channels", "types"):
        if not isinstance(body.get(name), dict | None):
            yield field_error(name, "invalid", "Send a JSON object.")


def _unknown_types(said: object, types: Types) -> Iterator[dict[str, str]]:
    for slug in said if isinstance(said, dict) else ():
        if slug not in types:
            yield field_error(f"types.{slug}", "unknown_type", "There is no such type of notification.")


def _error(line: _Line, types: Types) -> dict[str, str] | None:
    """Of a type that is unknown nothing more can be said."""
    if line.type and line.type not in types:
        return None
    if line.channel is not None and line.channel not in (*CHANNELS, ALL):
        return field_error(line.field, "unknown_channel", _NO_CHANNEL)
    if not isinstance(line.how, str | bool | None) or (line.how is not None and line.how not in _HOWS):
        return field_error(line.field, "invalid", _NO_HOW)
    if line.type and types[line.type].critical and line.how not in (None, True, How.ON):
        return field_error(line.field, "critical_type", _CRITICAL)
    return None


def _stays(key: Key, one: Chosen, body: Mapping[str, Any], replace: bool) -> bool:
    """Before the lines are applied: null for all of it, and PUT, begin with nothing."""
    if _is_pause(key, one):
        return True
    name = "types" if key[0] else "channels"
    return not replace and not (name in body and body[name] is None)


def _apply(line: _Line, after: dict[Key, Chosen], held: Mapping[Key, Chosen]) -> None:
    if line.channel is None:
        for key in [key for key in after if key[0] == line.type]:
            del after[key]
    if line.how is None:
        if line.key != _EVERYTHING or not paused(after):
            after.pop(line.key, None)
        return
    how, before = _HOWS[line.how], held.get(line.key)
    same = before and before.how == how and (line.key != _EVERYTHING or before.until is None)
    after[line.key] = before if before and same else Chosen(how)


# --- Showing ---------------------------------------------------------------------------------------------


def channels_said(choices: Mapping[Key, Chosen]) -> dict[str, str]:
    """`channels` as they are sent; a pause is not among them."""
    return {
        channel or ALL: one.how
        for (type, channel), one in sorted(choices.items())
        if not type and not _is_pause((type, channel), one)
    }


def types_said(choices: Mapping[Key, Chosen], types: Types) -> dict[str, str | dict[str, str]]:
    """`types` as they are sent, without what could not be sent any more."""
    found: dict[str, dict[str, str]] = {}
    for (slug, channel), one in sorted(choices.items()):
        if slug in types and not (types[slug].critical and one.how != How.ON):
            found.setdefault(slug, {})[channel or ALL] = one.how
    return {slug: said[ALL] if said.keys() == {ALL} else said for slug, said in found.items()}


# --- In effect -------------------------------------------------------------------------------------------


def in_effect(type: NotificationType, channel: str, choices: Mapping[Key, Chosen]) -> Chosen:
    """How a message of this type goes by this channel, and by whose choice (`type`: the type's own nature).

    As `resolver.resolve` decides it of a message. What is off anywhere is off; else the nearest of its type
    and channel, its type, its channel, everything.
    """
    if type.critical:
        return Chosen(How.ON.value, level="type")
    keys = ((type.slug, channel), (type.slug, ""), ("", channel), _EVERYTHING)
    found = [choices[key] for key in keys if key in choices]
    off = next((one for one in found if one.how == How.OFF), None)
    if off:
        return off
    nearest = found[0] if found else _natural(type)
    return nearest if channel in WAKING else nearest._replace(how=How.ON.value)  # else it is never collected


def _natural(type: NotificationType) -> Chosen:
    """Without any choice."""
    if type.category == Category.DIGEST:
        return Chosen(How.DAILY.value, level="type")
    return Chosen(How.ON.value, level="system")
