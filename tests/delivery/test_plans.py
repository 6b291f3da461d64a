"""Plans: every statement of the engine goes by its index, however big the table, whenever it was prepared."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any
from uuid import UUID

import pytest
from django.db import connection, transaction
from django.test import override_settings

from apps.content.models import NotificationTemplate
from apps.delivery import claims, helping, receipts, sweeper
from apps.delivery.claims import Claim
from apps.delivery.settling import Ended, settle
from apps.integrations.contract import Accepted, ReceiptEvent, ReceiptKind
from apps.notifications import (
    attempts,
    cancelling,
    holds,
    idempotency,
    inbox,
    inbox_changes,
    inbox_numbers,
    transitions,
)
from apps.notifications.inbox_changes import Kind
from apps.notifications.models import Notification
from apps.notifications.statuses import Status
from apps.notifications.transitions import Due
from apps.preferences import choices, suppression
from apps.preferences.choices import Wanted
from apps.preferences.models import UserPreference
from apps.preferences.suppression import Cause, Fact
from project import db, ids
from tests.api_helpers import make_service
from tests.support import inboxes, rows, templates
from tests.support.database import Prepared
from tests.support.rows import LANE

pytestmark = pytest.mark.django_db
_names = count()
_FILL = """
INSERT INTO notifications_notificationtarget (id, notification_id, organization_id, user_id, channel, address,
    lane, status, reason, expires_at, attempts, attempts_allowed, settled_at)
SELECT overlay(overlay(gen_random_uuid()::text placing '00' from 35) placing '7' from 15)::uuid, %s, 1, 1,
    'email', 'a@example.com', 'email.normal', 'sent', '', now() + interval '1 hour', 1, 6, now()
FROM generate_series(1, 20000)
"""
_FILL_ATTEMPTS = """
INSERT INTO notifications_deliveryattempt
SELECT overlay(id::text placing '01' from 35)::uuid, id, 1, 'p', 'w', now(), now(), 'accepted', '', ''
FROM notifications_notificationtarget ON CONFLICT DO NOTHING
"""
_FILL_CLAIMS = """
INSERT INTO delivery_claim (lane, provider, worker, target_ids, lease_until)
SELECT 'email.normal', 'p', 'w', '{}', now() + interval '1 minute' FROM generate_series(1, 2000)
"""
_FILL_KEYS = """
INSERT INTO notifications_idempotencykey (client_id, key, fingerprint, status_code, body)
SELECT %s, n::text, '', 202, '' FROM generate_series(1, 5000) n
"""
_FILL_SUMMARIES = """
INSERT INTO notifications_notificationsummary
    (notification_id, planned, held, skipped, sent, delivered, failed, dead, cancelled, expired)
SELECT gen_random_uuid(), 0, 0, 0, 0, 0, 0, 0, 0, 0 FROM generate_series(1, 3000)
"""
_FILL_SUPPRESSIONS = """
INSERT INTO preferences_suppression (organization_id, channel, address, cause)
SELECT nullif(n & 1, 0), 'email', 'gone' || n || '@example.com', 'bounced' FROM generate_series(1, 5000) n
"""
_FILL_TEMPORARY = """
INSERT INTO preferences_suppression (organization_id, channel, address, cause, until)
SELECT 1, 'email', 'away' || n || '@example.com', 'manual', now() + interval '1 day'
FROM generate_series(1, 3000) n
"""
_FILL_CHOICES = """
INSERT INTO preferences_choice (user_id, type, channel, how, reason, source)
SELECT id, type, channel, 'off', '', 'link'
FROM users_user CROSS JOIN unnest('{"",news,other}'::text[]) AS t(type)
CROSS JOIN unnest('{"",email}'::text[]) AS c(channel) ON CONFLICT DO NOTHING
"""
_FILL_LETTERS = """
INSERT INTO notifications_deadletter (target_id, organization_id, reason, resolution, resolved_at)
SELECT gen_random_uuid(), 1, 'x', '', now() FROM generate_series(1, 3000)
"""
_FILL_RECEIPTS = """
INSERT INTO delivery_receipt (provider, event_id, kind, target_id, attempt_id, provider_message_id, address,
                              code, address_is_dead, raw, due_at, applied)
