"""Messages of Amazon SNS, in which SES wraps what it reports, and their signatures.

https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html
https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html
"""

from __future__ import annotations

import base64
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, HashAlgorithm

from apps.integrations.contract import BadSignature
from apps.integrations.ses.certificates import Certificates

NOTIFICATION = "Notification"
SUBSCRIPTION = "SubscriptionConfirmation"
UNSUBSCRIPTION = "UnsubscribeConfirmation"

# What is signed, by type, in this order. A Subject only where there is one.
_CONTROL = ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
SIGNED: dict[str, tuple[str, ...]] = {
    NOTIFICATION: ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    SUBSCRIPTION: _CONTROL,
    UNSUBSCRIPTION: _CONTROL,
}
HASHES: dict[str, type[HashAlgorithm]] = {"1": SHA1, "2": SHA256}  # by SignatureVersion
# Seconds between the vendor's publishing and our clock, either way. A repetition has the time of the first
# and comes within an hour: https://docs.aws.amazon.com/sns/latest/dg/sns-message-delivery-retries.html.
# More, since what is refused with a 4xx is not repeated: an outage of the vendor's must not lose what it
# held back. A replay within a day does no harm, since an event is stored once.
TOLERANCE = 25 * 3600.0


def envelope(body: bytes) -> dict[str, Any]:
    """The fields of an SNS message. Raises ValueError for what is none."""
    fields = orjson.loads(body)
    if not isinstance(fields, dict):
        raise ValueError("not an object")
    return fields


def canonical(fields: Mapping[str, Any]) -> bytes:
    """The bytes that are signed. Raises KeyError or TypeError for what cannot be signed."""
    names = [name for name in SIGNED[fields["Type"]] if name != "Subject" or fields.get(name) is not None]
    if not all(isinstance(fields[name], str) for name in names):
        raise TypeError("a signed field is not text")
    return "".join(f"{name}\n{fields[name]}\n" for name in names).encode()


def verify(fields: Mapping[str, Any], certificates: Certificates) -> None:
    """Return if SNS has signed these fields, lately. Raises what `Certificates.key` does."""
    try:
        content, hashed = canonical(fields), HASHES[fields["SignatureVersion"]]
        signature = base64.b64decode(fields["Signature"], validate=True)
        age = time.time() - moment(fields["Timestamp"]).timestamp()
        url = str(fields["SigningCertURL"])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise BadSignature("not a message that SNS has signed: is raw delivery on?") from error
    if abs(age) > TOLERANCE:
        raise BadSignature("published too long ago, or in the future")
    try:
        certificates.key(url).verify(signature, content, PKCS1v15(), hashed())
    except InvalidSignature as error:
        raise BadSignature("the signature is not that of this message") from error


def moment(value: Any) -> datetime:
    """A time as AWS writes it (ISO 8601, UTC). Raises ValueError or TypeError for what is none."""
    read = datetime.fromisoformat(value)
    return read if read.tzinfo else read.replace(tzinfo=UTC)
