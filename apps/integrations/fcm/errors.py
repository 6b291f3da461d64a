"""What FCM's refusals mean: https://firebase.google.com/docs/reference/fcm/rest/v1/ErrorCode."""

from __future__ import annotations

import re
from dataclasses import dataclass

import orjson

from apps.integrations.contract import Outcome, PermanentFailure, TemporaryFailure, UnknownOutcome
from apps.integrations.http import MISCONFIGURED_WAIT, by_status, retry_after
from apps.integrations.session import Answer

# By FCM's own error code, not by the status beside it, which is Google's general one. One that is not here
# counts as its HTTP status. INVALID_ARGUMENT: `_invalid`.
BY_CODE: dict[str, Outcome] = {
    "UNREGISTERED": PermanentFailure("unregistered", address_is_dead=True),
    # The token is of another Firebase project. Whether the token or our service account is the wrong one is
    # not said, so neither the address nor all messages at once may die of it.
    "SENDER_ID_MISMATCH": TemporaryFailure("misconfigured", MISCONFIGURED_WAIT),
    # "If no retry-after header is set, default to 60 seconds": https://firebase.google.com/docs/cloud-messaging/scale-fcm
    "QUOTA_EXCEEDED": TemporaryFailure("rate_limited", 60.0),
    "UNAVAILABLE": TemporaryFailure("unavailable"),
    "INTERNAL": TemporaryFailure("unavailable"),
    # The APNs key or the web push key that Firebase was given is wrong. Our own access token is not.
    "THIRD_PARTY_AUTH_ERROR": TemporaryFailure("misconfigured", MISCONFIGURED_WAIT),
}
_TOKEN_FIELD = "message.token"  # noqa: S105 (a field's name)
_ABOUT_TOKEN = re.compile(r"registration token", re.IGNORECASE)
_ABOUT_SIZE = re.compile(r"too (big|large)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Error:
    """An error's body: https://firebase.google.com/docs/cloud-messaging/error-codes."""

    code: str = ""  # FCM's own
    text: str = ""
    fields: frozenset[str] = frozenset()  # that were not as FCM wants them


def outcome(answer: Answer) -> Outcome:
    """The outcome of an answer that is no acceptance."""
    general = by_status(answer.status, answer.headers, answer.body)
    if isinstance(general, UnknownOutcome):  # a gateway's answer, whatever its body says
        return general
    error = read(answer.body)
    known = _invalid(error) if error.code == "INVALID_ARGUMENT" else BY_CODE.get(error.code, general)
    wait = retry_after(answer.headers)
    if isinstance(known, TemporaryFailure) and wait is not None:
        return TemporaryFailure(known.code, wait)
    return known


def read(body: bytes) -> Error:
    """The error in a body; an empty one if there is none that can be read."""
    try:
        error = orjson.loads(body)["error"]
        details = error.get("details") or []
        codes = [detail["errorCode"] for detail in details if "errorCode" in detail]
        violations = [one for detail in details for one in detail.get("fieldViolations") or []]
        fields = frozenset(str(one.get("field")) for one in violations)
        return Error(str(codes[0]) if codes else "", str(error.get("message")), fields)
    except (ValueError, TypeError, KeyError, AttributeError):
        return Error()


def _invalid(error: Error) -> Outcome:
    """FCM says the same of a token that is none and of a message that is wrong.

    A token dies only where the answer names it. FCM's own detail alone does not tell: it comes with messages
    that are too large as well. https://github.com/firebase/firebase-admin-java/issues/1064
    """
    if error.fields == {_TOKEN_FIELD} or (not error.fields and _ABOUT_TOKEN.search(error.text)):
        return PermanentFailure("invalid_address", address_is_dead=True)
    return PermanentFailure("too_large" if _ABOUT_SIZE.search(error.text) else "rejected")