SELECT 'p', id::text, 'delivered', id, overlay(id::text placing '01' from 35)::uuid, '', '', '', false, '',
       NULL, 'delivered'
FROM notifications_notificationtarget
"""
_FILL_PEOPLE = """
INSERT INTO users_user (organization_id, name, email, phone, timezone, language, password, is_active,
                        is_staff, is_superuser)
SELECT 1, '', '', '+49301' || n, 'UTC', 'en', '!', true, false, false FROM generate_series(1, 5000) n
"""
_FILL_ITEMS = """
INSERT INTO notifications_inboxitem (target_id, user_id, sequence, change, notification_id, title, body,
                                     read_at, archived_at, snoozed_until, recalled_at)
SELECT id, 2 + mod(n, 200), n, CASE WHEN mod(n, 2) = 0 THEN 20000 + n ELSE 0 END, notification_id, '', '',
       CASE WHEN mod(n, 3) = 0 THEN now() END, CASE WHEN mod(n, 5) = 0 THEN now() END,
       CASE WHEN mod(n, 5) = 1 THEN now() + interval '1 day' END, CASE WHEN mod(n, 5) = 2 THEN now() END
FROM (SELECT id, notification_id, row_number() OVER () AS n FROM notifications_notificationtarget) t
ON CONFLICT DO NOTHING
"""
_FILL_STATES = """
INSERT INTO notifications_inboxstate (user_id, head, unread, unseen)
SELECT n, 50000, 0, 0 FROM generate_series(2, 3000) n ON CONFLICT (user_id) DO UPDATE SET head = 50000
"""
_FILL_MARKS = """
INSERT INTO notifications_dedupemark (user_id, type, key, notification_id, until)
SELECT n, '', 'key', gen_random_uuid(), now() FROM generate_series(1, 3000) n
"""
_FILL_TEMPLATES = """
INSERT INTO content_template (organization_id, slug, type, default_language)
SELECT 1, 'template-' || n, '', 'en' FROM generate_series(1, 3000) n
"""
_FILL_TYPES = """
INSERT INTO content_notificationtype (organization_id, slug, name, description, category, channels, critical,
                                      dedupe_window, overflow, fallback)
