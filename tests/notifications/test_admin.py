"""The admin's pages of notifications and dead letters, and what a re-drive does."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.contrib.auth.models import Permission
from django.test import Client

from apps.notifications import inbox
from apps.notifications.admin import searching, words
from apps.notifications.dead_letters import MOST_AT_ONCE, redrive
from apps.notifications.models import DeadLetter, DeliveryAttempt, Notification, NotificationTarget
from apps.notifications.statuses import Reason, Status
from apps.users.models import Organization, User
from project import clock, ids, queues
from tests.support import inboxes, rows
from tests.support.database import capture, other_connection

pytestmark = pytest.mark.django_db
NOTIFICATIONS = "/admin/notifications/notification/"
DEAD_LETTERS = "/admin/notifications/deadletter/"
REDRIVE = f"{DEAD_LETTERS}redrive/"
EVIL = '"><script>alert(1)</script>'


@pytest.fixture
def root() -> User:
    rows.people(1)  # the default organization, should another test have emptied the database
    return User.objects.create_superuser("root")


@pytest.fixture
def browser(root: User) -> Client:
    client = Client()
    client.force_login(root)
    return client


@pytest.fixture
def rung(monkeypatch: pytest.MonkeyPatch) -> list[set[str]]:
    """The bells, as they are rung."""
    bells: list[set[str]] = []
    monkeypatch.setattr(queues, "ring", lambda *lanes: bells.append(set(lanes)))
    return bells


def member(*permissions: str) -> Client:
    """Somebody on the staff with these permissions."""
    person = User.objects.create(login=f"staff-{uuid4()}", is_staff=True)
    person.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(person)
    return client


def page_of(notification: Notification) -> str:
    return f"{NOTIFICATIONS}{notification.pk}/change/"


def attempt(target: UUID, number: int = 1, **fields: Any) -> None:
    start = clock.now()
    values = {
        "provider": "sendgrid",
        "worker": "w",
        "started_at": start,
        "finished_at": start + timedelta(milliseconds=123),
        "outcome": "accepted",
    }
    id = ids.attempt_id(target, number)
    DeliveryAttempt.objects.create(id=id, target_id=target, number=number, **(values | fields))


def text_of(response: Any) -> str:
    """What a person reads."""
    assert response.status_code == 200, response
    content = re.sub(r"<style>.*?</style>", "", response.content.decode(), flags=re.S)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", content))


def listed(response: Any) -> list[UUID]:
    return [row.pk for row in response.context["cl"].result_list]


# --- The list --------------------------------------------------------------------------------------------


def test_the_list_says_where_each_stands(browser: Client) -> None:
    small = rows.notification(title="Small")
    rows.targets(small, Status.DELIVERED, 2)
    rows.targets(small, Status.RETRYING)
    big = rows.notification(template="news", title="", recipient_count=2_000, kept=True)
    rows.targets(big, Status.SENT, 3)
    response = browser.get(NOTIFICATIONS)
    assert listed(response) == [big.pk, small.pk]
    text = text_of(response)
    assert "Small 1 in progress 2 delivered" in text
    assert "news 3 sent 2,000" in text


def test_the_list_costs_the_same_for_any_number_and_counts_nothing(browser: Client) -> None:
    def fill(number: int) -> None:
        for _ in range(number):
            rows.targets(rows.notification(), Status.SENT)
            rows.targets(rows.notification(recipient_count=500, kept=True), Status.SENT)

    fill(1)
    browser.get(NOTIFICATIONS)
    with capture() as few:
        browser.get(NOTIFICATIONS)
    fill(30)
    with capture() as many:
        browser.get(NOTIFICATIONS)
    # session, user, whether there is a next page, the page, kept summaries, derived ones
    assert len(few) == len(many) == 6
    assert not any("COUNT(" in statement for statement in many)


@pytest.mark.parametrize(
    "query", ["priority=high", "channel=sms", "accepted=hour", "priority=x", "accepted=x"]
)
def test_filters(browser: Client, query: str) -> None:
    fitting = rows.notification(priority="high", channels=["sms", "email"])
    other = rows.notification(priority="low")
    Notification.objects.filter(pk=other.pk).update(id=UUID(int=7 << 76))  # long ago
    shown = listed(browser.get(f"{NOTIFICATIONS}?{query}"))
    assert shown[0] == fitting.pk
    assert len(shown) == (2 if query.endswith("=x") else 1)


def test_filters_look_at_the_newest_rows_only(browser: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searching, "NEWEST", 2)
    made = [rows.notification(priority="high") for _ in range(3)]
    newest = sorted((one.pk for one in made), reverse=True)[:2]
    assert listed(browser.get(f"{NOTIFICATIONS}?priority=high")) == newest


def test_search_by_id(browser: Client) -> None:
    wanted = rows.notification()
    rows.notification()
    (target,) = rows.targets(wanted)
    for text in (wanted.pk, target, ids.attempt_id(target, 3), f" {wanted.pk.hex.upper()} "):
        assert listed(browser.get(NOTIFICATIONS, {"q": str(text)})) == [wanted.pk]
    assert listed(browser.get(NOTIFICATIONS, {"q": str(uuid4())})) == []


def test_search_by_related_id_in_any_type_and_organization(browser: Client) -> None:
    other = Organization.objects.create(name="Other")
    found = [
        rows.notification(related_type="order", related_id="4711"),
        rows.notification(related_type="invoice", related_id="4711"),
        rows.notification(related_type="order", related_id="4711", organization_id=other.pk),
    ]
    rows.notification(related_type="order", related_id="4712")
    rows.notification()
    assert listed(browser.get(NOTIFICATIONS, {"q": "4711"})) == sorted((n.pk for n in found), reverse=True)


def test_search_by_a_recipients_external_id(browser: Client) -> None:
    (ada,) = rows.people(1, external_id="ada")
    sent, read = rows.notification(), rows.notification()
    rows.targets(sent, user_id=ada.pk)
    rows.targets(rows.notification(), user_id=ada.pk + 1)
    inbox.add([inbox.Entry(ids.target_id(), ada.pk, read.pk, "", "t", "b")])
    assert set(listed(browser.get(NOTIFICATIONS, {"q": "ada"}))) == {sent.pk, read.pk}
    assert listed(browser.get(NOTIFICATIONS, {"q": "nobody"})) == []


def test_a_search_for_a_recipient_is_bounded(browser: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searching, "NEWEST", 2)
    (ada,) = rows.people(1, external_id="ada")
    rows.targets(rows.notification(), user_id=ada.pk)
    rows.targets(rows.notification(), count=2, user_id=ada.pk + 1)
    assert listed(browser.get(NOTIFICATIONS, {"q": "ada"})) == []


@pytest.mark.parametrize("text", ["'; DROP TABLE x", "%", "\x00", "x" * 3_000, "🐎", EVIL, "(", "[]"])
def test_a_strange_search_finds_nothing(browser: Client, text: str) -> None:
    rows.notification()
    response = browser.get(NOTIFICATIONS, {"q": text})
    assert response.status_code == 200
    assert "<script>alert(1)" not in response.content.decode()


# --- The page of one -------------------------------------------------------------------------------------


def test_the_page_tells_the_whole_story(browser: Client) -> None:
    (ada,) = rows.people(1, name="Ada Lovelace", external_id="ada")
    one = rows.notification(
        title="Hello", metadata={"team": "logistics"}, related_type="order", related_id="7"
    )
    accepted = one.created_at = Notification.objects.get().created_at
    (done,) = rows.targets(
        one,
        Status.DELIVERED,
        user_id=ada.pk,
        sent_at=accepted + timedelta(milliseconds=400),
        delivered_at=accepted + timedelta(seconds=5.4),
    )
    attempt(
        done,
        started_at=accepted + timedelta(milliseconds=250),
        finished_at=accepted + timedelta(milliseconds=380),
        provider_message_id="pm-1",
    )
    (dead,) = rows.targets(one, Status.DEAD, attempts=2, user_id=ada.pk)
    attempt(dead, 1, outcome="temporary_failure", code="503")
    attempt(dead, 2, outcome="unknown", code="worker_lost", finished_at=None)
    text = text_of(browser.get(page_of(one)))
    for said in (
        "Hello", "logistics", "order 7", "Ada Lovelace ada p@example.com", "2 in all",
        "→ 250 ms first call", "→ 150 ms sent", "→ 5.0 s delivered", "1 of 6 sendgrid accepted",
        "130 ms pm-1",
        Reason.ATTEMPTS_USED_UP.label, "temporary_failure 503", "unknown worker_lost", "not seen",
        ", open",
    ):  # fmt: skip
        assert said.replace("→ ", "") in text.replace("→ ", "").replace("&#x27;", "'"), said


def test_the_page_costs_the_same_for_any_number_of_targets(browser: Client) -> None:
    def fill(number: int) -> None:
        for status in (Status.DEAD, Status.DELIVERED, Status.RETRYING):
            for target in rows.targets(one, status, number, user_id=rows.people()[0].pk):
                attempt(target)

    one = rows.notification()
    fill(1)
    browser.get(page_of(one))
    with capture() as few:
        browser.get(page_of(one))
    fill(30)
    with capture() as many:
        assert text_of(browser.get(page_of(one))).count("1 of 6 sendgrid") == 93
    # session, user, notification, targets, attempts, dead letters, receipts, decisions, people, summary
    assert len(few) == len(many) == 10


def test_what_was_done_in_inboxes_is_told_at_the_cost_of_one_statement(browser: Client) -> None:
    one = rows.notification()
    read, *_ = inboxes.deliver(inboxes.ADA, of=one)
    browser.get(page_of(one))
    with capture() as few:
        assert "Read in the inbox" not in text_of(browser.get(page_of(one)))
    inboxes.do("read", read)
    inboxes.deliver(inboxes.ADA, 30, of=one)
    with capture() as many:
        text = text_of(browser.get(page_of(one)))
    assert text.count("Read in the inbox") == 1 and text.count("Put into the inbox") == 31
    assert len(few) == len(many) == 11  # and the items


def test_targets_are_paged_and_filtered(browser: Client) -> None:
    one = rows.notification(recipient_count=250, kept=True)
    sent = rows.targets(one, Status.SENT, 245)
    failed = rows.targets(one, Status.FAILED, 5)

    def shown(query: str) -> list[UUID]:
        response = browser.get(page_of(one) + query)
        seen.update(response.context["detail"].page_info)
        return [entry.target.pk for entry in response.context["detail"].targets]

    seen: dict[str, Any] = {}
    everything = sorted(sent + failed)
    assert shown("") == everything[:100]
    assert shown(f"?after={seen['after']}") == everything[100:200]
    assert shown(f"?after={seen['after']}") == everything[200:] and seen["after"] is None
    assert shown(f"?before={seen['before']}") == everything[100:200]
    assert shown("?status=failed") == sorted(failed)
    assert shown("?status=nonsense") == everything[:100]
    assert shown("?after=nonsense") == everything[:100]
    assert "5 failed" in text_of(browser.get(page_of(one)))


def test_many_attempts_are_shortened(browser: Client) -> None:
    one = rows.notification()
    (target,) = rows.targets(one, Status.DEAD, attempts=40, attempts_allowed=40)
    for number in range(1, 41):
        attempt(target, number, outcome="temporary_failure")
    text = text_of(browser.get(page_of(one)))
    assert "1 of 40" in text and "40 of 40" in text and "20 of 40" not in text
    assert "19 more between the first and the latest" in text


@pytest.mark.parametrize("status", Status.values)
def test_every_status_has_a_page(browser: Client, status: str) -> None:
    one = rows.notification()
    rows.targets(one, Status(status))
    response = browser.get(page_of(one))
    assert status in text_of(response)
    assert (REDRIVE in response.content.decode()) == (status in ("failed", "dead"))


def test_nothing_that_others_wrote_runs(browser: Client) -> None:
    rows.people(1, external_id=EVIL, name=EVIL)
    one = rows.notification(
        title=EVIL, body=EVIL, template=EVIL, metadata={EVIL: EVIL}, payload={"k": EVIL}, related_type=EVIL,
        related_id=EVIL, content={"email": {"body": EVIL}},
    )  # fmt: skip
    user = User.objects.get(external_id=EVIL)
    (target,) = rows.targets(one, Status.DEAD, user_id=user.pk, address=EVIL, reason=EVIL, attempts=1)
    attempt(target, provider=EVIL, code=EVIL, provider_message_id=EVIL)
    DeadLetter.objects.update(reason=EVIL)
    for address in (NOTIFICATIONS, page_of(one), DEAD_LETTERS, f"{REDRIVE}?targets={target}", "/admin/"):
        page = browser.get(address).content.decode()
        assert "<script>alert(1)" not in page and 'value=""><' not in page, address
    assert "&lt;script&gt;alert(1)" in browser.get(page_of(one)).content.decode()


def test_nothing_can_be_edited(browser: Client) -> None:
    one = rows.notification()
    (target,) = rows.targets(one, Status.DEAD)
    letter = DeadLetter.objects.get()
    assert browser.post(page_of(one), {"title": "Other"}).status_code == 405
    for address in (f"{NOTIFICATIONS}add/", f"{NOTIFICATIONS}{one.pk}/delete/", f"{DEAD_LETTERS}add/"):
        assert browser.post(address, {"post": "yes"}).status_code == 403, address
    assert browser.post(f"{DEAD_LETTERS}{letter.pk}/delete/", {"post": "yes"}).status_code == 403
    chosen = {"action": "delete_selected", "_selected_action": str(one.pk), "post": "yes"}
    browser.post(NOTIFICATIONS, chosen)
    assert (Notification.objects.get().title, rows.statuses([target])) == ("Title", ["dead"])


def test_what_is_not_there(browser: Client) -> None:
    assert browser.get(f"{NOTIFICATIONS}{uuid4()}/change/").status_code == 404
    assert browser.get(f"{NOTIFICATIONS}nonsense/change/").status_code == 404
    assert browser.get(f"{DEAD_LETTERS}4711/change/").status_code == 404


# --- Who may ---------------------------------------------------------------------------------------------


def test_who_may_see_what() -> None:
    one = rows.notification()
    (target,) = rows.targets(one, Status.DEAD)
    pages = [NOTIFICATIONS, page_of(one), DEAD_LETTERS, f"{REDRIVE}?targets={target}"]

    def answers(client: Client) -> list[int]:
        return [client.get(page).status_code for page in pages]

    person = Client()
    assert answers(person) == [302, 302, 302, 302]
    person.force_login(rows.people(1)[0])  # not of the staff
    assert answers(person) == [302, 302, 302, 302]
    assert answers(member()) == [403, 403, 403, 403]
    assert answers(member("view_notification", "view_deadletter")) == [200, 200, 200, 403]
    assert answers(member("redrive_deadletter")) == [403, 403, 403, 200]


def test_only_who_may_is_offered_a_redrive() -> None:
    one = rows.notification()
    (target,) = rows.targets(one, Status.DEAD)
    reader = member("view_notification", "view_deadletter")
    assert REDRIVE not in reader.get(page_of(one)).content.decode()
    assert "ask_to_redrive" not in reader.get(DEAD_LETTERS).content.decode()
    assert reader.post(REDRIVE, {"targets": str(target), "more_attempts": 1}).status_code == 403
    chosen = {"action": "ask_to_redrive", "_selected_action": DeadLetter.objects.get().pk}
    reader.post(DEAD_LETTERS, chosen)
    assert rows.statuses([target]) == ["dead"]


def test_login_by_the_login_field() -> None:
    User.objects.create_superuser("ops", "a long password")
    client = Client()
    assert "Carillon" in text_of(client.get("/admin/login/")) and "Login:" in text_of(
        client.get("/admin/login/")
    )
    sent = {"username": "ops", "password": "a long password", "next": "/admin/"}
    assert client.post("/admin/login/", sent).headers["Location"] == "/admin/"
    assert "Notification templates" in text_of(client.get("/admin/"))


def test_the_overview_says_how_many_wait(browser: Client) -> None:
    assert "open dead letter" not in text_of(browser.get("/admin/"))
    one = rows.notification()
    rows.targets(one, Status.DEAD)
    assert "1 open dead letter :" in text_of(browser.get("/admin/"))
    rows.targets(one, Status.DEAD, 99)
    assert "100 open dead letters" in text_of(browser.get("/admin/"))
    rows.targets(one, Status.DEAD, 5)
    with capture() as statements:
        assert "100+ open dead letters" in text_of(browser.get("/admin/"))
    assert not any("COUNT(" in statement for statement in statements)
    assert "open dead letters" not in text_of(member("view_notification").get("/admin/"))


# --- Dead letters ----------------------------------------------------------------------------------------


def test_open_dead_letters_newest_first_with_masked_addresses(browser: Client, root: User) -> None:
    one = rows.notification()
    first, second = rows.targets(one, Status.DEAD, 2, address="grace.hopper@example.com")
    redrive(rows.targets(one, Status.DEAD), by=root, more_attempts=1)
    response = browser.get(DEAD_LETTERS)
    assert [letter.target_id for letter in response.context["cl"].result_list] == [second, first]
    text = text_of(response)
    assert "g•••@example.com" in text and "grace.hopper" not in response.content.decode()
    assert Reason.ATTEMPTS_USED_UP.label in text and "1 of 6" in text
    assert "re-driven by root" in text_of(browser.get(f"{DEAD_LETTERS}?state=resolved"))
    assert len(listed(browser.get(f"{DEAD_LETTERS}?state=all"))) == 3


def test_the_dead_letters_cost_the_same_for_any_number(browser: Client) -> None:
    one = rows.notification()
    rows.targets(one, Status.DEAD)
    browser.get(DEAD_LETTERS)
    with capture() as few:
        browser.get(DEAD_LETTERS)
    rows.targets(one, Status.DEAD, 60)
    with capture() as many:
        browser.get(DEAD_LETTERS)
    assert len(few) == len(many) == 4  # session, user, whether there is a next page, the page
    assert not any("COUNT(" in statement for statement in many)


def test_a_dead_letter_leads_to_its_notification(browser: Client) -> None:
    one = rows.notification()
    rows.targets(one, Status.DEAD)
    response = browser.get(f"{DEAD_LETTERS}{DeadLetter.objects.get().pk}/change/")
    assert response.headers["Location"] == page_of(one)


# --- Re-driving ------------------------------------------------------------------------------------------


def test_dead_and_failed_are_queued_again(root: User, rung: list[set[str]]) -> None:
    one = rows.notification(kept=True, recipient_count=200)
    (dead,) = rows.targets(one, Status.DEAD, attempts=6, lane="sms.high")
    (failed,) = rows.targets(one, Status.FAILED, attempts=2, reason="550")
    done = redrive([failed, dead, dead], by=root, more_attempts=3)
    assert (sorted(done.ids), done.left, str(done)) == (sorted([dead, failed]), {}, "2 re-driven.")
    for id, attempts, allowed in ((dead, 6, 9), (failed, 2, 6)):
        row = rows.row(id)
        assert (row["status"], row["attempts"], row["attempts_allowed"]) == ("queued", attempts, allowed)
        assert (row["reason"], row["settled_at"]) == ("", None) and row["next_attempt_at"]
        letter = DeadLetter.objects.get(target=id)
        assert (letter.resolution, letter.resolved_by_id) == ("re-driven", root.pk) and letter.resolved_at
    assert DeadLetter.objects.get(target=failed).reason == "550"
    assert rung == [{"sms.high", rows.LANE}]
    rows.assert_books_balance()
    rows.assert_shapes_hold()


def test_mixed_states_are_reported_truly(root: User, rung: list[set[str]]) -> None:
    one = rows.notification()
    asked = [id for status in Status for id in rows.targets(one, status)]
    worn = rows.targets(one, Status.DEAD, attempts=255, attempts_allowed=255)
    before = rows.statuses(asked)
    done = redrive([*asked, *worn, uuid4()], by=root, more_attempts=1)
    assert len(done.ids) == 2
    others = {status.value: 1 for status in Status if status not in (Status.FAILED, Status.DEAD)}
    assert done.left == others | {"dead": 1, "missing": 1}
    assert "2 re-driven; " in str(done) and "1 left as it is: delivered" in str(done)
    expected = ["queued" if status in ("failed", "dead") else status for status in before]
    assert rows.statuses(asked) == expected
    assert len(rung) == 1


def test_twice_is_harmless(root: User, rung: list[set[str]]) -> None:
    asked = rows.targets(rows.notification(), Status.DEAD, 2)
    redrive(asked, by=root, more_attempts=2)
    again = redrive(asked, by=root, more_attempts=2)
    assert (again.ids, again.left) == ([], {"queued": 2})
    assert rung == [{rows.LANE}, set()]
    assert [rows.row(id)["attempts_allowed"] for id in asked] == [6, 6]
    assert DeadLetter.objects.count() == 2


@pytest.mark.parametrize("more", [0, -1, 256])
def test_senseless_orders_are_refused(root: User, more: int) -> None:
    with pytest.raises(ValueError, match="more attempts"):
        redrive(rows.targets(rows.notification(), Status.DEAD), by=root, more_attempts=more)
    with pytest.raises(ValueError, match="at once"):
        redrive([uuid4() for _ in range(MOST_AT_ONCE + 1)], by=root, more_attempts=1)


def test_statements_of_a_redrive(root: User, rung: list[set[str]]) -> None:
    one = rows.notification(kept=True, recipient_count=200)
    asked = rows.targets(one, Status.DEAD, 50) + rows.targets(one, Status.FAILED, 50)
    with capture() as statements:
        redrive(asked, by=root, more_attempts=1)
    # lock, move, summary, close the dead letters, remember the failed
    assert len(statements) == 5


@pytest.mark.django_db(transaction=True)
def test_the_bell_follows_the_commit(root: User, monkeypatch: pytest.MonkeyPatch) -> None:
    (target,) = rows.targets(rows.notification(), Status.DEAD)
    seen: list[Any] = []

    def ring(*lanes: str) -> None:
        with other_connection() as other:
            query = "SELECT status FROM notifications_notificationtarget WHERE id = %s"
            seen.append((lanes, other.execute(query, [target]).fetchone()))

    monkeypatch.setattr(queues, "ring", ring)
    redrive([target], by=root, more_attempts=1)
    assert seen == [((rows.LANE,), ("queued",))]


# --- Its pages -------------------------------------------------------------------------------------------


def ask(browser: Client, *letters: DeadLetter) -> Any:
    chosen = {"action": "ask_to_redrive", "_selected_action": [letter.pk for letter in letters]}
    return browser.post(DEAD_LETTERS, chosen)


def answer(browser: Client, page: Any, **changes: Any) -> Any:
    """Press the button on the page that asks."""
    return browser.post(REDRIVE, page.context["form"].initial | changes, follow=True)


def test_from_the_list_by_way_of_a_question(browser: Client, root: User, rung: list[set[str]]) -> None:
    asked = rows.targets(rows.notification(), Status.DEAD, 3)
    page = ask(browser, *DeadLetter.objects.all())
    assert "3 targets will be queued again" in text_of(page)
    assert rows.statuses(asked) == ["dead"] * 3  # nothing yet
    NotificationTarget.objects.filter(id=asked[0]).update(status="delivered")  # a receipt came meanwhile
    done = answer(browser, page, more_attempts=4)
    assert "2 re-driven; 1 left as it is: delivered." in text_of(done)
    assert done.redirect_chain[-1][0] == DEAD_LETTERS
    assert rows.statuses(asked) == ["delivered", "queued", "queued"]
    assert DeadLetter.objects.get(target=asked[1]).resolved_by == root
    assert rung == [{rows.LANE}]
    again = answer(browser, page)  # the button pressed twice
    assert "0 re-driven; 1 left as it is: delivered; 2 left as it is: queued." in text_of(again)


def test_from_the_notifications_page(browser: Client, rung: list[set[str]]) -> None:
    one = rows.notification()
    (failed,) = rows.targets(one, Status.FAILED)
    link = re.search(
        r'href="([^"]*redrive[^"]*)"', browser.get(f"{page_of(one)}?status=failed").content.decode()
    )
    assert link
    page = browser.get(link[1].replace("&amp;", "&"))
    assert rows.statuses([failed]) == ["failed"]
    done = answer(browser, page)
    assert done.redirect_chain[-1][0] == f"{page_of(one)}?status=failed"
    assert "1 re-driven." in text_of(done) and rows.statuses([failed]) == ["queued"]


@pytest.mark.parametrize("seen_in", ["reason", "attempt", "neither"])
def test_the_question_warns_of_what_may_be_sent_twice(browser: Client, seen_in: str) -> None:
    (target,) = rows.targets(
        rows.notification(),
        Status.DEAD,
        attempts=1,
        reason="unknown_outcome" if seen_in == "reason" else "attempts_used_up",
    )
    attempt(target, outcome="unknown" if seen_in == "attempt" else "temporary_failure")
    text = text_of(ask(browser, *DeadLetter.objects.all()))
    assert ("may send it twice" in text) == (seen_in != "neither")


def test_the_question_warns_of_what_is_too_late(browser: Client) -> None:
    rows.targets(rows.notification(), Status.DEAD, expires_at=clock.now() - timedelta(minutes=1))
    assert "1 of them is past its expiry" in text_of(ask(browser, *DeadLetter.objects.all()))


def test_the_question_costs_the_same_for_any_number(browser: Client) -> None:
    one = rows.notification()
    (first,) = rows.targets(one, Status.DEAD)
    more = rows.targets(one, Status.DEAD, 40)
    counted = []
    for asked in ([first], more):
        with capture() as statements:
            browser.get(REDRIVE, {"targets": " ".join(map(str, asked))})
        counted.append(len(statements))
    assert counted == [3, 3]  # session, user, the targets


def test_a_redrive_needs_the_token_of_the_page(root: User) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(root)
    (target,) = rows.targets(rows.notification(), Status.DEAD)
    assert client.post(REDRIVE, {"targets": str(target), "more_attempts": 1}).status_code == 403
    assert rows.statuses([target]) == ["dead"]


@pytest.mark.parametrize(
    "sent",
    [
        {},
        {"targets": "nonsense", "more_attempts": "1"},
        {"targets": "", "more_attempts": "1"},
        {"targets": "ID", "more_attempts": "0"},
        {"targets": "ID", "more_attempts": "256"},
        {"targets": "ID", "more_attempts": "x"},
        {"targets": "ID " * 1_001, "more_attempts": "1"},
    ],
)
def test_a_bad_order_moves_nothing(browser: Client, sent: dict[str, str]) -> None:
    (target,) = rows.targets(rows.notification(), Status.DEAD)
    sent = {name: value.replace("ID", str(target)) for name, value in sent.items()}
    assert "Nothing was re-driven." in text_of(browser.post(REDRIVE, sent, follow=True))
    assert rows.statuses([target]) == ["dead"]


@pytest.mark.parametrize(
    "next", ["https://evil.example/", "//evil.example", "javascript:alert(1)", "/\\evil", ""]
)
def test_a_redrive_leads_nowhere_else(browser: Client, rung: list[set[str]], next: str) -> None:
    (target,) = rows.targets(rows.notification(), Status.DEAD)
    sent = {"targets": str(target), "more_attempts": 1, "next": next}
    assert browser.post(REDRIVE, sent).headers["Location"] == DEAD_LETTERS


# --- Words -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0 ms"), (0.0124, "12 ms"), (3.21, "3.2 s"), (65, "1 min 5 s"), (3600, "1 h"), (7_500, "2 h 5 min"),
     (90_061, "1 d 1 h"), (-70, "−1 min 10 s")],
)  # fmt: skip
def test_durations(seconds: float, said: str) -> None:
    assert words.spell(timedelta(seconds=seconds)) == said


@pytest.mark.parametrize(
    ("address", "shown"),
    [("grace@example.com", "g•••@example.com"), ("+4930123456", "+49•••56"), ("short", "•••"), ("", "")],
)
def test_masked_addresses(address: str, shown: str) -> None:
    assert words.masked(address) == shown
