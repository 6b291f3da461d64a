"""What each error of a call says became of the message."""

from __future__ import annotations

import re

from botocore.exceptions import ClientError, ConnectionError, HTTPClientError, ReadTimeoutError
from multidict import CIMultiDict

from apps.integrations.contract import Outcome, PermanentFailure, TemporaryFailure, UnknownOutcome
from apps.integrations.http import MISCONFIGURED_WAIT, by_status, retry_after

SETUP = TemporaryFailure("misconfigured", MISCONFIGURED_WAIT)
_ACCOUNT = TemporaryFailure("unauthorized", MISCONFIGURED_WAIT)
# Of 24 hours; "wait for an interval of up to 10 minutes, and then retry":
# https://docs.aws.amazon.com/ses/latest/dg/manage-sending-quotas-errors.html
_QUOTA = TemporaryFailure("over_quota", 600.0)

# The first row that matches "<code> <text>" decides; any other answer counts as its HTTP status. Codes:
# https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html#API_SendEmail_Errors (1) and
# https://docs.aws.amazon.com/ses/latest/APIReference-V2/CommonErrors.html (2); texts:
# https://docs.aws.amazon.com/ses/latest/dg/troubleshoot-error-messages.html (3)
BY_ERROR: tuple[tuple[str, Outcome], ...] = (
    (r"AccountSuspendedException ", _ACCOUNT),  # 1: sending is permanently restricted
    (r"SendingPausedException ", _ACCOUNT),  # 1: of the account or the configuration set
    (r"MessageRejected .*\b(paused|suspended)\b", _ACCOUNT),  # 3: account is paused
    (r"MessageRejected .*not verified", SETUP),  # 3: the sender; in the sandbox, the recipient too
    (r"MessageRejected ", PermanentFailure("rejected")),  # 1: invalid content
    (r"MailFromDomainNotVerifiedException ", SETUP),  # 1
    (r"NotFoundException ", SETUP),  # 1, 3: the configuration set does not exist
    (r"\w+ .*Daily message quota exceeded", _QUOTA),  # 3
    (r"LimitExceededException ", _QUOTA),  # 1: what API v2 says for the same
    (r"(TooManyRequests|Throttling)(Exception)? ", TemporaryFailure("rate_limited")),  # 1, 2
    (
        # 1: invalid input, which can only be the recipient: the sender was judged when this was built
        r"BadRequestException .*(Missing final '@domain'|Missing domain|contains control or whitespace)",
        PermanentFailure("invalid_address", address_is_dead=True),
    ),
    (r"BadRequestException Message length", PermanentFailure("too_large")),  # 1
    (r"(UnrecognizedClient|InvalidSignature|ExpiredToken|AccessDenied)(Exception)? ", _ACCOUNT),  # 2
    (r"(InvalidClientTokenId|SignatureDoesNotMatch|IncompleteSignature) ", _ACCOUNT),  # 2
    (r"(MissingAuthenticationToken(Exception)?|NotAuthorized|OptInRequired) ", _ACCOUNT),  # 2
    (r"RequestExpired ", _ACCOUNT),  # 2: a clock is off by 15 minutes
    (r"Request(Aborted|Timeout)(Exception)? ", TemporaryFailure("unavailable")),  # 2: it was not read whole
)


def refused(refusal: ClientError) -> Outcome:
    """The outcome of an answer that is an error."""
    answer, error = refusal.response["ResponseMetadata"], refusal.response["Error"]
    headers = CIMultiDict(answer["HTTPHeaders"])
    general = by_status(answer["HTTPStatusCode"], headers)
    if isinstance(general, UnknownOutcome):  # a gateway's answer, whatever its body says
        return general
    said = f"{error.get('Code')} {error.get('Message')}"
    outcome = next((outcome for pattern, outcome in BY_ERROR if re.match(pattern, said, re.DOTALL)), general)
    wait = retry_after(headers)
    if isinstance(outcome, TemporaryFailure) and wait is not None:
        return TemporaryFailure(outcome.code, wait)
    return outcome


def without_answer(error: Exception, *, left: bool) -> Outcome:
    """The outcome of a call without one: not taken before its body left; afterwards nobody knows."""
    on_the_way = isinstance(error, ConnectionError | HTTPClientError)
    if not left:
        return TemporaryFailure("unreachable") if on_the_way else SETUP
    if isinstance(error, ReadTimeoutError):
        return UnknownOutcome("timeout")
    return UnknownOutcome("disconnected" if on_the_way else "bad_answer")
