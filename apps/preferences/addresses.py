"""How an address of each channel is spelt: what may be suppressed, and how it is compared."""

from __future__ import annotations

import re
from collections.abc import Callable

from pydantic_core import PydanticCustomError

from apps.users import normalise
from project.queues import CHANNELS

SUPPRESSIBLE = tuple(channel for channel in CHANNELS if channel != "in_app")  # which has no addresses

_KIND_AND_ID = re.compile(r"[a-z_]+:[0-9a-f-]{36}")


def _of_a_kind(value: str) -> str:
    """Of a device or an endpoint: its kind and the id of its row."""
    if not _KIND_AND_ID.fullmatch(value):
        raise PydanticCustomError("bad_address", "This is not the kind and id of an address of this channel.")
    return value


_RULES: dict[str, Callable[[str], str]] = {"email": normalise.email, "sms": normalise.phone}


def normalised(channel: str, address: str) -> str:
    """The address as it is kept. Raises a PydanticCustomError (a ValueError) that does not repeat it."""
    return _RULES.get(channel, _of_a_kind)(address)
