"""Where the links that unsubscribe lead: https://www.rfc-editor.org/rfc/rfc8058.

Open to everybody: the token is all that is needed. Only a POST changes anything: what fetches the links of a
mail to look for viruses does not unsubscribe its reader.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.core.exceptions import BadRequest, SuspiciousOperation
from django.db import InterfaceError, OperationalError, transaction
from django.http import HttpRequest, HttpResponse, UnreadablePostError
from django.http.multipartparser import MultiPartParserError
from django.template.loader import render_to_string
from django.views.decorators.csrf import csrf_exempt

from apps.content.models import NotificationType
from apps.preferences import choices, unsubscribe_form, unsubscribing
from apps.preferences.choices import Wanted
from apps.preferences.models import Choice, How
from apps.preferences.unsubscribe_form import EMAIL, Days
from apps.preferences.unsubscribing import Said
from apps.users.models import User
from apps.users.normalise import DEFAULT_TIMEZONE
from project import clock

logger = logging.getLogger(__name__)

_METHODS = "GET, HEAD, POST"
_HEADERS = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "X-Robots-Tag": "noindex"}
_BAD_BODY = (BadRequest, MultiPartParserError, SuspiciousOperation, UnreadablePostError)
_AWAY = 5  # seconds after which to try again, if the database is away


@csrf_exempt
def unsubscribe(request: HttpRequest, token: str) -> HttpResponse:
    """GET: a page, which changes nothing. POST: a mail client's one click, or what the page's form says.

    404 for a token that is none of ours, or whose person is not there any more. 400 for a form that is not
    filled in, naming the fields.
    """
    if request.method not in ("GET", "HEAD", "POST"):
        return _quiet(HttpResponse(status=405, headers={"Allow": _METHODS, **_HEADERS}))
    try:
        said = unsubscribing.read(token)
        if said is None:
            return _page("not_found", {}, status=404)
        person = User.objects.get(pk=said.user_id, is_active=True)
        return _posted(request, said, person) if request.method == "POST" else _shown(said, person)
    except User.DoesNotExist:  # also if they are deleted meanwhile
        return _page("not_found", {}, status=404)
    except (OperationalError, InterfaceError):
        return _page("away", {}, status=503, headers={"Retry-After": str(_AWAY)})


def _posted(request: HttpRequest, said: Said, person: User) -> HttpResponse:
    try:
        given = request.POST.dict()
    except _BAD_BODY:
        given = {}
    if given.get("List-Unsubscribe") == "One-Click":
        _switch_off(said, person, Wanted(said.type, EMAIL, How.OFF.value), source="mail_client")
        return HttpResponse("Unsubscribed.\n", content_type="text/plain", headers=_HEADERS)
    if again := unsubscribe_form.scopes(said.type).get(str(given.get("again"))):
        _switch_on(said, person, again)
        return _shown(said, person, done="again")
    wanted, errors = unsubscribe_form.read(given, said.type, _days(person))
    if wanted is None:
        return _shown(said, person, errors=errors, given=given)
    _switch_off(said, person, wanted, source="link")
    return _shown(said, person, done="off")


def _switch_off(said: Said, person: User, wanted: Wanted, *, source: str) -> None:
    """Write it down. One click on what is off for good already changes nothing: a reason given then stays."""
    with transaction.atomic():
        User.objects.select_for_update(no_key=True).get(pk=person.pk)
        kept = _off(said, person).get((wanted.type, wanted.channel))
        if kept and kept.until is None and source == "mail_client":
            return
        choices.write(person.pk, [wanted], source=source)
    _log("unsubscribed", said, source)


def _switch_on(said: Said, person: User, scope: tuple[str, str]) -> None:
    """Remove that row, if it is one that switches something off; others are none of this page's business."""
    with transaction.atomic():
        User.objects.select_for_update(no_key=True).get(pk=person.pk)
        if scope not in _off(said, person):
            return
        choices.write(person.pk, [Wanted(*scope, None)], source="link")
    _log("subscribed again", said, "link")


def _log(what: str, said: Said, source: str) -> None:
    extra = {"user_id": said.user_id, "target_id": str(said.target), "type": said.type, "source": source}
    logger.info(what, extra=extra)


def _off(said: Said, person: User) -> dict[tuple[str, str], Choice]:
    """What of the page's the person has switched off now, by type and channel."""
    rows = Choice.objects.filter(user=person, how=How.OFF, type__in=("", said.type), channel__in=("", EMAIL))
    now = clock.now()
    return {(row.type, row.channel): row for row in rows if row.until is None or row.until > now}


# --- The page --------------------------------------------------------------------------------------------


def _shown(
    said: Said,
    person: User,
    *,
    done: str = "",
    errors: Mapping[str, str] | None = None,
    given: Mapping[str, Any] | None = None,
) -> HttpResponse:
    """The page as things stand. errors: 400, with what was given."""
    days, off = _days(person), _off(said, person)
    names = unsubscribe_form.scopes(said.type)
    context = {
        "address": person.email,
        "type": _type_name(said, person),
        "zone": days.zone.key,
        "scopes": [name for name, scope in names.items() if scope not in off],
        "off": [
            {"name": name, "until": row.until and row.until.astimezone(days.zone).date()}
            for name, scope in names.items()
            if (row := off.get(scope))
        ],
        "days": days,
        "done": done,
        "errors": errors or {},
        "given": given or {},
    }
    return _page("unsubscribe", context, status=400 if errors else 200)


def _days(person: User) -> Days:
    try:
        zone = ZoneInfo(person.timezone)
    except (ZoneInfoNotFoundError, ValueError):  # the admin takes any text
        zone = ZoneInfo(DEFAULT_TIMEZONE)
    return Days.of(zone, clock.now())


def _type_name(said: Said, person: User) -> str:
    """As people read it; the organization's own comes before the system's. Its slug, if it has gone."""
    if not said.type:
        return ""
    named = NotificationType.objects.filter(slug=said.type, organization_id__in=[person.organization_id])
    named = named or NotificationType.objects.filter(slug=said.type, organization=None)
    return next((one.name for one in named), said.type)


def _page(
    name: str, context: Mapping[str, Any], *, status: int, headers: Mapping[str, str] | None = None
) -> HttpResponse:
    """A page that loads nothing, runs nothing and is kept nowhere."""
    nonce = secrets.token_urlsafe(16)
    text = render_to_string(f"preferences/{name}.html", {**context, "nonce": nonce})
    policy = (
        f"default-src 'none'; style-src 'nonce-{nonce}'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    )
    return _quiet(
        HttpResponse(
            text, status=status, headers={**_HEADERS, "Content-Security-Policy": policy, **(headers or {})}
        )
    )


def _quiet(response: HttpResponse) -> HttpResponse:
    """Not logged: the address is a token."""
    response._has_been_logged = True  # type: ignore[attr-defined]  # as Django marks it
    return response
