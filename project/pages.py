"""What is answered where no endpoint is: problems under /api/, Django's own pages elsewhere.

`project.urls` mounts `unknown_route` last and names the handlers.
"""

from __future__ import annotations

import sys

import orjson
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.views import defaults
from django.views.decorators.csrf import csrf_exempt

from project.api import OUR_FAULT, PROBLEM_JSON, Problem, document, log_our_fault

API = "/api/"


def _answer(problem: Problem) -> HttpResponse:
    body = orjson.dumps(document(problem))
    return HttpResponse(body, status=problem.status_code, content_type=PROBLEM_JSON)


@csrf_exempt
def unknown_route(request: HttpRequest) -> HttpResponse:
    """404 for every address under /api/ that is not one of ours, whatever the method."""
    hint = "" if request.path.endswith("/") else " Ours end with a slash."
    return _answer(Problem(404, "unknown_route", f"There is no such address.{hint}"))


def handler400(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    """A request that did not reach an endpoint: a wrong Host, a malformed header."""
    if not request.path.startswith(API):
        return defaults.bad_request(request, exception)
    return _answer(Problem(400, "bad_request", "This request cannot be served."))


def handler403(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    """Refused before it reached an endpoint."""
    if not request.path.startswith(API):
        return defaults.permission_denied(request, exception)
    return _answer(Problem(403, "permission_denied", "These credentials are not for this."))


def handler404(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    """Nothing there."""
    return (
        unknown_route(request)
        if request.path.startswith(API)
        else defaults.page_not_found(request, exception)
    )


def handler500(request: HttpRequest) -> HttpResponseBase:
    """An error outside every endpoint. Endpoints answer for theirs in `project.api.problem_response`."""
    if not request.path.startswith(API):
        return defaults.server_error(request)
    if error := sys.exc_info()[1]:
        log_our_fault(error, None)
    return _answer(OUR_FAULT)
