"""A person's inbox over HTTP: what is in it, and what they do with it (docs/inbox-protocol.md)."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet
from django.http import Http404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from pydantic import ValidationError
from rest_framework.authentication import SessionAuthentication
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.content.schemas import AnyObject
from apps.notifications import inbox_changes, inbox_numbers
from apps.notifications.inbox_changes import (
    OTHER_NAMES,
    AlreadyActed,
    Change,
    Done,
    Kind,
    NoSuchAction,
    SequenceAhead,
    UnknownItems,
)
from apps.notifications.inbox_models import IN_INBOX, InboxItem
from apps.notifications.inbox_schemas import (
    ChangedOutput,
    ChangeInput,
    InboxCountsOutput,
    InboxFilters,
    InboxItemOutput,
    InboxPage,
    ItemChangedOutput,
    SnoozeInput,
    SnoozeItemInput,
    change_of,
)
from apps.users.authentication import IsPerson, UserTokenAuthentication
from apps.users.models import User
from project import clock
from project.api import PROBLEMS, Problem, body_of, field_error, field_errors, invalid
from project.paging import PARAMETERS, NoFilters, filters_of, paginate

# All kinds of change by the names of their routes.
NAMES = {kind.value: kind for kind in Kind} | OTHER_NAMES
_COLUMNS = {  # in the answer: of the row
    name: "target_id" if name == "id" else name for name in InboxItemOutput.model_fields
}


class OfPerson(APIView):
    """Of the inbox of the person who asks; nobody can ask for another's."""

    authentication_classes = [UserTokenAuthentication, SessionAuthentication]
    permission_classes = [IsPerson]


class InboxView(OfPerson):
    """The list."""

    @extend_schema(
        operation_id="inbox_list",
        parameters=[
            *PARAMETERS,
            OpenApiParameter("unread", bool, description="Only unread ones; false: only read ones."),
            OpenApiParameter("archived", bool, description="Only archived ones."),
            OpenApiParameter("snoozed", bool, description="Only snoozed ones; not with `archived`."),
            OpenApiParameter("type", str, description="Only those of this type."),
            OpenApiParameter(
                "since", OpenApiTypes.INT64, description="Only what has come or changed after this number."
            ),
        ],
        responses={200: InboxPage, **PROBLEMS},
    )
    def get(self, request: Request) -> Response:
        """A person's in-app notifications, newest first, without those archived or snoozed."""
        user_id = _caller(request)
        asked, errors = filters_of(request, InboxFilters)
        counts = inbox_numbers.counts_of(user_id)  # first: who goes on from its head misses nothing
        rows = _asked_for(user_id, asked).values(*_COLUMNS.values())
        page = paginate(request.query_params, rows, "sequence", errors=errors)
        return Response(page.body(_item) | {"counts": counts.as_json()})


class CountsView(OfPerson):
    """The counts alone."""

    @extend_schema(operation_id="inbox_counts", responses={200: InboxCountsOutput, **PROBLEMS})
    def get(self, request: Request) -> Response:
        """How much is unread and unseen, of what is neither archived nor snoozed."""
        counts = inbox_numbers.counts_of(_caller(request))
        names = {"unread_count": counts.unread, "unseen_count": counts.unseen}
        return Response(counts.as_json() | names)


class ItemView(OfPerson):
    """One item."""

    @extend_schema(operation_id="inbox_get", responses={200: InboxItemOutput, **PROBLEMS})
    def get(self, request: Request, id: UUID) -> Response:
        """An item, also one archived or snoozed."""
        return Response(_found(_caller(request), id))


class ChangeView(OfPerson):
    """A change of some items, or of all up to a number."""

    kind: Kind

    def post(self, request: Request) -> Response:
        wanted = _wanted(self.kind, request)
        try:
            return Response(_done(inbox_changes.change(_caller(request), wanted)))
        except UnknownItems as error:
            raise invalid(_unknown(wanted, error)) from None
        except SequenceAhead as error:
            detail = f"The last number given out is {error.head}."
            raise invalid([field_error("up_to", "sequence_ahead", detail)]) from None


class ItemChangeView(OfPerson):
    """A change of one item."""

    kind: Kind

    def post(self, request: Request, id: UUID) -> Response:
        user_id = _caller(request)
        wanted = Change(kind=self.kind, ids=[id], until=_until(self.kind, request))
        try:
            done = inbox_changes.change(user_id, wanted)
        except UnknownItems:
            raise Http404 from None
        return Response(_done(done) | {"item": _found(user_id, id)})


