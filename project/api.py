"""What every endpoint shares: JSON by orjson, errors as problem+json."""

from __future__ import annotations

import logging
import re
import traceback
from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any, TypeVar

import orjson
import psycopg
from django.conf import settings
from django.core.exceptions import PermissionDenied, RequestDataTooBig
from django.core.signals import got_request_exception
from django.db import DatabaseError, InterfaceError, OperationalError
from django.http import Http404, HttpRequest, UnreadablePostError
from pydantic import BaseModel, ValidationError
from rest_framework import exceptions, status
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response

logger = logging.getLogger(__name__)
Model = TypeVar("Model", bound=BaseModel)
PROBLEM_JSON = "application/problem+json"
MAX_ERRORS = 1_000  # told at once; nobody reads more, and a hostile body could have a million
MAX_DEPTH = 64  # of a body; Python's and Postgres's own limits are not far above


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


def body_of(model: type[Model], request: Request, *, context: Mapping[str, object] | None = None) -> Model:
    """The request's body as the model, or the problem that says what is wrong with it.

    context: what the model's validators need to know beside the body.
    """
    _check_length(request)
    return parse(model, request.data, context=context)


def bytes_of(request: Request, limit: int) -> bytes:
    """The request's body as it came. Raises the problem that says that it is too large."""
    _check_length(request)
    body: bytes = request.stream.read(limit + 1) if request.stream else b""
    return within(limit, body)


def within(limit: int, body: bytes) -> bytes:
    """The body, if it is no larger than this."""
    if len(body) > limit:
        raise Problem(413, "body_too_large", f"The body may have {limit} bytes at most.")
    return body


def _check_length(request: Request) -> None:
    """A body without a length would be taken for an empty one and the request accepted without it."""
    if request.META.get("HTTP_TRANSFER_ENCODING") and not request.META.get("CONTENT_LENGTH"):
        raise Problem(411, "length_required", "Send the body with a Content-Length.")


def parse(model: type[Model], data: object, *, context: Mapping[str, object] | None = None) -> Model:
    """The data as the model. Raises the problem that names every bad field."""
    try:
        return model.model_validate(data, context=context)
    except ValidationError as error:
        raise invalid(field_errors(error)) from None


def field_errors(error: ValidationError) -> list[dict[str, str]]:
    """Pydantic's findings as ours; a union's several tries at one value are told as one."""
    found: dict[str, dict[str, str]] = {}
    for item in error.errors(include_url=False, include_input=False, include_context=False):
        unknown = item["type"] == "extra_forbidden"
        field = _path(item["loc"], keep_last=unknown)
        detail = _DETAILS.get(item["type"], item["msg"].removeprefix("Value error, "))
        found.setdefault(field, field_error(field, _CODES.get(item["type"], "invalid"), detail))
    return list(found.values())


_CODES = {
    "missing": "required",
    "extra_forbidden": "unknown_field",
    "too_long": "too_many",
    "too_short": "too_few",
    "string_too_long": "too_long",
    # Ours:
    "required": "required",
    "conflict": "conflict",
    "out_of_range": "out_of_range",
    "past": "past",
}
_DETAILS = {
    "missing": "This field is required.",
    "extra_forbidden": "There is no such field.",
    "model_type": "Send a JSON object.",
    "dict_type": "Send a JSON object.",
}

# Steps of a location that are not of the caller's body but of our types: the branch of a union that was
# tried, by pydantic's name for it or by a tag of ours, which begins with "~".
_BRANCH = re.compile(
    r"~.*|(constrained-)?(int|str|float|bool|none|date|datetime|uuid)|[a-z-]+\[.*|\[key\]|[A-Z]\w*", re.DOTALL
)


def _path(location: tuple[int | str, ...], *, keep_last: bool = False) -> str:
    path = ""
    for number, step in enumerate(location, start=1):
        if isinstance(step, int):
            path += f"[{step}]"
        elif (keep_last and number == len(location)) or not _BRANCH.fullmatch(step):
            path += f".{step}" if path else step
    return path or "(body)"


class FieldError(BaseModel):
    """One bad field of a request."""

    field: str
    code: str
    detail: str


