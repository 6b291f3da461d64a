"""The types and templates every installation begins with: whole, right, and what they were when sown."""

from __future__ import annotations

import hashlib
import importlib
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps

from apps.content import catalog, checking, seeds, segments, versioning
from apps.content.messages import Words, words
from apps.content.models import Category, NotificationTemplate, NotificationType, TemplateVersion
from apps.content.payloads import faults_of
from apps.content.samples import SAMPLE_RECIPIENT
from apps.content.seeds import Seed
from apps.content.versions import Version
from apps.users.models import DEFAULT_ORGANIZATION_ID
from project.queues import CHANNELS

SEEDS = {seed.slug: seed for seed in seeds.read("first")}
CATEGORIES = {
    "assignment_notification": "immediate",
    "collaboration_alert": "immediate",
    "deadline_reminder": "scheduled",
    "digest_email": "digest",
    "milestone_alert": "immediate",
    "status_update": "immediate",
    "system_notification": "system",
}
UNSUBSCRIBE = "https://a.example/unsubscribe/x"


def version(seed: Seed) -> Version:
    return Version(id=1, **{name: value for name, value in seed.wording.items() if name != "example"})


def said(slug: str, channel: str, language: str = "en", **payload: Any) -> Words:
    seed = SEEDS[slug]
    return words(
        version(seed),
        channel,
        language,
        {**(payload or seed.wording["example"]), "recipient": SAMPLE_RECIPIENT},
    )


def minimal(slug: str) -> dict[str, Any]:
    """Of the example only what must be there."""
    wording = SEEDS[slug].wording
    return {name: wording["example"][name] for name in wording["schema"]["required"]}


@pytest.mark.parametrize(
    "folder, digest", [("first", "3b6ad69db1c524c9cadf7ddae3d1a4046d7569bb89ac4e3245882c4432c67bca")]
)
def test_what_was_sown_never_changes(folder: str, digest: str) -> None:
    """Installations keep what they got: put new words into a folder and a migration of their own."""
    files = sorted((Path(seeds.__file__).parent / folder).iterdir())
    assert (
        hashlib.sha256(b"".join(path.name.encode() + path.read_bytes() for path in files)).hexdigest()
        == digest
    )


def test_the_types() -> None:
    assert {slug: seed.type["category"] for slug, seed in SEEDS.items()} == CATEGORIES
    assert set(CATEGORIES.values()) <= set(Category.values)
    assert [slug for slug, seed in SEEDS.items() if seed.type["critical"]] == ["system_notification"]


@pytest.mark.parametrize("seed", SEEDS.values(), ids=SEEDS)
def test_nothing_is_wrong_with_them(seed: Seed) -> None:
    assert checking.faults(**seed.wording, default_language="en", track=False) == []
    assert checking.undeclared(TemplateVersion(**seed.wording)) == set()
    assert {channel: set(seed.wording["content"][channel]) for channel in CHANNELS} == {
        channel: {"en", "de"} for channel in CHANNELS
    }
    assert all(one["description"] for one in seed.wording["schema"]["properties"].values())


@pytest.mark.parametrize("language", ["en", "de"])
@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize("slug", SEEDS)
def test_no_gap_where_something_is_left_out(slug: str, channel: str, language: str) -> None:
    for payload in ({}, minimal(slug)):
        made = said(slug, channel, language, **payload)
        for text in (made.subject, made.text):
            assert text.strip() == text and "{" not in text and "  " not in text and "\n\n\n" not in text
            assert " ." not in text and "()" not in text and ": ." not in text and " ," not in text
        assert made.text or made.subject
        assert bool(made.html) == (channel == "email")
        assert bool(made.actions) == (channel == "in_app" and bool(made.link))


@pytest.mark.parametrize("language", ["en", "de"])
@pytest.mark.parametrize("slug", SEEDS)
def test_an_sms_costs_little(slug: str, language: str) -> None:
    measured = segments.measure(said(slug, "sms", language).text)
    assert (measured.encoding, measured.segments <= 2) == ("GSM-7", True)


