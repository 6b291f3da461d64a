"""What an e-mail must have to be sent by any provider: a recipient and a subject that can be headers."""

from __future__ import annotations

import re
from email.errors import MessageError
from email.headerregistry import Address

from apps.integrations.contract import Message, PermanentFailure

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_ORDINARY = re.compile(r"[\w+-]+(\.[\w+-]+)*@[a-z0-9-]+(\.[a-z0-9-]+)*", re.ASCII | re.IGNORECASE)


def recipient(message: Message) -> str | PermanentFailure:
    """The message's one address in ASCII; or why the message can have no header, or no such recipient."""
    if _CONTROL.search(message.subject) or _CONTROL.search(message.address):
        return PermanentFailure("invalid_header")
    if not message.address.rpartition("@")[0].isascii():  # needs SMTPUTF8 all the way to the mailbox
        return PermanentFailure("unsupported_address")
    try:
        return in_ascii(message.address)
    except (ValueError, MessageError, IndexError):
        return PermanentFailure("invalid_address", address_is_dead=True)


def in_ascii(address: str) -> str:
    """The address with its domain by IDNA. Raises ValueError, MessageError or IndexError if it is none."""
    name, _, domain = address.rpartition("@")
    # Judged after the encoding, which makes ASCII, ">" too, of characters that only look like it.
    encoded = f"{name}@{domain.encode('idna').decode()}"
    # The parser takes 20 us; only what is out of the ordinary needs it.
    return encoded if _ORDINARY.fullmatch(encoded) else Address(addr_spec=encoded).addr_spec