SELECT 1, 'type-' || n, '', '', 'immediate', '{}', false, 60, 'skip', '{}' FROM generate_series(1, 3000) n
"""
_FILLS = (
    *(_FILL_TEMPLATES, _FILL_TYPES),
    *(_FILL_PEOPLE, _FILL_CHOICES, _FILL_ITEMS, _FILL_STATES, _FILL_MARKS),
    *(_FILL_ATTEMPTS, _FILL_CLAIMS, _FILL_SUMMARIES, _FILL_SUPPRESSIONS, _FILL_TEMPORARY, _FILL_LETTERS),
    _FILL_RECEIPTS,
)


def fill(note: Notification) -> None:
    """Twenty thousand settled targets and what belongs to them."""
    db.execute("SET CONSTRAINTS ALL IMMEDIATE")
    client = make_service()
    db.execute(_FILL, [note.pk])
    db.execute(_FILL_KEYS, [client.pk])
    for statement in _FILLS:
        db.execute(statement)
    db.execute("SET CONSTRAINTS ALL IMMEDIATE")


def a_claim() -> Claim:
    rows.targets(rows.notification(kept=True), Status.QUEUED, 3)
    claim = claims.take(LANE, "p", 10)
    assert claim is not None
    return claim


def settling() -> None:
    claim = a_claim()
    settle(claim, [Ended(target, Accepted("x"), claim.taken_at) for target in claim.targets])


def judging() -> None:
    claim = a_claim()
    transitions.settle(
        claim.id, [transitions.Settled(t.id, Status.UNKNOWN, "x", None, 1) for t in claim.targets]
    )
    claims.close(claim.id, [target.id for target in claim.targets])
    db.execute("UPDATE delivery_claim SET grace_until = now() - interval '1s' WHERE id = %s", [claim.id])
    sweeper.judge_unknown(10)


def rescuing() -> None:
    claim = a_claim()
    claims.start(claim, [target.id for target in claim.targets])
    db.execute("UPDATE delivery_claim SET lease_until = now() - interval '1s' WHERE id = %s", [claim.id])
    sweeper.rescue_leases(10)


def starting() -> None:
    claim = a_claim()
    claims.start(claim, [target.id for target in claim.targets])


def dropping() -> None:
    note = rows.notification(kept=True)
    rows.targets(note, Status.QUEUED, address="gone1@example.com")
    suppression.suppress([Fact(None, "email", "gone1@example.com", Cause.BOUNCED)])
    claims.take(LANE, "p", 10)


def dropping_unwanted() -> None:
    (person,) = rows.people()
    rows.targets(rows.notification(kept=True, type="news"), Status.QUEUED, user_id=person.pk)
    choices.write(person.pk, [Wanted("news", "email", "off")], source="link")
    claims.take(LANE, "p", 10)


def cancelling_all() -> None:
    note = rows.notification(kept=True)
    for status in (Status.QUEUED, Status.SENDING, Status.SENT):
        rows.targets(note, status)
    rows.targets(note, Status.SKIPPED, reason="merged", merged_into=ids.target_id())
    (there,) = rows.targets(note, Status.DELIVERED, channel="in_app")
    inbox.add([inbox.Entry(there, 1, note.pk, "", "Title", "Body")])
    cancelling.cancel(note.pk)


def cancelling_some() -> None:
    note = rows.notification(kept=True)
    cancelling.cancel_targets(note.pk, rows.targets(note, Status.QUEUED, 3))


def applying() -> None:
    """Of every kind that costs a statement: of unknown, dead and sent targets."""
    note, told = rows.notification(kept=True), []
    for status, kind in (
        (Status.UNKNOWN, ReceiptKind.ACCEPTED),
        (Status.DEAD, ReceiptKind.OPENED),
        (Status.SENT, ReceiptKind.BOUNCED),
    ):
        (target,) = rows.targets(note, status)
        attempt = ids.attempt_id(target, 1)
        told.append(ReceiptEvent(event_id=str(attempt), kind=kind, attempt=attempt, address_is_dead=True))
    receipts.store("p", told)
    assert receipts.apply(500) == 3


def helping_out() -> None:
    (person,) = rows.people(phone=f"+4930999{next(_names)}")
    with override_settings(SMS_HELP_TEXT="Carillon"):
        effects, _ = helping.answer([helping.Asked(1, person.phone)])
    assert effects == {1: "answered"}


def waiting_for_a_digest() -> int:
    """Two targets of somebody who has caps; their id."""
    if not NotificationTemplate.objects.filter(slug="digest_email").exists():
        templates.template("digest_email", {"email": {"subject": "{{ count }}", "body": "x"}})
        templates.type_of("news")
    (person,) = rows.people()
    UserPreference.objects.create(user=person, cap_per_hour=9)
    note = rows.notification(kept=True, type="news")
    rows.targets(note, Status.HELD, 2, user_id=person.pk, reason="digest")
    rows.targets(note, Status.HELD, user_id=person.pk, reason="quiet_hours")
    return person.pk


def releasing() -> None:
    waiting_for_a_digest()
    holds.release_due(1000)


def deciding_anew() -> None:
    holds.decide_anew([waiting_for_a_digest()], why="preferences")


def in_inbox() -> list[UUID]:
    """Items of two people."""
    return inboxes.deliver(1, 2, actions=inboxes.ACTIONS) + inboxes.deliver(2)


def recalling() -> None:
    assert len(inbox.recall(in_inbox())[0]) == 3


def returning() -> None:
    db.execute("UPDATE notifications_inboxitem SET snoozed_until = now() WHERE target_id = ANY(%b::uuid[])",
               [in_inbox()])  # fmt: skip
    assert inbox.return_snoozed(10) == 3


def changing(kind: Kind) -> Callable[[], object]:
    """Some items, and all up to a number."""

    def act() -> None:
        inboxes.do(kind, *in_inbox()[:2], user=1)
        inboxes.do(kind, up_to=1, user=1)

    return act


def pressing() -> None:
    inbox_changes.act(1, in_inbox()[0], "yes")


def recounting() -> None:
    in_inbox()
    inbox_changes.recount([1, 2])


def forgetting() -> None:
    receipts.forget_old(1000)


WALKED = {"notifications_audiencechunk_pkey", "chunk_of_notification"}  # only to see whether there is a row

# Two indexes on a dead letter's target, of all and of the open ones: for one target they are as good.
TWINS = {"dead_letter_of_target": "dead_letter_one_open"}
EMPTY_TWINS = TWINS | {"notification_newest": "notification_related"}  # nothing in either

# What is done -> the indexes its statements go by, each named index by at least one of them.
TARGET, CLAIM_ROW = "notifications_notificationtarget_pkey", "delivery_claim_pkey"
SUMMARY = "notifications_notificationsummary_pkey"
INBOX_ITEM, INBOX_STATE = "notifications_inboxitem_pkey", "notifications_inboxstate_pkey"
# Of which items "all up to a number" are.
ALL_OF = {Kind.UNARCHIVE: "inbox_item_archived", Kind.UNSNOOZE: "inbox_item_snoozed_of"}
SUPPRESSED, SWITCHED, NOTE = "suppression_once", "choice_once", "notifications_notification_pkey"
REGROUPED = {
    *("users_user_pkey", "target_held_of_user", NOTE, TARGET, SUMMARY, SWITCHED, "preference_defaults_once"),
    *("preferences_userpreference_pkey", "template_slug", "type_slug", "notifications_capuse_pkey"),
}
ACTS: dict[str, tuple[Callable[[], object], set[str]]] = {
    "claim": (lambda: transitions.claim(Due(LANE, 500), 1), {"target_due", SWITCHED, NOTE}),
    "in-app claim": (lambda: transitions.lock_due(Due(LANE, 500)), {"target_due", SWITCHED, NOTE}),
    "suppressed among": (lambda: suppression.among({("email", "a@example.com")}), {SUPPRESSED}),
    "forget suppressions": (lambda: suppression.forget_over(1000), {"suppression_over"}),
    "drop": (dropping, {"target_due", TARGET, SUMMARY, SUPPRESSED}),
    "drop what is switched off": (dropping_unwanted, {"target_due", TARGET, SUMMARY, SWITCHED, NOTE}),
    "start": (starting, {CLAIM_ROW, SUPPRESSED, SWITCHED, NOTE}),
    "settle": (settling, {TARGET, SUMMARY}),
    "cancel": (lambda: transitions.cancel(rows.targets(rows.notification(kept=True))), {TARGET, SUMMARY}),
    "cancel a notification": (
        cancelling_all,
        {"chunk_of_notification", "target_of_notification", TARGET, SUMMARY, "target_merged", INBOX_ITEM}
        | {"dedupe_mark_of_notification"},
    ),
    "cancel some of it": (cancelling_some, {TARGET, SUMMARY, "target_merged"}),
    "deliver into inboxes": (in_inbox, set()),
    "recall": (recalling, {INBOX_ITEM, INBOX_STATE, TARGET}),
    "return what was snoozed": (returning, {"inbox_item_snoozed", INBOX_ITEM, INBOX_STATE}),
    "press a button": (pressing, {INBOX_ITEM, INBOX_STATE}),
    "count an inbox anew": (recounting, {"inbox_item_in", INBOX_STATE}),
    "counts of an inbox": (lambda: inbox_numbers.counts_of(1), {INBOX_STATE}),
    **{
        f"{kind} items": (changing(kind), {ALL_OF.get(kind, "inbox_item_in"), INBOX_ITEM, INBOX_STATE})
        for kind in Kind
    },
    "bury": (judging, {"claim_grace", CLAIM_ROW, TARGET}),
    "rescue": (rescuing, {"claim_lease", CLAIM_ROW, TARGET}),
    "redrive": (
        lambda: transitions.redrive(rows.targets(rows.notification(), Status.DEAD), more_attempts=1, by=None),
        {"dead_letter_one_open", TARGET},
    ),
    "late acceptance": (
        lambda: transitions.prove(accepted=rows.targets(rows.notification(), Status.DEAD)),
        {"dead_letter_one_open", TARGET},
    ),
    "due lanes": (sweeper.due_lanes, {"target_due", "receipt_due"}),
    "receipts": (applying, {"receipt_due", "receipt_of_target", "delivery_receipt_pkey", TARGET, SUMMARY}),
    "help": (
        helping_out,
        {"user_search_phone", "users_user_pkey", "notification_related", SUPPRESSED},
    ),
    "forget receipts": (forgetting, {"receipt_age"}),
    "expire": (lambda: sweeper.expire_overdue(1000), {"target_expiring"}),
    "release": (releasing, {"target_held", *REGROUPED}),
    "decide anew": (deciding_anew, REGROUPED),
    "forget keys": (lambda: idempotency.forget_old(1000), {"idempotency_key_age"}),
    "attempts": (
        lambda: attempts.attempts_page(Notification.objects.latest("id"), {}),
        {"target_of_notification", "notifications_deliveryattempt_default_pkey"},
    ),
}


@pytest.fixture(scope="module")
def stage(django_db_setup: None, django_db_blocker: Any) -> Iterator[dict[str, list[Prepared]]]:
    """Every act's statements, prepared twice: while the tables were empty, and when they are full."""
    with django_db_blocker.unblock():
        with transaction.atomic():
            note = rows.notification(kept=True)
            early = {name: prepared(act) for name, (act, _) in ACTS.items()}
            fill(note)
            early_plans = {name: [one.nodes() for one in early[name]] for name in ACTS}
            db.execute("ANALYZE")
            late_plans = {name: [one.nodes() for one in prepared(act)] for name, (act, _) in ACTS.items()}
            yield {"empty": early_plans, "full": late_plans}
            transaction.set_rollback(True)
        connection.close()