@pytest.mark.parametrize("language", ["en", "de"])
@pytest.mark.parametrize("slug", SEEDS)
def test_an_email_can_be_unsubscribed_from(slug: str, language: str) -> None:
    payload = SEEDS[slug].wording["example"]
    without = said(slug, "email", language)
    made = words(version(SEEDS[slug]), "email", language, {**payload, "unsubscribe_url": UNSUBSCRIBE})
    critical = slug == "system_notification"
    assert (UNSUBSCRIBE in made.html, UNSUBSCRIBE in made.text) == (not critical, not critical)
    assert "nsubscribe" not in without.html + without.text and "abbestellen" not in without.html
    assert critical or "data-no-track" in made.html


def test_an_email_carries_its_styles_at_its_elements() -> None:
    html = said("status_update", "email").html
    assert 'class="button"' in html and "background-color: #0b5cad" in html
    assert "@media" in html and ".words h1" not in html.split("@media")[0]


def test_values_are_escaped() -> None:
    html = said("status_update", "email", title="<b>x</b>", status="a&b", comment="1\n<script>").html
    assert "<b>x" not in html and "<script" not in html and "a&amp;b" in html


def item(number: int, **fields: Any) -> dict[str, Any]:
    return {
        "title": f"Title {number}",
        "body": f"Body {number}",
        "link": "",
        "type": "x",
        "type_name": "X",
    } | fields


@pytest.mark.parametrize(
    ("channel", "language", "phrases"),
    [
        ("email", "en", ["5 updates", "Title 1", "Body 2", "https://a.example/1", "and 2 more"]),
        ("email", "de", ["5 Neuigkeiten", "Title 1", "Body 2", "https://a.example/1", "und 2 weitere"]),
        ("in_app", "en", ["5 updates", "- Title 1\n- Title 2", "and 2 more"]),
        ("chat", "en", ["5 updates", "- Title 1 https://a.example/1\n", "and 2 more"]),
        ("webhook", "de", ["5 Neuigkeiten", "- Title 1\n", "und 2 weitere"]),
        ("push", "en", ["5 updates", "Title 1, Title 2, Title 3", "and 2 more"]),
        ("sms", "en", ["5 updates: Title 1; Title 2; Title 3; and 2 more"]),
        ("sms", "de", ["5 Neuigkeiten: Title 1; Title 2; Title 3; und 2 weitere"]),
    ],
)
def test_a_digest(channel: str, language: str, phrases: list[str]) -> None:
    items = [item(1, link="https://a.example/1"), item(2, link="/path"), item(3, link=None)]
    payload = {"period": "daily", "count": 5, "items": items, "more": 2}
    assert faults_of(SEEDS["digest_email"].wording["schema"], payload) == []
    made = said("digest_email", channel, language, **payload)
    for phrase in phrases:
        assert phrase in made.subject + "\n" + made.text
        assert channel != "email" or phrase in made.html
    assert "/path" not in made.html


def test_a_digest_of_one() -> None:
    made = said("digest_email", "email", period="weekly", count=1, more=0, items=[item(1, title="")])
    assert made.subject == "This week: 1 update" and "more" not in made.text and "Body 1" in made.html


@pytest.mark.django_db
def test_they_are_there_for_every_organization() -> None:
    found = catalog.find(DEFAULT_ORGANIZATION_ID, templates=list(SEEDS), types=list(SEEDS))
    assert set(found.templates) == set(found.types) == set(SEEDS)
    for slug, template in found.templates.items():
        assert template.type == slug and template.version.content == SEEDS[slug].wording["content"]
        assert found.types[slug].critical == SEEDS[slug].type["critical"]
    assert {one.number for one in TemplateVersion.objects.filter(template__organization=None)} == {1}


@pytest.mark.django_db
def test_sowing_twice_changes_nothing() -> None:
    """Neither what was changed meanwhile nor what somebody had made under the same slug."""
    template = NotificationTemplate.objects.get(slug="status_update", organization=None)
    versioning.save_draft(
        template,
        content={"sms": {"en": {"body": "x"}}},
        schema={},
        example={},
        defaults={},
        track=False,
        note="",
        by=None,
    )
    own = versioning.publish(template, by=None)
    NotificationType.objects.filter(slug="status_update").update(name="Own name")
    importlib.import_module("apps.content.migrations.0007_seeds").sow(apps, None)
    template.refresh_from_db()
    assert template.current == own and TemplateVersion.objects.filter(template=template).count() == 2
    assert NotificationType.objects.get(slug="status_update").name == "Own name"
    assert NotificationTemplate.objects.filter(organization=None).count() == len(SEEDS)
