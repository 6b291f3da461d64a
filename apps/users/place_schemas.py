"""What the API takes and answers about devices and endpoints."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from apps.users import normalise, place_rules
from apps.users.places import DEVICE_KINDS, ENDPOINT_KINDS
from apps.users.schemas import ExternalId, UserId, UserRef
from project.paging import NoFilters

_DEVICE_KINDS, _ENDPOINT_KINDS = tuple(DEVICE_KINDS), tuple(ENDPOINT_KINDS)


def _by_kind(rules: Mapping[str, Callable[[str], str]], value: str, info: ValidationInfo) -> str:
    """By the rule of its kind; of a kind that is wrong nothing can be said."""
    rule = rules.get(info.data.get("kind", ""))
    return rule(value) if rule else value


class DeviceInput(BaseModel):
    """A device that takes push messages."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal[_DEVICE_KINDS]  # type: ignore[valid-type]
    token: str = Field(
        max_length=place_rules.TOKEN_LENGTH,
        description="FCM's registration token; APNs' device token in hexadecimal; of a browser "
        "`JSON.stringify(subscription)`.",
    )
    name: Annotated[str, Field(max_length=200), AfterValidator(normalise.text)] | None = Field(
        None, description="For the person to tell it from others. Left out: as it was."
    )

    @field_validator("token")
    @classmethod
    def _token(cls, value: str, info: ValidationInfo) -> str:
        return _by_kind(place_rules.OF_DEVICE, value, info)


class DeviceOfInput(DeviceInput):
    """A device of this person."""

    user: UserRef


class DeviceBody(DeviceInput):
    """A device that takes push messages."""

    user: UserRef | None = Field(
        None, description="Whose: an id or an external_id. With an API key only, and then required."
    )


class PlaceOutput(BaseModel):
    """What all places have. `deactivated_reason` is null while it is active."""

    id: UUID
    kind: str
    is_active: bool
    deactivated_reason: str | None
    created_at: datetime


class DeviceOutput(PlaceOutput):
    """A device. Its token is never shown."""

    name: str


class EndpointInput(BaseModel):
    """Where a person's webhooks or chat messages go."""

    model_config = ConfigDict(extra="forbid")

    user: UserRef = Field(description="Whose: an id or an external_id.")
    kind: Literal[_ENDPOINT_KINDS]  # type: ignore[valid-type]
    address: str = Field(
        max_length=place_rules.ADDRESS_LENGTH,
        description="An https URL; for `slack` the id of a conversation or a member; for `apprise` its URL.",
    )

    @field_validator("address")
    @classmethod
    def _address(cls, value: str, info: ValidationInfo) -> str:
        return _by_kind(place_rules.OF_ENDPOINT, value, info)


class EndpointOutput(PlaceOutput):
    """An endpoint. `address` is cut off: whoever knows a chat's URL can write there."""

    address: str


class EndpointMade(EndpointOutput):
    """An endpoint; `secret` is there for a new webhook, once, and null otherwise."""

    secret: str | None


class SecretOutput(BaseModel):
    """The new secret, shown once. The one before goes on signing beside it for 24 hours."""

    secret: str


class OwnerFilters(NoFilters):
    """Whose they are: by our id or by the caller's own."""

    user: UserId | None = None
    external_id: ExternalId | None = None