def prepared(act: Callable[[], object]) -> list[Prepared]:
    """Do it once, then prepare the statements it consisted of as it has them, and run each by its plan."""
    found: list[tuple[str, Any]] = []
    monkeypatch = pytest.MonkeyPatch()
    real = db._cursor

    class Spy:
        def __init__(self, django: Any) -> None:
            self._cursor = real(django)

        def __enter__(self) -> Any:
            inner = self._cursor.__enter__()
            execute = inner.execute

            def spied(sql: str, parameters: Any = ()) -> Any:
                found.append((sql, parameters))
                return execute(sql, parameters)

            return _Facade(inner, spied)

        def __exit__(self, *error: Any) -> Any:
            return self._cursor.__exit__(*error)

    with monkeypatch.context() as patched:
        patched.setattr(db, "_cursor", Spy)
        patched.setattr(db, "one_transaction", transaction.atomic)
        patched.setattr(attempts.DeliveryAttempt.objects, "raw", lambda *query: db.rows(*query)[:0])
        act()
    statements = [(sql, values) for sql, values in found if _explainable(sql)]
    assert statements
    return [Prepared(f"plan_{next(_names)}", sql, values) for sql, values in statements]


class _Facade:
    def __init__(self, cursor: Any, execute: Callable[..., Any]) -> None:
        self._cursor, self.execute = cursor, execute

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)


