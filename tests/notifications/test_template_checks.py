"""A version against what is real: the payloads that were sent lately, and a test to one person."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from apps.content.models import NotificationTemplate, TemplateVersion
from apps.content.rendering import RenderingError
from apps.content.samples import SAMPLE_RECIPIENT
from apps.notifications import contents, template_checks
from apps.notifications.models import Notification, NotificationTarget
from apps.users.models import Scope, ServiceClient
from tests.api_helpers import Api, fields, make_key, make_organization, make_service, problem
from tests.notifications.api_support import accepted, everything, lanes, send
from tests.support import rows
from tests.support.database import Prepared, capture
from tests.support.templates import template

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("rung")]
ONE = "/api/templates/news/"
IMPACT, TEST = f"{ONE}impact/", f"{ONE}test/"


def draft(content: dict[str, Any], **values: Any) -> TemplateVersion:
    """The next wording of a template that has one."""
    of = NotificationTemplate.objects.get(slug="news")
    return TemplateVersion.objects.create(template=of, number=2, content=content, **values)


def impact(api: Api, **asked: Any) -> Any:
    response = api.post(IMPACT, {"version": "draft", **asked})
    assert response.status_code == 200, response.content
    return response.json()


@pytest.fixture
def news() -> TemplateVersion:
    return template("news", {"email": {"body": "{{ n }}"}, "sms": {"body": "{{ n }}"}})


# --- Impact -----------------------------------------------------------------------------------------------


def test_the_payloads_of_the_latest_notifications_are_tried(api: Api, news: TemplateVersion) -> None:
    rows.people(external_id="ada", language="de")
    sent = [
        accepted(send(api, template="news", payload={"n": n}, targets=["ada"], channels=channels))["id"]
        for n, channels in ((1, ["email"]), (4, ["email"]), (0, "all"), (2, ["sms"]))
    ]
    email = {"en": {"body": "{{ n }}"}, "de": {"body": "{{ 1 | divided_by: n }}"}}
    draft({"email": email}, schema={"type": "object", "required": ["n"]})
    before = everything()
    told = impact(api)
    assert everything() == before
    assert (told["version"], told["tried"], told["ok"], told["complete"]) == (2, 4, 2, True)
    found = {one["notification"]: [(e["field"], e["code"]) for e in one["errors"]] for one in told["faulty"]}
    assert found == {
        sent[3]: [("channels[0]", "no_content")],
        sent[2]: [("template.email", "not_rendered")],
    }
    assert impact(api, version=1)["ok"] == 4
    assert impact(api, last=1)["tried"] == 1


def test_what_a_new_schema_would_refuse_is_told(api: Api, news: TemplateVersion) -> None:
    rows.people(external_id="ada")
    for payload in ({"n": "x"}, {"n": "x", "order": 1}):
        accepted(send(api, template="news", payload=payload, targets=["ada"]))
    draft({"email": {"en": {"body": "x"}}}, schema={"type": "object", "required": ["n", "order"]})
    told = impact(api)
    assert (told["ok"], [one["errors"][0]["field"] for one in told["faulty"]]) == (1, ["payload.order"])


def test_only_our_own_of_this_template_are_tried(api: Api, news: TemplateVersion) -> None:
    rows.notification(template="other", template_version=news.pk)
    rows.notification(template="news", template_version=news.pk, organization_id=make_organization().pk)
    rows.notification()
    assert impact(api, version=1)["tried"] == 0


def test_who_is_not_planned_yet_is_a_sample_person(api: Api, news: TemplateVersion) -> None:
    rows.notification(template="news", template_version=news.pk, all_channels=True)
    assert impact(api, version=1)["ok"] == 1


def test_a_sample_person_is_known_as_anybody_is() -> None:
    (ada,) = rows.people(external_id="ada", language="de", timezone="Asia/Tokyo")
    assert contents.recipients([ada.pk])[ada.pk] == {name: getattr(ada, name) for name in SAMPLE_RECIPIENT}


def test_it_stops_when_its_time_is_over(
    api: Api, news: TemplateVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows.notification(template="news", template_version=news.pk)
    monkeypatch.setattr(template_checks, "SECONDS", -1.0)
    told = impact(api, version=1)
    assert (told["tried"], told["complete"]) == (0, False)


def test_many_are_read_a_few_at_a_time(
    api: Api, news: TemplateVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(template_checks, "_AT_ONCE", 2)
    (ada,) = rows.people()
    for _ in range(5):
        rows.targets(rows.notification(template="news", template_version=news.pk), user_id=ada.pk)
    with capture() as statements:
        assert impact(api, version=1, last=3)["tried"] == 3
    # The key, the template, its version; then two and one notifications, each time with their people.
    assert len(statements) == 3 + 2 + 2
    assert impact(api, version=1)["tried"] == 5


def test_they_are_found_by_their_index() -> None:
    asked = {"organization_id": 1, "slug": "x", "before": template_checks._NEWEST, "limit": 20}
    nodes = Prepared("impact", template_checks._LATEST, asked).nodes()
    used = {node["Index Name"] for node in nodes if "Index Name" in node}
    assert used == {"notification_template", "target_of_notification"}


@pytest.mark.parametrize(
    ("asked", "wrong"),
    [
        ({"version": "draft"}, {"version": "unknown_version"}),
        ({"last": 0}, {"last": "invalid"}),
        ({"last": 501, "payload": {}}, {"last": "invalid", "payload": "unknown_field"}),
    ],
)
def test_a_bad_question_is_told(api: Api, news: TemplateVersion, asked: Any, wrong: Any) -> None:
    assert fields(api.post(IMPACT, asked)) == wrong


# --- A test -----------------------------------------------------------------------------------------------


def test_a_test_is_a_notification_of_that_version_at_once(
    api: Api, news: TemplateVersion, rung: list[str]
) -> None:
    (ada,) = rows.people(external_id="ada")
    wording = draft({"email": {"en": {"body": "new {{ n }}"}}}, example={"n": 7})
    told = accepted(api.post(TEST, {"version": "draft", "user": "ada"}))
    row = Notification.objects.get()
    assert (row.template, row.template_version, row.payload) == ("news", wording.pk, {"n": 7})
    assert (row.type, row.critical, row.metadata) == ("", True, {"test": True})
    assert [(t["user"], t["channel"], t["status"]) for t in told["targets"]] == [(ada.pk, "email", "queued")]
    assert told["metadata"] == {"test": True} and lanes() == set(rung) == {"email.critical"}
    content = contents.load([row.pk])[row.pk]
    assert contents.rendered(content, "email", SAMPLE_RECIPIENT).text == "new 7"


def test_a_draft_that_changes_or_goes_meanwhile_is_never_remembered(api: Api, news: TemplateVersion) -> None:
    rows.people(external_id="ada")
    wording = draft({"email": {"en": {"body": "old"}}})

    def sent() -> UUID:
        return UUID(accepted(api.post(TEST, {"version": "draft", "user": "ada"}))["id"])

    def text(id: UUID) -> str:
        return contents.rendered(contents.load([id])[id], "email", {}).text

    assert text(sent()) == "old"
    TemplateVersion.objects.filter(pk=wording.pk).update(content={"email": {"en": {"body": "newer"}}})
    assert text(sent()) == "newer"
    gone = sent()
    wording.delete()
    with pytest.raises(RenderingError):
        text(gone)


def test_a_test_with_the_same_key_is_sent_once(api: Api, news: TemplateVersion) -> None:
    rows.people(external_id="ada")
    asked = {"user": "ada", "payload": {"n": 1}, "channels": ["sms"]}
    first, again = (api.post(TEST, asked, idempotency_key="one") for _ in range(2))
    assert first.content == again.content and again["Idempotency-Replayed"] == "true"
    assert NotificationTarget.objects.get().channel == "sms"


@pytest.mark.parametrize(
    ("asked", "wrong"),
    [
        ({}, {"user": "required"}),
        ({"user": ["ada", "bob"]}, {"user": "invalid"}),
        ({"user": "nobody"}, {"user": "unknown_user"}),
        ({"user": "ada", "version": 9}, {"version": "unknown_version"}),
        ({"user": "ada", "channels": ["fax"]}, {"channels[0]": "invalid"}),
        ({"user": "ada", "channels": ["push"], "version": "draft", "payload": {}},
         {"channels[0]": "no_content", "payload.n": "required"}),
    ],
)  # fmt: skip
def test_a_bad_test_is_told_and_not_sent(api: Api, news: TemplateVersion, asked: Any, wrong: Any) -> None:
    rows.people(external_id="ada")
    draft({"email": {"en": {"body": "x"}}}, schema={"type": "object", "required": ["n"]})
    assert fields(api.post(TEST, asked)) == wrong
    assert not Notification.objects.exists()


def test_each_needs_its_scope(service: ServiceClient, news: TemplateVersion) -> None:
    rows.people(external_id="ada")
    reader, sender = Api(make_key(service, [Scope.READ])), Api(make_key(service, [Scope.SEND]))
    assert reader.post(IMPACT, {}).status_code == 200
    problem(sender.post(IMPACT, {}), 403, "missing_scope")
    for other in (reader, sender):
        problem(other.post(TEST, {"user": "ada"}), 403, "missing_scope")
    foreign = Api(make_key(make_service(make_organization())))
    for path, asked in ((IMPACT, {}), (TEST, {"user": "ada"})):
        problem(foreign.post(path, asked), 404, "not_found")
    assert not Notification.objects.exists()
