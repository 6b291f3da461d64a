"""How many messages an SMS is on the air, which is what it costs: 3GPP TS 23.038 and TS 23.040.

A text of the GSM alphabet has 160 units of seven bits, any other 70 units of sixteen. A longer one is several
messages, each with a header: 153 or 67 units are left. A character of two units is never split between two.
https://www.etsi.org/deliver/etsi_ts/123000_123099/123038/
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

# The default alphabet in the order of its table (section 6.2.1), without the escape to the extension.
BASIC = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
# The extension table (section 6.2.1.1): an escape, then the character.
EXTENSION = "\f^{}\\[~]|€"

_GSM = re.compile(f"[{re.escape(BASIC + EXTENSION)}]*")
_ESCAPED = re.compile(f"[{re.escape(EXTENSION)}]")
_PAIR = re.compile("[\U00010000-\U0010ffff]")  # a pair of surrogates in UTF-16
_LEAD = "\x1b"  # stands for the first unit of a character of two; in no text that is looked at


class Segments(NamedTuple):
    """What a text is by SMS. `units` are septets of GSM-7, or 16-bit code units of UCS-2."""

    encoding: Literal["GSM-7", "UCS-2"]
    units: int
    segments: int


def measure(text: str) -> Segments:
    """The encoding, units and segments of a text. An empty one is no message: no provider takes it."""
    if _GSM.fullmatch(text):
        units = _ESCAPED.sub(_LEAD + "x", text)
        return Segments("GSM-7", len(units), _segments(units, single=160, part=153))
    units = _PAIR.sub(_LEAD + "x", text.replace(_LEAD, "x"))
    return Segments("UCS-2", len(units), _segments(units, single=70, part=67))


def _segments(units: str, *, single: int, part: int) -> int:
    if len(units) <= single:
        return int(bool(units))
    count, at = 0, 0
    while at < len(units):
        at += part
        if at < len(units) and units[at - 1] == _LEAD:
            at -= 1
        count += 1
    return count
