"""Where the links and pixels of tracked e-mails lead. Open to everybody: the token is all that is needed."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.utils.encoding import iri_to_uri
from django.views.decorators.csrf import csrf_exempt

from apps.notifications import counting, tracking

_PIXEL = bytes.fromhex(  # a transparent GIF of one pixel
    "47494638396101000100800000000000ffffff21f90401000000002c00000000010001000002024401003b"
)
_HEADERS = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "X-Robots-Tag": "noindex"}
_BROKEN = (
    b"<!doctype html><title>Not found</title><p>This link is not whole. Copy all of it from the message."
)


@csrf_exempt
def click(request: HttpRequest, token: str) -> HttpResponse:
    """302 to where the link led in the message, and nowhere else."""
    said = tracking.clicked(token)
    if said is None or request.method not in ("GET", "HEAD"):
        return _refused(request)
    if _is_a_person(request):
        counting.count(said.target, clicked=True)
    return HttpResponse(status=302, headers={"Location": iri_to_uri(said.url), **_HEADERS})


@csrf_exempt
def pixel(request: HttpRequest, token: str) -> HttpResponse:
    """The picture at the end of a message."""
    target = tracking.opened(token)
    if target is None or request.method not in ("GET", "HEAD"):
        return _refused(request)
    if _is_a_person(request):
        counting.count(target)
    return HttpResponse(_PIXEL, content_type="image/gif", headers=_HEADERS)


def _is_a_person(request: HttpRequest) -> bool:
    """As far as one can tell: not what only looks at the headers or loads ahead of the person."""
    ahead = f"{request.headers.get('Sec-Purpose')} {request.headers.get('Purpose')}"
    return request.method == "GET" and "prefetch" not in ahead


def _refused(request: HttpRequest) -> HttpResponse:
    """404, or 405 with what is taken. Not logged: the address may be a whole link but for its last letter."""
    if request.method in ("GET", "HEAD"):
        response = HttpResponse(_BROKEN, status=404, headers=_HEADERS)
    else:
        response = HttpResponse(status=405, headers={"Allow": "GET, HEAD", **_HEADERS})
    response._has_been_logged = True  # type: ignore[attr-defined]  # as Django marks it
    return response
