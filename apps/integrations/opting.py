"""What a person asks for by a text message that is nothing but one word."""

from __future__ import annotations

from apps.integrations.contract import ReceiptKind

# The vendors agree on these: https://help.twilio.com/articles/223134027 and
# https://api.support.vonage.com/hc/en-us/articles/9398221473564-Vonage-Opt-Out-Assist
WORDS: dict[str, ReceiptKind] = {
    **dict.fromkeys(
        ("STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT", "REVOKE", "OPTOUT"), ReceiptKind.OPTED_OUT
    ),
    **dict.fromkeys(("START", "YES", "UNSTOP"), ReceiptKind.OPTED_IN),
    **dict.fromkeys(("HELP", "INFO"), ReceiptKind.ASKED_HELP),
}


def asked(message: str) -> ReceiptKind:
    """What the message asks for, in any case and with the marks people put around a word; else OTHER."""
    return WORDS.get(message.strip(" \t\r\n.!\"'").upper(), ReceiptKind.OTHER)
