"""Schedules: created and changed by services, and made to occur by the sweeper.

An occurrence, the notification it makes and the time of the next one are one transaction, under the lock of
the schedule's row. So each is made once, whatever crashes and however many sweepers there are.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator
from datetime import datetime, timedelta, tzinfo
from itertools import islice
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db import InterfaceError, OperationalError, transaction

from apps.notifications import intake, recurrence, rrule, schemas
from apps.notifications.caller import Caller
from apps.notifications.recurrence import FIRST_ON_EARTH, Cron, Occurrence, Recurrence, TooOften
from apps.notifications.resolving import foresee, resolve
from apps.notifications.schedule_models import Missed, RunStatus, Schedule, ScheduleRun
from apps.notifications.schedule_schemas import RECIPIENT, ScheduleReading
from apps.notifications.schemas import Errors
from project import clock, db, queues
from project.api import field_error, invalid

logger = logging.getLogger(__name__)

LATE = timedelta(seconds=60)  # what is later was missed, to a schedule that skips what it missed
MOST_MISSED = 100  # the latest; those before are not made up for, nor told of
MAX_ERRORS = 100  # kept of a run
SHOWN = 5  # occurrences to come
_MOMENT = timedelta(microseconds=1)
_TIMING = ("rrule", "cron", "timezone", "starts_at", "ends_at", "excluded")
_REQUIRED = ("name", "notification", "timezone")
_TEXTS = ("rrule", "cron", "ends_at")  # null is empty


# --- Occurrences -----------------------------------------------------------------------------------------


def recurrence_of(schedule: Schedule) -> Recurrence:
    """When it occurs. Raises ValueError for a rule that cannot be read."""
    zone, start = _zone(schedule.timezone), datetime.fromisoformat(schedule.starts_at)
    rule: recurrence.Rule = (
        Cron.read(schedule.cron, start) if schedule.cron else rrule.read(schedule.rrule, start, zone)
    )
    end = datetime.fromisoformat(schedule.ends_at) if schedule.ends_at else None
    return Recurrence(rule=rule, zone=zone, end=end, excluded=frozenset(schedule.excluded))


def coming(schedule: Schedule) -> list[Occurrence]:
    """The next five, or as many as there are; none while it is paused."""
    return list(islice(_from_next(schedule), SHOWN)) if schedule.next_at else []


def _from_next(schedule: Schedule) -> Iterator[Occurrence]:
    assert schedule.next_at is not None
    return recurrence_of(schedule).since(schedule.next_at - _MOMENT)


def _zone(name: str) -> tzinfo:
    return FIRST_ON_EARTH if name == RECIPIENT else ZoneInfo(name)


# --- Created and changed ---------------------------------------------------------------------------------


def create(caller: Caller, reading: ScheduleReading, now: datetime) -> Schedule:
    """Write a schedule, in the caller's transaction. Raises the problem that names every bad field."""
    row = Schedule(organization_id=caller.organization_id)
    missing = [name for name in _REQUIRED if name not in reading.given and name not in reading.wrong]
    errors = [field_error(name, "required", "This field is required.") for name in missing]
    _apply(row, caller, reading, now)
    _judge(row, caller, reading, now, errors=errors)
    _set_next(row, now)
    row.save(force_insert=True)
    return row


def change(row: Schedule, caller: Caller, reading: ScheduleReading, now: datetime) -> None:
    """Change a schedule whose row the caller has locked. Raises the problem that names every bad field.

    Where its times change, or it is resumed, it goes on with the first occurrence from now on. Otherwise what
    was due stays due.
    """
    before = _times(row)
    _apply(row, caller, reading, now)
    _judge(row, caller, reading, now, errors=[], timed=_times(row)[:-1] != before[:-1])
    if _times(row) != before:
        _set_next(row, now)
    row.save()


def pause(ids: list[UUID], *, paused: bool) -> int:
    """Pause or resume these; how many were not so already. In a transaction of its own."""
    with db.one_transaction():
        now = clock.now()
        rows = Schedule.objects.filter(pk__in=ids, paused_at__isnull=paused).order_by("id")
        found = list(rows.select_for_update())
        for row in found:
            row.paused_at = now if paused else None
            _set_next(row, now)
            row.save()
    return len(found)


