"""Whom previews are rendered for."""

from __future__ import annotations

from apps.users.people import Person

# What a template may know of its recipient, of somebody who is nobody.
SAMPLE_RECIPIENT = {
    "external_id": "customer-1",
    "name": "Ada Lovelace",
    "email": "ada@example.com",
    "phone": "+4930123456",
    "language": "en",
    "timezone": "Europe/Berlin",
}
KNOWN = tuple(SAMPLE_RECIPIENT)


def recipient_of(person: Person) -> dict[str, str]:
    """The same of a person."""
    return {name: getattr(person, name) or "" for name in KNOWN}
