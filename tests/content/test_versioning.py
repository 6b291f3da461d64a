"""How wordings come and go: one draft, versions that never change, numbers that only go up."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.db.models import ProtectedError

from apps.content import versioning, versions
from apps.content.messages import Words
from apps.content.models import NotificationTemplate, PublishedVersion, TemplateVersion
from apps.content.versioning import Difference, Refused, compare
from apps.users.models import DEFAULT_ORGANIZATION_ID, User
from project import clock
from tests.support import rows
from tests.support.database import capture, in_threads, move_clock

pytestmark = pytest.mark.django_db


@pytest.fixture
def template() -> NotificationTemplate:
    return versioning.create(DEFAULT_ORGANIZATION_ID, "news", type="", default_language="en")


def draft(
    of: NotificationTemplate, body: str = "Hello", by: User | None = None, **fields: Any
) -> TemplateVersion:
    values: dict[str, Any] = {"schema": {}, "example": {}, "defaults": {}, "track": False, "note": ""}
    values["content"] = {"sms": {"en": {"body": body}}}
    return versioning.save_draft(of, **(values | fields), by=by)


def published(of: NotificationTemplate, body: str = "Hello") -> TemplateVersion:
    draft(of, body)
    return versioning.publish(of, by=None)


def state(of: NotificationTemplate) -> list[tuple[int, str, bool, bool]]:
    """Of each version: number, text, whether it is published, whether it is current."""
    of.refresh_from_db()
    return [
        (one.number, one.content["sms"]["en"]["body"], one.published_at is not None, one.pk == of.current_id)
        for one in of.versions.order_by("number")
    ]


def test_a_slug_is_there_once(template: NotificationTemplate) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        versioning.create(DEFAULT_ORGANIZATION_ID, "news", type="", default_language="en")
    assert versioning.create(None, "news", type="", default_language="PT-br").default_language == "pt-BR"


def test_there_is_one_draft(template: NotificationTemplate) -> None:
    first = draft(template, "one", note="first")
    second = draft(template, "two")
    assert (first.pk, second.number, second.note) == (second.pk, 1, "")
    assert state(template) == [(1, "two", False, False)]


def test_tags_are_kept_in_one_case(template: NotificationTemplate) -> None:
    content = {"sms": {"EN": {"body": "x"}, "pt-br": {"body": "x"}, "?": {}}, "push": {"en": {}, "EN": {}}}
    assert draft(template, content=content).content == {
        "sms": {"en": {"body": "x"}, "pt-BR": {"body": "x"}, "?": {}},
        "push": {"en": {}, "EN": {}},  # for the author to see
    }


def test_publishing(template: NotificationTemplate) -> None:
    (ada,) = rows.people()
    draft(template, "one", by=ada)
    move_clock(86_400)
    version = versioning.publish(template, by=ada)
    assert version.published_at == clock.now()
    assert (version.published_by, version.created_by) == (ada, ada)
    draft(template, "two")
    assert state(template) == [(1, "one", True, True), (2, "two", False, False)]
    versioning.publish(template, by=None)
    assert state(template) == [(1, "one", True, False), (2, "two", True, True)]


def test_nothing_to_publish(template: NotificationTemplate) -> None:
    published(template)
    with pytest.raises(Refused) as refused:
        versioning.publish(template, by=None)
    assert refused.value.code == "no_draft"


def test_a_draft_with_faults_is_not_published(template: NotificationTemplate) -> None:
    draft(template, "{{ oops")
    with pytest.raises(Refused) as refused:
        versioning.publish(template, by=None)
    assert refused.value.code == "invalid_request"
    assert [fault.path for fault in refused.value.faults] == ["content.sms.en.body"]
    assert state(template) == [(1, "{{ oops", False, False)]


def test_going_back_goes_on(template: NotificationTemplate) -> None:
    published(template, "one")
    published(template, "two")
    version = versioning.roll_back(template, 1, by=None)
    assert version.note == "as version 1"
    assert state(template) == [(1, "one", True, False), (2, "two", True, False), (3, "one", True, True)]
    assert versioning.roll_back(template, 1, by=None) == version  # it says so already
    assert len(state(template)) == 3


def test_a_draft_stays_the_last(template: NotificationTemplate) -> None:
    published(template, "one")
    published(template, "two")
    draft(template, "three")
    versioning.roll_back(template, 1, by=None)
    assert state(template)[2:] == [(3, "one", True, True), (4, "three", False, False)]


@pytest.mark.parametrize("number", [0, 2, 3])
def test_only_to_what_was_published(template: NotificationTemplate, number: int) -> None:
    published(template)
    draft(template, "two")
    with pytest.raises(Refused) as refused:
        versioning.roll_back(template, number, by=None)
    assert refused.value.code == "unknown_version"
    assert len(state(template)) == 2


def test_discarding(template: NotificationTemplate) -> None:
    published(template, "one")
    draft(template, "two")
    versioning.discard_draft(template)
    versioning.discard_draft(template)
    assert state(template) == [(1, "one", True, True)]


@pytest.mark.parametrize(
    "change",
    [
        {"content": {}},
        {"note": "x"},
        {"schema": {"type": "object"}},
        {"defaults": {"a": 1}},
        {"example": {"a": 1}},
        {"track": True},
        {"number": 7},
        {"published_at": None},
    ],
)
def test_what_is_published_never_changes(template: NotificationTemplate, change: dict[str, Any]) -> None:
    version = published(template)
    for name, value in change.items():
        setattr(version, name, value)
    with pytest.raises(PublishedVersion):
        version.save()
    with pytest.raises(IntegrityError, match="never changes"), transaction.atomic():
        TemplateVersion.objects.filter(pk=version.pk).update(**change)
    assert state(template) == [(1, "Hello", True, True)]


def test_what_is_published_stays(template: NotificationTemplate) -> None:
    version = published(template)
    with pytest.raises((IntegrityError, ProtectedError)), transaction.atomic():
        template.delete()
    published(template, "two")
    with pytest.raises(IntegrityError, match="never changes"), transaction.atomic():
        version.delete()
    assert len(state(template)) == 2


def test_its_author_may_go(template: NotificationTemplate) -> None:
    (ada,) = rows.people()
    draft(template, by=ada)
    version = versioning.publish(template, by=ada)
    ada.delete()
    version.refresh_from_db()
    assert (version.created_by, version.published_by) == (None, None)


def test_what_changed(template: NotificationTemplate) -> None:
    one = published(template, "a\nb\nc")
    two = draft(
        template,
        "a\nB\nc",
        content={"sms": {"en": {"body": "a\nB\nc"}, "de": {"body": "x"}}},
        schema={"type": "object"},
    )
    differences = {one.path: one for one in compare(one, two)}
    assert differences.keys() == {"content.sms.de.body", "content.sms.en.body", "schema"}
    assert differences["content.sms.en.body"] == Difference("content.sms.en.body", "a\nb\nc", "a\nB\nc")
    assert differences["content.sms.de.body"] == Difference("content.sms.de.body", None, "x")
    assert compare(two, two) == []


def test_a_preview_of_everything(template: NotificationTemplate) -> None:
    content = {"sms": {"en": {"body": "{{ a }} {{ b }} {{ recipient.name }}"}, "de": {"body": "{{"}}}
    version = draft(template, content=content, defaults={"b": "B"})
    shown = versioning.preview(version, {"a": "A", "recipient": "nobody"}, {"name": "Ada"})
    assert shown["sms"]["en"] == Words("", "A B Ada")
    assert isinstance(shown["sms"]["de"], str) and shown["sms"]["de"].startswith("Line 1")


def test_delivery_gets_what_was_published(template: NotificationTemplate) -> None:
    version = published(template, "one")
    assert versions.load([version.pk])[version.pk] == versioning.as_version(version)
    with capture() as statements:
        assert versions.load([version.pk])[version.pk].content == {"sms": {"en": {"body": "one"}}}
    assert statements == []


@pytest.mark.django_db(transaction=True)
def test_two_authors_wait_for_each_other() -> None:
    of = versioning.create(None, "shared", type="", default_language="en")
    draft(of, "zero")
    versioning.publish(of, by=None)

    def work(number: int) -> None:
        own = NotificationTemplate.objects.get(pk=of.pk)
        draft(own, f"text {number}")
        try:
            versioning.publish(own, by=None)
        except Refused as refused:
            assert refused.code == "no_draft"  # the other one has published it

    in_threads(6, work)
    found = state(of)
    assert [number for number, *_ in found] == list(range(1, len(found) + 1))
    assert [current for *_, current in found] == [False] * (len(found) - 1) + [True]
