"""What every e-mail has, whoever sends it: a recipient and a subject that can be headers, and a way out."""

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


def list_headers(message: Message) -> dict[str, str]:
    """What lets a mail client unsubscribe the person with one click; nothing for what cannot be unsubscribed.

    https://www.rfc-editor.org/rfc/rfc2369#section-3.2 and https://www.rfc-editor.org/rfc/rfc8058#section-3.
    ASCII, and to be sent unfolded: a client may not put together what was broken within the URL.
    """
    if not message.unsubscribe_url:
        return {}
    return {
        "List-Unsubscribe": f"<{message.unsubscribe_url}>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    }


def in_ascii(address: str) -> str:
    """The address with its domain by IDNA. Raises ValueError, MessageError or IndexError if it is none."""
    name, _, domain = address.rpartition("@")
    # Judged after the encoding, which makes ASCII, ">" too, of characters that only look like it.
    encoded = f"{name}@{domain.encode('idna').decode()}"
    # The parser takes 20 us; only what is out of the ordinary needs it.
    return encoded if _ORDINARY.fullmatch(encoded) else Address(addr_spec=encoded).addr_spec
