"""Twilio's status callbacks and inbound messages, as Twilio sends them.

https://www.twilio.com/docs/messaging/guides/track-outbound-message-status
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from urllib.parse import parse_qsl, urlencode

from twilio.request_validator import RequestValidator

from apps.integrations.simulator.ledger import Entry
from apps.integrations.simulator.receipts import Report, Reporter

TOKEN = "simulated"  # noqa: S105 (of an account that does not exist)
ACCOUNT = "AC" + "0" * 32
SENDER = "+15005550006"
# By fate: the statuses of a message, with their error codes, and what the person answers.
FATES: dict[str, tuple[tuple[tuple[str, str], ...], str]] = {
    "": ((("sent", ""), ("delivered", "")), ""),
    "bounce": ((("sent", ""), ("undelivered", "30005")), ""),
    "complain": ((("sent", ""), ("delivered", "")), "STOP"),
    "stop": ((("sent", ""), ("delivered", "")), "STOP"),
}


class TwilioReporter(Reporter):
    """One request for each report, signed with the account's token."""

    provider = "twilio"

    def __init__(self) -> None:
        self._validator = RequestValidator(TOKEN)

    def reports(self, entry: Entry, fate: str) -> list[Report]:
        statuses, answer = FATES.get(fate, FATES[""])
        reports = [_status(entry, status, code) for status, code in statuses]
        return [*reports, self.inbound(entry["address"], answer)] if answer else reports

    def inbound(self, sender: str, text: str) -> Report:
        sid = f"SM{secrets.token_hex(16)}"
        form = {"SmsStatus": "received", "From": sender, "To": SENDER, "Body": text, "NumMedia": "0"}
        return _report(sid, form)

    def request(self, url: str, reports: Sequence[Report]) -> tuple[str, Mapping[str, str], bytes]:
        [report] = reports
        if report.query:
            url = f"{url}{'&' if '?' in url else '?'}{report.query}"
        form = dict(parse_qsl(report.body.decode(), keep_blank_values=True))
        headers = {
            "Content-Type": "application/x-www-form-urlencoded; charset=UTF-8",
            "X-Twilio-Signature": self._validator.compute_signature(url, form),
        }
        return url, headers, report.body


def _status(entry: Entry, status: str, code: str) -> Report:
    form = {"MessageStatus": status, "SmsStatus": status, "From": SENDER, "To": entry["address"]}
    if code:
        form["ErrorCode"] = code
    return _report(entry["id"], form, query=_query(entry))


def _query(entry: Entry) -> str:
    """What our status callback had behind it."""
    return urlencode({"target": entry["target"], "attempt": entry["attempt"]}) if entry["target"] else ""


def _report(sid: str, form: Mapping[str, str], query: str = "") -> Report:
    whole = {"ApiVersion": "2010-04-01", "AccountSid": ACCOUNT, "MessageSid": sid, "SmsSid": sid, **form}
    return Report(urlencode(whole).encode(), query)
