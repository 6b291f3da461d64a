"""The example of docs/templates.md, held against the code."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from apps.content import checking, limits, links, messages, payloads, styles, versioning
from apps.content.messages import Words
from apps.content.models import NotificationTemplate, TemplateVersion
from apps.content.payloads import Fault, faults_of
from apps.content.samples import SAMPLE_RECIPIENT

TEXT = (Path(__file__).parents[2] / "docs/templates.md").read_text("utf-8")


@pytest.fixture
def example() -> dict[str, Any]:
    (found,) = re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL)
    made: dict[str, Any] = json.loads(found)
    return made


def test_its_example_has_no_faults(example: dict[str, Any]) -> None:
    note = example.pop("note")
    version = TemplateVersion(**example, note=note)
    missing = [f"content.{channel}" for channel in ("sms", "push")]
    assert checking.faults(**example, default_language="en") == []
    assert [fault.path for fault in checking.faults(**example, default_language="de")] == missing
    assert checking.undeclared(version) == set()


def test_what_its_example_says(example: dict[str, Any]) -> None:
    template = NotificationTemplate(slug="order-shipped", default_language="en")
    version = TemplateVersion(template=template, **example)
    shown = versioning.preview(version, version.example, SAMPLE_RECIPIENT)
    email = shown["email"]["en"]
    assert isinstance(email, Words)
    assert email.text == (
        "On its way\n\nHello Ada Lovelace,\n\nit has left.\n\n- Tea\n- Cup\n\n"
        "Where is it? (https://shop.example/orders/4711)"
    )
    assert '<p class="fact" style="color: #0b5cad;">' in email.html and "nsubscribe" not in email.html
    push = shown["push"]["en"]
    assert isinstance(push, Words)
    link = "https://shop.example/orders/4711"
    assert (push.link, push.actions) == ("/orders/4711", (messages.Action("track", "Where is it?", link),))


def test_the_place_of_a_fault(example: dict[str, Any]) -> None:
    payload = {"order": {"number": 1, "items": [{"name": "Tea"}, {}]}, "link": "https://a.example"}
    fault = Fault("order.items[1].name", "required", "The template needs this variable.")
    assert faults_of(example["schema"], payload) == [fault]


@pytest.mark.parametrize(
    "limit",
    [
        f"{limits.MAX_SOURCE:,} characters, {limits.MAX_TAGS:,} tags",
        f"{limits.MAX_OUTPUT_BYTES:,} bytes; with its styles at their elements {styles.MAX_BYTES:,}",
        f"{limits.MAX_LOOP_ITERATIONS:,} rounds",
        f"{limits.MAX_CPU_SECONDS} s of CPU for a text; {checking.MAX_SECONDS:.0f} s",
        f"{styles.MAX_TAGS:,} tags, {styles.MAX_OPEN} elements",
        f"tags × characters of CSS {styles.MAX_WORK:,}",
        f"{links.MAX_LINK:,} characters",
        f"{payloads.MAX_SCHEMA_BYTES:,} bytes, {payloads.MAX_APPLIED:,} keywords,",
        f"keywords, {payloads.MAX_DEPTH} levels",
        f"{payloads.MAX_FAULTS} of a payload, {checking.MAX_FAULTS} of a draft",
        f"at most {checking.MAX_ACTIONS}, each",
        f"more than {styles._HARMLESS} tags",
    ],
)
def test_the_limits_it_names(limit: str) -> None:
    assert limit in " ".join(TEXT.split())