def _explainable(sql: str) -> bool:
    return "nextval" not in sql and not sql.startswith("SET ") and "now() - interval '1s'" not in sql


@pytest.mark.parametrize("when", ["empty", "full"])
@pytest.mark.parametrize("name", ACTS)
def test_every_statement_goes_by_its_index(name: str, when: str, stage: dict[str, Any]) -> None:
    plans = stage[when][name]
    nodes = [node for plan in plans for node in plan]
    assert [node["Relation Name"] for node in nodes if node["Node Type"] == "Seq Scan"] == []
    twins = EMPTY_TWINS if when == "empty" else TWINS
    used = {twins.get(node["Index Name"], node["Index Name"]) for node in nodes if "Index Name" in node}
    assert used >= ACTS[name][1]
    conditions = [node for node in nodes if "Index Name" in node and "Index Cond" not in node]
    assert {node["Index Name"] for node in conditions} <= WALKED  # no other index is read from end to end


@pytest.mark.parametrize("when", ["empty", "full"])
@pytest.mark.parametrize("name", ["claim", "in-app claim", "due lanes", "expire", "release"])
def test_what_the_index_orders_is_not_sorted_again(name: str, when: str, stage: dict[str, Any]) -> None:
    """Below the lock or the limit that takes the batch there is only the index."""
    for plan in stage[when][name]:
        for node in plan:
            if "Sort" in node["Node Type"]:
                assert not [
                    child for child in node.get("Plans", ()) if child.get("Index Name") == "target_due"
                ]
        ordered = [node for node in plan if node["Node Type"] in {"LockRows", "Limit"}]
        children = [
            child["Node Type"]
            for node in ordered
            for child in node.get("Plans", ())
            if child["Parent Relationship"] != "InitPlan"  # how many of them
        ]
        if name != "due lanes" and "claim" in name:
            assert set(children) <= {"Index Scan", "Index Only Scan", "LockRows"}


