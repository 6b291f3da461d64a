"""One spelling for each address and name: what the API, the admin and the planner agree on.

Every function returns the value as it is kept, or raises a `PydanticCustomError` (a ValueError) whose text is
for the person who sent it and does not repeat the value.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from zoneinfo import available_timezones

import phonenumbers
from django.core.exceptions import ValidationError
from django.core.validators import EmailValidator
from django.utils.encoding import punycode
from pydantic_core import PydanticCustomError

DEFAULT_TIMEZONE = "UTC"
DEFAULT_LANGUAGE = "en"
EMAIL_LENGTH = 254  # RFC 5321, section 4.5.3.1.3, less the brackets
PHONE_LENGTH = 16  # E.164: 15 digits and the +

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_PHONE = re.compile(r"\+[0-9 ().\-/]+")
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(?:-[A-Za-z0-9]{1,8})*")
_is_email = EmailValidator()
_CACHED = 20_000  # values; the people a service writes to come again and again


def text(value: str) -> str:
    """One line: a line break in a name would be a header in an e-mail."""
    if _CONTROL.search(value):
        raise PydanticCustomError("control_character", "Control characters are not allowed.")
    return value


@lru_cache(_CACHED)
def email(value: str) -> str:
    """The domain in lower case and ASCII; the part before the @ is its owner's own business."""
    try:
        _is_email(text(value))
        local, _, domain = value.rpartition("@")
        address = f"{local}@{punycode(domain).lower()}"
    except (ValidationError, UnicodeError):
        raise PydanticCustomError("bad_email", "This is not an e-mail address.") from None
    if len(address) > EMAIL_LENGTH:
        raise PydanticCustomError("bad_email", "This e-mail address is too long.")
    return address


@lru_cache(_CACHED)
def phone(value: str) -> str:
    """E.164, such as +4930123456. It must be given with its country, since we know of no other."""
    if not _PHONE.fullmatch(value):
        raise PydanticCustomError("bad_phone", "Send the number with + and its country, such as +4930123456.")
    try:
        number = phonenumbers.parse(value, None)
    except phonenumbers.NumberParseException:
        raise PydanticCustomError("bad_phone", "This is not a phone number.") from None
    # Possible, not valid: numbering plans change faster than our copy of them; the carrier knows.
    e164 = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    if not phonenumbers.is_possible_number(number) or len(e164) > PHONE_LENGTH:
        raise PydanticCustomError("bad_phone", "This phone number is too long or too short.")
    return e164


def timezone(value: str) -> str:
    """An IANA name as it is; what has several names keeps the one that was sent."""
    if value not in _timezones():
        raise PydanticCustomError("bad_timezone", "This is not an IANA time zone, such as Europe/Berlin.")
    return value


@cache
def _timezones() -> frozenset[str]:
    return frozenset(available_timezones())


@lru_cache(_CACHED)
def language(value: str) -> str:
    """In the letter case RFC 5646 recommends (section 2.1.1): zh-Hant-TW."""
    if not _LANGUAGE.fullmatch(value):
        raise PydanticCustomError("bad_language", "This is not a BCP 47 language tag, such as pt-BR.")
    first, *rest = value.lower().split("-")
    return "-".join([first, *(_language_case(part) for part in rest)])


def _language_case(part: str) -> str:
    if len(part) == 2:
        return part.upper()
    return part.title() if len(part) == 4 and part.isalpha() else part