class ProblemBody(BaseModel):
    """An error, RFC 9457."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    errors: list[FieldError] | None = None


# For `extend_schema(responses=…)`: what every endpoint may answer.
PROBLEMS = {
    (number, PROBLEM_JSON): ProblemBody for number in (400, 401, 403, 404, 409, 411, 413, 415, 422, 503)
}


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
    """The body as it is sent; a view that needs the bytes too finds them in `request.body_bytes`.

    What gets through can be stored: Postgres refuses U+0000 in a text, and nesting has a limit.
    """

    media_type = "application/json"

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        context = parser_context or {}
        limit = getattr(context.get("view"), "max_body_bytes", settings.MAX_BODY_BYTES)
        body = within(limit, stream.read(limit + 1))
        if "request" in context:
            context["request"].body_bytes = body
        return _loads(body)


def _loads(body: bytes) -> Any:
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Problem(400, "not_json", f"The body is not JSON: {error}.") from None
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH and _is_deep(data):
        raise Problem(400, "too_deep", f"The body may be nested {MAX_DEPTH} levels deep at most.")
    if b"\\u0000" in body and (found := sorted(set(_with_null(data)))):
        raise invalid([field_error(field, "null_character", "U+0000 is not allowed.") for field in found])
    return data


def _is_deep(data: object) -> bool:
    level = [data]
    for _ in range(MAX_DEPTH):
        level = [inner for outer in level for inner in _nested(outer)]
        if not level:
            return False
    return True


def _nested(value: object) -> list[object]:
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [item for item in items if isinstance(item, dict | list)]


def _with_null(value: object, path: str = "") -> Iterator[str]:
    """Where in the body there is a U+0000."""
    if isinstance(value, str) and "\0" in value:
        yield path or "(body)"
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _with_null(item, f"{path}[{number}]")
    elif isinstance(value, dict):
        for key, item in value.items():
            if "\0" in key:
                yield path or "(body)"
            else:
                yield from _with_null(item, f"{path}.{key}" if path else key)


_KNOWN: dict[type[Exception], tuple[str, str]] = {
    exceptions.NotAuthenticated: ("not_authenticated", "Send Authorization: Bearer <API key>."),
    exceptions.MethodNotAllowed: ("method_not_allowed", "This address does not take this method."),
    exceptions.UnsupportedMediaType: ("unsupported_media_type", "Send Content-Type: application/json."),
    exceptions.NotAcceptable: ("not_acceptable", "Answers are application/json only."),
}
_BUILT_IN: dict[type[Exception], tuple[int, str, str]] = {
    Http404: (404, "not_found", "There is nothing here under this id."),
    PermissionDenied: (403, "permission_denied", "These credentials are not for this."),
    RequestDataTooBig: (413, "body_too_large", "The body is too large."),
    UnreadablePostError: (400, "body_incomplete", "The body ended early."),
}


def as_problem(error: Exception) -> Problem | None:
    """The problem that tells the caller about this error, or None for one that is our fault."""
    if isinstance(error, Problem):
        return error
    if type(error) in _BUILT_IN:
        return Problem(*_BUILT_IN[type(error)])
    if _is_unavailable(error):
        return _unavailable(error)
    if isinstance(error, exceptions.APIException):
        code, detail = _KNOWN.get(type(error), (str(error.get_codes()), str(error.detail)))
        wait = getattr(error, "wait", None)
        headers = {"Retry-After": str(round(wait))} if wait else {}
        return Problem(error.status_code, code, detail, headers=headers)
    return None


def _is_unavailable(error: Exception) -> bool:
    """No connection, a deadlock, a timeout, no room; or 25006: we are still connected to an old primary."""
    return isinstance(error, OperationalError | InterfaceError) or _sqlstate(error) == "25006"


def _sqlstate(error: BaseException) -> str | None:
    """Postgres's code of a database error: Django's has psycopg's as its cause."""
    return getattr(error, "sqlstate", None) or getattr(error.__cause__, "sqlstate", None)


def _unavailable(error: Exception) -> Problem:
    logger.error("database unavailable: %s, sqlstate %s", type(error).__name__, _sqlstate(error))
    # Not "nothing was accepted": a connection lost during COMMIT leaves that open.
    return Problem(
        503,
        "unavailable",
        "The database did not answer. Send the request again, with the same Idempotency-Key if it had one.",
        headers={"Retry-After": str(settings.DATABASE_DOWN_RETRY_AFTER)},
    )


OUR_FAULT = Problem(500, "internal_error", "Something is wrong on our side. It has been logged.")


def problem_response(error: Exception, context: Mapping[str, Any]) -> Response:
    """DRF's exception handler."""
    problem = as_problem(error)
    if problem is None:
        problem = OUR_FAULT
        log_our_fault(error, context.get("request"))
    if problem.status_code == status.HTTP_401_UNAUTHORIZED:
        problem.headers.setdefault("WWW-Authenticate", "Bearer")
    return Response(
        document(problem), status=problem.status_code, headers=problem.headers, content_type=PROBLEM_JSON
    )


def log_our_fault(error: BaseException, request: HttpRequest | Request | None) -> None:
    """Where it happened, and what, for the log; and Django's signal, for what listens for crashes."""
    told: list[str] = []
    cause: BaseException | None = error
    while cause is not None:
        told += [_what(cause), *traceback.format_tb(cause.__traceback__)]
        cause = cause.__cause__ or cause.__context__
    logger.error("API request failed: %s", "\n".join(told))
    got_request_exception.send(sender=None, request=getattr(request, "_request", request))


def _what(error: BaseException) -> str:
    """Without a database error's own words: they repeat the row, addresses and all."""
    if isinstance(error, DatabaseError | psycopg.Error):
        return f"{type(error).__name__}, sqlstate {_sqlstate(error)}"
    return f"{type(error).__name__}: {error}"


def document(problem: Problem) -> dict[str, Any]:
    """The body that tells of the problem."""
    body = {
        "type": "about:blank",
        "title": HTTPStatus(problem.status_code).phrase,
        "status": problem.status_code,
        "code": problem.code,
        "detail": str(problem.detail),
    }
    return body | {"errors": problem.errors[:MAX_ERRORS]} if problem.errors else body