@pytest.mark.parametrize("when", ["empty", "full"])
@pytest.mark.parametrize("name", [*(f"{kind} items" for kind in Kind), "press a button", "recall"])
def test_of_an_inbox_only_what_is_changed_is_read(name: str, when: str, stage: dict[str, Any]) -> None:
    """By its id, or by its number in the part of the inbox that "all" are of."""
    nodes = [node for plan in stage[when][name] for node in plan if "Index Name" in node]
    assert {node["Index Name"] for node in nodes} == ACTS[name][1]
    for node in nodes:
        if node["Index Name"].startswith("inbox_item"):
            assert "user_id = " in node["Index Cond"] and "sequence <= " in node["Index Cond"]


@pytest.mark.parametrize("when", ["empty", "full"])
def test_a_claim_reads_the_lane_past_its_marks(when: str, stage: dict[str, Any]) -> None:
    (plan,) = stage[when]["claim"]
    scans = [node for node in plan if node.get("Index Name") == "target_due"]
    assert [scan["Scan Direction"] for scan in scans] == ["Forward", "Backward", "Backward"]
    for scan, sign in zip(scans, (">", ">", "<"), strict=True):
        assert "lane" in scan["Index Cond"] and "<=" in scan["Index Cond"]
        assert f"(ROW(next_attempt_at, id) {sign} ROW(" in scan["Index Cond"]


@pytest.mark.parametrize("when", ["empty", "full"])
@pytest.mark.parametrize("name", ["claim", "in-app claim", "start"])
def test_rows_that_were_just_found_are_not_looked_for_again(
    name: str, when: str, stage: dict[str, Any]
) -> None:
    plan = stage[when][name][-1]
    assert [node["Node Type"] for node in plan if "TID Cond" in node] == ["Tid Scan"]


@pytest.mark.parametrize("when", ["empty", "full"])
def test_what_is_due_is_looked_for_lane_by_lane(when: str, stage: dict[str, Any]) -> None:
    (plan,) = stage[when]["due lanes"]
    (scan,) = [node for node in plan if node.get("Index Name") == "target_due"]
    assert "lane" in scan["Index Cond"]


def test_the_clock_is_inlined_into_the_conditions(stage: dict[str, Any]) -> None:
    (plan,) = stage["full"]["claim"]
    conditions = " ".join(node.get("Index Cond", "") for node in plan)
    assert "carillon_now" not in conditions and "clock_offset" in conditions
