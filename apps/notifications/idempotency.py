"""`Idempotency-Key`: an effect and the answer it got are one transaction, so a repeat gets the same answer.

After draft-ietf-httpapi-idempotency-key-header: 409 while the first is in flight, 422 for the same key with
another request, and the stored answer, marked `Idempotency-Replayed: true`, for the same one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import orjson
from django.conf import settings
from rest_framework.request import Request
from rest_framework.response import Response

from apps.notifications.caller import Caller
from project import db
from project.api import Problem, field_error

_MOST = 255

_LOCK = "SELECT pg_try_advisory_xact_lock(hashtextextended(%s, 0))"
_FIND = """
SELECT fingerprint, status_code, body FROM notifications_idempotencykey
WHERE client_id = %s AND key = %s AND created_at > carillon_now() - make_interval(secs => %s)
"""
_KEEP = """
INSERT INTO notifications_idempotencykey (client_id, key, fingerprint, status_code, body)
VALUES (%s, %s, %s, %s, %s)
ON CONFLICT (client_id, key) DO UPDATE
SET fingerprint = excluded.fingerprint, status_code = excluded.status_code, body = excluded.body,
    created_at = carillon_now()
"""
_FORGET = """
DELETE FROM notifications_idempotencykey WHERE (client_id, key) IN (
    SELECT client_id, key FROM notifications_idempotencykey
    WHERE created_at < carillon_now() - make_interval(secs => %s)
    ORDER BY created_at LIMIT %s FOR UPDATE SKIP LOCKED
)
"""


def once(request: Request, caller: Caller, effect: Callable[[], tuple[int, Any]]) -> Response:
    """Run the effect in one transaction, once per key; it returns the status code and the answer.

    Without the header, just in one transaction. Raises Problem 400, 409 or 422; an effect that raises leaves
    nothing behind, not even the key.
    """
    key = request.headers.get("Idempotency-Key")
    if key is None:
        with db.one_transaction():
            status_code, answer = effect()
        return Response(answer, status_code)
    _check(key)
    print_ = fingerprint(request)
    with db.one_transaction():
        kept = _kept(caller, key, print_)
        if kept is not None:
            return Response(kept[1], kept[0], headers={"Idempotency-Replayed": "true"})
        status_code, answer = effect()
        body = orjson.dumps(answer, option=orjson.OPT_UTC_Z)
        db.execute(_KEEP, [caller.client_id, key, print_, status_code, body])
    return Response(body, status_code)


def fingerprint(request: Request) -> bytes:
    """SHA-256 of method, path and body: what makes it the same request."""
    body: bytes = getattr(request, "body_bytes", b"")  # kept by the parser
    return hashlib.sha256(b"\0".join((str(request.method).encode(), request.path.encode(), body))).digest()


def forget_old(limit: int) -> int:
    """Drop keys past their time; how many."""
    return db.execute(_FORGET, [settings.IDEMPOTENCY_KEPT.total_seconds(), limit])


def _check(key: str) -> None:
    if not 1 <= len(key) <= _MOST or not key.isascii() or not key.isprintable():
        error = field_error("Idempotency-Key", "invalid", f"1 to {_MOST} printable ASCII characters.")
        raise Problem(400, "invalid_request", "The Idempotency-Key is not usable.", errors=[error])


def _kept(caller: Caller, key: str, print_: bytes) -> tuple[int, bytes] | None:
    """The kept answer, or None for the first request with this key, whose lock is now ours."""
    ((free,),) = db.rows(_LOCK, [f"{caller.client_id}:{key}"])
    if not free:
        raise Problem(
            409,
            "idempotency_key_in_use",
            "A request with this Idempotency-Key is being processed.",
            headers={"Retry-After": "1"},
        )
    found = db.rows(_FIND, [caller.client_id, key, settings.IDEMPOTENCY_KEPT.total_seconds()])
    if not found:
        return None
    kept_print, status_code, body = found[0]
    if bytes(kept_print) != print_:
        raise Problem(422, "idempotency_key_reused", "This Idempotency-Key was used with another request.")
    return status_code, bytes(body)
