"""What every endpoint shares: JSON by orjson, errors as problem+json."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import orjson
from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.db import InterfaceError, OperationalError
from django.http import Http404
from pydantic import BaseModel, ValidationError
from rest_framework import exceptions, status
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer
from rest_framework.response import Response

logger = logging.getLogger(__name__)
Model = TypeVar("Model", bound=BaseModel)


class Problem(exceptions.APIException):
    """An RFC 9457 problem: a stable `code` for programs, a title for people, every bad field at once."""

    def __init__(
        self,
        status_code: int,
        code: str,
        detail: str,
        *,
        errors: Sequence[Mapping[str, str]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail, code)
        self.status_code = status_code
        self.code = code
        self.errors = list(errors)
        self.headers = dict(headers or {})


def field_error(field: str, code: str, detail: str) -> dict[str, str]:
    """One entry of a problem's `errors`. `field` is a path such as `targets[3].email`."""
    return {"field": field, "code": code, "detail": detail}


def invalid(errors: Sequence[Mapping[str, str]]) -> Problem:
    """400 for a body whose fields are wrong."""
    return Problem(400, "invalid_request", "Some fields are wrong.", errors=errors)


def parse(model: type[Model], data: object) -> Model:
    """The body as the model. Raises the problem that names every bad field."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise invalid(field_errors(error)) from None


def field_errors(error: ValidationError) -> list[dict[str, str]]:
    """Pydantic's findings as ours; a union's several tries at one value are told as one."""
    found: dict[str, dict[str, str]] = {}
    for item in error.errors(include_url=False, include_input=False, include_context=False):
        field = _path(item["loc"])
        found.setdefault(field, field_error(field, _CODES.get(item["type"], "invalid"), item["msg"]))
    return list(found.values())


_CODES = {
    "missing": "required",
    "extra_forbidden": "unknown_field",
    "too_long": "too_many",
    "too_short": "too_few",
    "string_too_long": "too_long",
}


def _path(location: tuple[int | str, ...]) -> str:
    path = ""
    for step in location:
        if isinstance(step, int):
            path += f"[{step}]"
        elif not step.startswith(
            ("function-", "tagged-", "union", "InlineUser", "int", "str", "constrained")
        ):
            path += f".{step}" if path else step
    return path or "(body)"


class OrjsonRenderer(BaseRenderer):
    """UUIDs as strings, times as RFC 3339 UTC."""

    media_type = "application/json"
    format = "json"
    charset = None

    def render(
        self, data: Any, accepted_media_type: str | None = None, renderer_context: Any = None
    ) -> bytes:
        if data is None:
            return b""
        if isinstance(data, bytes):  # an answer kept for its idempotency key
            return data
        return orjson.dumps(data, option=orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS)


class OrjsonParser(BaseParser):
    """The body as it is sent; a view that needs the bytes too finds them in `request.body_bytes`."""

    media_type = "application/json"

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        limit = getattr((parser_context or {}).get("view"), "max_body_bytes", settings.MAX_BODY_BYTES)
        body = stream.read(limit + 1)
        if len(body) > limit:
            raise Problem(413, "body_too_large", f"The body may have {limit} bytes at most.")
        stream.body_bytes = body
        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise Problem(400, "not_json", f"The body is not JSON: {error}.") from None


_KNOWN: dict[type[Exception], tuple[str, str]] = {
    exceptions.NotAuthenticated: ("not_authenticated", "Send Authorization: Bearer <API key>."),
    exceptions.MethodNotAllowed: ("method_not_allowed", "This address does not take this method."),
    exceptions.UnsupportedMediaType: ("unsupported_media_type", "Send Content-Type: application/json."),
    exceptions.NotAcceptable: ("not_acceptable", "Answers are application/json only."),
}


def as_problem(error: Exception) -> Problem | None:
    """The problem that tells the caller about this error, or None for one that is our fault."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, Http404):
        return Problem(404, "not_found", "There is nothing here under this id.")
    if isinstance(error, RequestDataTooBig):
        return Problem(413, "body_too_large", "The body is too large.")
    if isinstance(error, OperationalError | InterfaceError):
        logger.error("database unavailable", extra={"error": type(error).__name__})
        wait = str(settings.DATABASE_DOWN_RETRY_AFTER)
        return Problem(
            503, "unavailable", "Nothing was accepted. Send it again.", headers={"Retry-After": wait}
        )
    if isinstance(error, exceptions.APIException):
        code, detail = _KNOWN.get(type(error), (str(error.get_codes()), str(error.detail)))
        return Problem(error.status_code, code, detail)
    return None


def problem_response(error: Exception, context: Mapping[str, Any]) -> Response | None:
    """DRF's exception handler."""
    problem = as_problem(error)
    if problem is None:
        return None
    body = {
        "type": "about:blank",
        "title": _title(problem.status_code),
        "status": problem.status_code,
        "code": problem.code,
        "detail": str(problem.detail),
    }
    if problem.errors:
        body["errors"] = problem.errors
    if problem.status_code == status.HTTP_401_UNAUTHORIZED:
        problem.headers.setdefault("WWW-Authenticate", "Bearer")
    return Response(
        body, status=problem.status_code, headers=problem.headers, content_type="application/problem+json"
    )


def _title(status_code: int) -> str:
    from http import HTTPStatus

    return HTTPStatus(status_code).phrase