def delete(organization_id: int, id: UUID) -> bool:
    """Delete it and its runs; what it made stays. Whether it was there. In a transaction of its own."""
    with db.one_transaction():
        found = Schedule.objects.filter(organization=organization_id, pk=id).select_for_update()
        row = found.first()
        if row is not None:
            row.delete()
    return row is not None


def _times(row: Schedule) -> list[Any]:
    return [*(getattr(row, name) for name in _TIMING), row.paused_at]


def _apply(row: Schedule, caller: Caller, reading: ScheduleReading, now: datetime) -> None:
    """Write what was given into the row, which is not saved."""
    given = {name: value or "" if name in _TEXTS else value for name, value in reading.given.items()}
    if given.get("rrule") or given.get("cron"):  # one takes the place of the other
        given = {"rrule": "", "cron": "", **given}
    if "paused" in given:
        row.paused_at = (row.paused_at or now) if given.pop("paused") else None
    if "notification" in given:
        row.client_id, row.keeps_lane = caller.client_id, caller.keeps_lane
    for name, value in given.items():
        setattr(row, name, value)
    if not row.starts_at and row.timezone:
        row.starts_at = now.astimezone(_zone(row.timezone)).replace(tzinfo=None, microsecond=0).isoformat()


def _judge(
    row: Schedule,
    caller: Caller,
    reading: ScheduleReading,
    now: datetime,
    *,
    errors: Errors,
    timed: bool = True,
) -> None:
    """Raises the problem that names everything that is wrong with what was sent. Writes nothing.

    timed: its times are new.
    """
    found = [*reading.errors, *errors]
    if timed:
        found += _timing_errors(row, reading.wrong, now)
    if "notification" in reading.given:
        found += _notification_errors(caller, reading.given["notification"], now)
    if found:
        raise invalid(found)


def _timing_errors(row: Schedule, wrong: frozenset[str], now: datetime) -> Errors:
    if row.rrule and row.cron:
        return [field_error("cron", "conflict", "Give an rrule or a cron line, not both.")]
    if not row.rrule and not row.cron:
        missing = field_error("rrule", "required", "Give an rrule or a cron line.")
        return [] if {"rrule", "cron"} & wrong else [missing]
    if row.ends_at and row.starts_at and "starts_at" not in wrong and row.ends_at < row.starts_at:
        return [field_error("ends_at", "conflict", "It would end before it starts.")]
    if not row.timezone or {"starts_at", "timezone"} & wrong:
        return []
    return _rule_errors(row, now)


def _rule_errors(row: Schedule, now: datetime) -> Errors:
    name = "cron" if row.cron else "rrule"
    try:
        found = recurrence_of(row)
        recurrence.check_distance(found.rule)
    except TooOften as error:
        return [field_error(name, "too_often", str(error))]
    except ValueError as error:
        return [field_error(name, "invalid", str(error))]
    if next(found.since(now), None) is None:
        detail = "There is no occurrence within 10 years of now, or of its start."
        return [field_error(name, "no_occurrence", detail)]
    return []


def _notification_errors(caller: Caller, body: dict[str, Any], now: datetime) -> Errors:
    times = [name for name in ("scheduled_at", "local_time") if body.get(name) is not None]
    errors = [field_error(name, "conflict", "The schedule says when.") for name in times]
    foreseen = foresee(caller, schemas.read({name: body[name] for name in body.keys() - set(times)}), now)
    return [_within(error) for error in [*errors, *(foreseen if isinstance(foreseen, list) else [])]]


def _within(error: dict[str, str]) -> dict[str, str]:
    """An error of the notification as one of the schedule."""
    field = error["field"]
    return error | {"field": "notification" if field == "(body)" else f"notification.{field}"}


def _set_next(row: Schedule, now: datetime) -> None:
    """The first occurrence from now on; none while it is paused, and at its end."""
    following = None if row.paused_at else next(recurrence_of(row).since(now), None)
    row.next_at = following.at if following else None
    row.next_wall = following.wall.isoformat() if following else ""


# --- Made to occur ---------------------------------------------------------------------------------------


class _Plan(NamedTuple):
    """What to do about a schedule that is due."""

    make: Occurrence | None
    missed: list[Occurrence]
    following: Occurrence | None