class ActionView(OfPerson):
    """A button of an item."""

    @extend_schema(operation_id="inbox_act", request=None, responses={200: ItemChangedOutput, **PROBLEMS})
    def post(self, request: Request, id: UUID, action: str) -> Response:
        """Press a button of an item, which is read with it. The first that is pressed counts.

        The same one again changes nothing; another one is answered with 409 `already_acted`.
        """
        body_of(NoFilters, request)
        user_id = _caller(request)
        try:
            done = inbox_changes.act(user_id, id, action)
        except (UnknownItems, NoSuchAction):
            raise Http404 from None
        except AlreadyActed as error:
            raise Problem(
                409, "already_acted", f"Another button was pressed before: {error.action}."
            ) from None
        return Response(_done(done) | {"item": _found(user_id, id)})


_WHAT = {
    Kind.READ: "Mark as read, and so as seen",
    Kind.UNREAD: "Mark as unread",
    Kind.SEEN: "Mark as seen",
    Kind.ARCHIVE: "Take out of the inbox, and keep in the archive",
    Kind.UNARCHIVE: "Put back into the inbox what was archived",
    Kind.SNOOZE: "Take out of the inbox until a time, when it comes back as a new item",
    Kind.UNSNOOZE: "Let what is snoozed come back now, as a new item",
}


def change_view(name: str) -> type[ChangeView]:
    """The view of the kind of change that has this name."""
    schema = extend_schema(
        operation_id=f"inbox_{name}",
        description=f"{_described(name)}: some items, or all up to a number. To repeat it changes nothing.",
        request=SnoozeInput if NAMES[name] is Kind.SNOOZE else ChangeInput,
        responses={200: ChangedOutput, **PROBLEMS},
    )
    return extend_schema_view(post=schema)(type("ChangeView", (ChangeView,), {"kind": NAMES[name]}))


def item_change_view(name: str) -> type[ItemChangeView]:
    """The view of the kind of change that has this name, of one item."""
    schema = extend_schema(
        operation_id=f"inbox_item_{name}",
        description=f"{_described(name)}: this item. To repeat it changes nothing.",
        request=SnoozeItemInput if NAMES[name] is Kind.SNOOZE else None,
        responses={200: ItemChangedOutput, **PROBLEMS},
    )
    return extend_schema_view(post=schema)(type("ItemChangeView", (ItemChangeView,), {"kind": NAMES[name]}))


def _described(name: str) -> str:
    kind = NAMES[name]
    return _WHAT[kind] if kind == name else f"Another name of `{kind}`. {_WHAT[kind]}"


def _caller(request: Request) -> int:
    assert isinstance(request.user, User)
    return request.user.pk


def _asked_for(user_id: int, asked: InboxFilters) -> QuerySet[InboxItem]:
    rows = InboxItem.objects.filter(_place(asked), user_id=user_id)
    if asked.unread is not None:
        rows = rows.filter(read_at__isnull=asked.unread)
    if asked.type is not None:
        rows = rows.filter(type=asked.type)
    if asked.since:
        rows = rows.filter(Q(sequence__gt=asked.since) | Q(change__gt=asked.since))
    return rows


def _place(asked: InboxFilters) -> Q:
    """The inbox, the archive, or what is snoozed: in each it is by an index of its own."""
    if asked.archived:
        return Q(archived_at__isnull=False, recalled_at__isnull=True)
    return Q(snoozed_until__isnull=False) if asked.snoozed else IN_INBOX


def _found(user_id: int, id: UUID) -> dict[str, Any]:
    """Raises Http404 for what is not there, was recalled, or is another person's."""
    rows = InboxItem.objects.filter(pk=id, user_id=user_id, recalled_at__isnull=True)
    row = rows.values(*_COLUMNS.values()).first()
    if row is None:
        raise Http404
    return _item(row)


def _item(row: dict[str, Any]) -> dict[str, Any]:
    """`InboxItemOutput`."""
    found = {name: row[column] for name, column in _COLUMNS.items()}
    return found | {"actions": found["actions"] or [], "action": found["action"] or None}


def _done(done: Done) -> dict[str, Any]:
    """`ChangedOutput`."""
    return {"changed": done.changed, "counts": done.counts.as_json()}


def _wanted(kind: Kind, request: Request) -> Change:
    body = body_of(AnyObject, request).root
    try:
        return change_of(kind, body)
    except ValidationError as error:
        raise invalid(field_errors(error)) from None


def _until(kind: Kind, request: Request) -> datetime | None:
    if kind is Kind.SNOOZE:
        return body_of(SnoozeItemInput, request, context={"now": clock.now()}).until
    body_of(NoFilters, request)
    return None


def _unknown(wanted: Change, error: UnknownItems) -> list[dict[str, str]]:
    unknown = set(error.ids)
    return [
        field_error(f"ids[{number}]", "not_found", "No item of yours has this id.")
        for number, id in enumerate(wanted.ids or ())
        if id in unknown
    ]
