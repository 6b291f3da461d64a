"""The query parameters the lists take beside the paging's."""

from __future__ import annotations

import re
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError
from rest_framework.request import Request

from apps.notifications.schemas import Errors, Name, Priority, Time
from apps.notifications.statuses import Status
from apps.users.schemas import ExternalId
from project.api import field_errors
from project.paging import PARAMETERS
from project.queues import CHANNELS

_OF_PAGING = frozenset(parameter.name for parameter in PARAMETERS)


_LOST_PLUS = re.compile(r" (?=\d\d:\d\d$)")


def _with_plus(value: object) -> object:
    """A + that was not escaped in the address arrives as a space."""
    return _LOST_PLUS.sub("+", value) if isinstance(value, str) else value


_Time = Annotated[Time, BeforeValidator(_with_plus)]


class NoFilters(BaseModel):
    """A list that is not filtered."""

    model_config = ConfigDict(extra="forbid")


class NotificationFilters(NoFilters):
    """Of the list of notifications."""

    related_type: Name | None = None
    related_id: ExternalId | None = None
    priority: Priority | None = None
    template: Name | None = None
    created_after: _Time | None = None
    created_before: _Time | None = None


class TargetFilters(NoFilters):
    """Of a notification's targets."""

    status: Status | None = None
    channel: Literal[CHANNELS] | None = None  # type: ignore[valid-type]


Filters = TypeVar("Filters", bound=NoFilters)


def filters_of(request: Request, model: type[Filters]) -> tuple[Filters, Errors]:
    """What is asked for, or none of it and what is wrong: to be told together with the paging's errors."""
    query = request.query_params
    try:
        return model.model_validate({name: query[name] for name in query if name not in _OF_PAGING}), []
    except ValidationError as error:
        return model(), field_errors(error)