class _Made(NamedTuple):
    """What became of an occurrence."""

    notification_id: UUID | None = None
    errors: Errors | None = None
    lanes: frozenset[str] = frozenset()


def make_due(limit: int) -> int:
    """Make what is due of so many schedules, one occurrence of each; how many schedules were looked at.

    Must not be called inside a transaction. One that another sweeper is at is left to it.
    """
    lanes: set[str] = set()
    with db.one_transaction():
        now = clock.now()
        due = Schedule.objects.filter(next_at__lte=now).order_by("next_at", "id").select_related("client")
        found = list(due.select_for_update(skip_locked=True, of=("self",))[:limit])
        for row in found:
            lanes |= _go_on(row, now)
    if lanes:
        queues.ring(*lanes)
    return len(found)


def _go_on(row: Schedule, now: datetime) -> frozenset[str]:
    """Make what the plan says, write down what became of it, and go on to the next; the lanes to ring."""
    try:
        plan = _plan(row, now)
    except Exception:  # a rule or a zone that can be read no longer: it stops, and does not stop the others
        logger.exception("schedule stopped", extra={"schedule": row.pk})
        plan = _Plan(None, [], None)
    made = _Made()
    runs = [_run(row, one, RunStatus.MISSED, _Made()) for one in plan.missed]
    if plan.make is not None and not row.runs.filter(occurrence=plan.make.at).exists():
        made = _make_safely(row, plan.make, now)
        runs.append(_run(row, plan.make, RunStatus.FAILED if made.errors else RunStatus.MADE, made))
        row.last_at = plan.make.at
    ScheduleRun.objects.bulk_create(runs, ignore_conflicts=True)
    row.next_at = plan.following.at if plan.following else None
    row.next_wall = plan.following.wall.isoformat() if plan.following else ""
    row.save(update_fields=["next_at", "next_wall", "last_at"])
    return made.lanes


def _plan(row: Schedule, now: datetime) -> _Plan:
    due: deque[Occurrence] = deque(maxlen=MOST_MISSED)
    following = None
    for one in _from_next(row):
        if one.at > now:
            following = one
            break
        due.append(one)
    if not due:
        return _Plan(None, [], following)
    if row.missed == Missed.ALL:
        first, *others = due
        return _Plan(first, [], others[0] if others else following)
    *missed, latest = due
    if row.missed == Missed.SKIP and now - latest.at > LATE:
        return _Plan(None, [*missed, latest], following)
    return _Plan(latest, missed, following)


def _run(row: Schedule, one: Occurrence, status: RunStatus, made: _Made) -> ScheduleRun:
    return ScheduleRun(
        schedule=row,
        occurrence=one.at,
        wall=one.wall.isoformat(),
        status=status,
        notification_id=made.notification_id,
        errors=made.errors,
    )


def _make_safely(row: Schedule, one: Occurrence, now: datetime) -> _Made:
    """As `_make`; nobody's mistake stops the other schedules, or is made again each second."""
    extra: dict[str, object] = {"schedule": row.pk, "occurrence": one.at}
    try:
        with transaction.atomic():
            made = _make(row, one, now)
    except (OperationalError, InterfaceError):
        raise  # the database is away: next time
    except Exception:
        logger.exception("schedule run failed", extra=extra)
        return _Made(errors=[field_error("notification", "internal_error", "Our fault. It has been logged.")])
    if made.errors:
        logger.warning(
            "schedule run failed", extra=extra | {"codes": sorted({e["code"] for e in made.errors})}
        )
    return made


def _make(row: Schedule, one: Occurrence, now: datetime) -> _Made:
    """Accept its notification as the service's that gave it."""
    if not row.client.is_active:
        return _Made(errors=[field_error("client", "inactive_client", "The service is deactivated.")])
    body = row.notification | ({"local_time": one.wall.isoformat()} if row.timezone == RECIPIENT else {})
    caller = Caller(row.organization_id, row.client_id, row.keeps_lane)
    (resolved,) = resolve(caller, [schemas.read(body)], now)
    if isinstance(resolved, list):
        return _Made(errors=[_within(error) for error in resolved[:MAX_ERRORS]])
    (accepted,) = intake.accept([resolved], now)
    return _Made(accepted.id, None, frozenset(accepted.lanes))
