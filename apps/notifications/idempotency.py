"""`Idempotency-Key`: an effect and the answer it got are one transaction, so a repeat gets the same answer.

After draft-ietf-httpapi-idempotency-key-header: 409 while the first is in flight, 422 for the same key with
another request, and the stored answer, marked `Idempotency-Replayed: true`, for the same one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import datetime
from typing import Any

import orjson
from django.conf import settings
from rest_framework.request import Request
from rest_framework.response import Response

from apps.notifications.caller import Caller
from project import clock, db
from project.api import Problem, field_error

_MOST = 255
_SECONDS = settings.IDEMPOTENCY_KEPT.total_seconds()

# Whether the key's lock is free, the transaction's time, and what is kept under the key. A request that
# commits between this statement's snapshot and its lock is not seen here; it is, by _KEEP.
_LOOK = """
SELECT pg_try_advisory_xact_lock(hashtextextended(%(client)s || ':' || %(key)s, 0)), carillon_now(),
       k.fingerprint, k.status_code, k.body
FROM (SELECT 1) AS one LEFT JOIN notifications_idempotencykey k
  ON k.client_id = %(client)s::bigint AND k.key = %(key)s
 AND k.created_at > carillon_now() - make_interval(secs => %(seconds)s)
"""
_KEEP = """
INSERT INTO notifications_idempotencykey AS k (client_id, key, fingerprint, status_code, body)
VALUES (%s, %s, %s, %s, %s)
ON CONFLICT (client_id, key) DO UPDATE
SET fingerprint = excluded.fingerprint, status_code = excluded.status_code, body = excluded.body,
    created_at = carillon_now()
WHERE k.created_at <= carillon_now() - make_interval(secs => %s)
"""
_FORGET = """
DELETE FROM notifications_idempotencykey WHERE (client_id, key) IN (
    SELECT client_id, key FROM notifications_idempotencykey
    WHERE created_at < carillon_now() - make_interval(secs => %s)
    ORDER BY created_at LIMIT %s FOR UPDATE SKIP LOCKED
)
"""


def once(request: Request, caller: Caller, effect: Callable[[datetime], tuple[int, Any]]) -> Response:
    """Run the effect in one transaction, once per key. It takes the transaction's time and returns the status
    code and the answer.

    Without the header, just in one transaction. Raises Problem 400, 409 or 422; an effect that raises leaves
    nothing behind, not even the key.
    """
    key = request.headers.get("Idempotency-Key")
    if key is None:
        with db.one_transaction():
            status_code, answer = effect(clock.now())
        return Response(answer, status_code)
    _check(key)
    print_ = fingerprint(request)
    with db.one_transaction():
        now, kept = _look(caller, key, print_)
        if kept is not None:
            return Response(kept[1], kept[0], headers={"Idempotency-Replayed": "true"})
        status_code, answer = effect(now)
        body = orjson.dumps(answer, option=orjson.OPT_UTC_Z)
        if not db.execute(_KEEP, [caller.client_id, key, print_, status_code, body, _SECONDS]):
            raise _in_use()  # and take back the effect: somebody else's was first
    return Response(body, status_code)


def fingerprint(request: Request) -> bytes:
    """SHA-256 of method, path and body: what makes it the same request."""
    body: bytes = getattr(request, "body_bytes", b"")  # kept by the parser
    return hashlib.sha256(b"\0".join((str(request.method).encode(), request.path.encode(), body))).digest()


def forget_old(limit: int) -> int:
    """Drop keys past their time; how many."""
    return db.execute(_FORGET, [_SECONDS, limit])


def _check(key: str) -> None:
    if not 1 <= len(key) <= _MOST or not key.isascii() or not key.isprintable():
        error = field_error("Idempotency-Key", "invalid", f"1 to {_MOST} printable ASCII characters.")
        raise Problem(400, "invalid_request", "The Idempotency-Key is not usable.", errors=[error])


def _in_use() -> Problem:
    text = "A request with this Idempotency-Key is being processed."
    return Problem(409, "idempotency_key_in_use", text, headers={"Retry-After": "1"})


def _look(caller: Caller, key: str, print_: bytes) -> tuple[datetime, tuple[int, bytes] | None]:
    """Take the key's lock until the transaction ends; its time, and the answer kept under the key if any."""
    values = {"client": str(caller.client_id), "key": key, "seconds": _SECONDS}
    ((free, now, kept_print, status_code, body),) = db.rows(_LOOK, values)
    if not free:
        raise _in_use()
    if kept_print is None:
        return now, None
    if bytes(kept_print) != print_:
        raise Problem(422, "idempotency_key_reused", "This Idempotency-Key was used with another request.")
    return now, (status_code, bytes(body))
