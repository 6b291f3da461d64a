"""How wordings come and go: a draft is written, published, and never changed after that.

Each function is one transaction and locks the template first, so that two authors wait for each other.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import orjson
from django.db import transaction

from apps.content import checking
from apps.content.messages import Words, words
from apps.content.models import NotificationTemplate, TemplateVersion
from apps.content.payloads import Fault
from apps.content.rendering import RenderingError
from apps.content.versions import Version
from apps.users import normalise
from apps.users.models import User
from project.clock import Now

WORDING = ("content", "schema", "example", "defaults", "track")


class Refused(Exception):
    """What was asked cannot be done. code: `no_draft`, `unknown_version` or, with its faults,
    `invalid_request`; detail: for people."""

    def __init__(self, code: str, detail: str, faults: Collection[Fault] = ()) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.faults = faults


def create(
    organization_id: int | None, slug: str, *, type: str, default_language: str
) -> NotificationTemplate:
    """A template without a wording; of no organization it is the system's. Raises IntegrityError if the slug
    is taken there, and ValueError for what is no language tag."""
    return NotificationTemplate.objects.create(
        organization_id=organization_id,
        slug=slug,
        type=type,
        default_language=normalise.language(default_language),
    )


def save_draft(
    template: NotificationTemplate,
    *,
    content: Mapping[str, Any],
    schema: Mapping[str, Any],
    example: Mapping[str, Any],
    defaults: Mapping[str, Any],
    track: bool,
    note: str,
    by: User | None,
) -> TemplateVersion:
    """The template's one draft, made or changed in its place. It may have faults (`checking.faults`)."""
    wording = {"content": _in_one_case(content), "schema": schema, "example": example, "defaults": defaults}
    with transaction.atomic():
        _lock(template)
        draft = _draft(template) or TemplateVersion(template=template, number=_last(template) + 1)
        for name, value in {**wording, "track": track, "note": note, "created_by": by}.items():
            setattr(draft, name, value)
        draft.save()
    return draft


def publish(template: NotificationTemplate, *, by: User | None) -> TemplateVersion:
    """From now on new notifications get the draft. Raises Refused: `no_draft`, `invalid_request`."""
    with transaction.atomic():
        _lock(template)
        draft = _draft(template)
        if draft is None:
            raise Refused("no_draft", "There is nothing to publish: the template has no draft.")
        if faults := _faults(template, draft):
            raise Refused("invalid_request", "The draft has faults: it cannot be published.", faults)
        TemplateVersion.objects.filter(pk=draft.pk).update(published_at=Now(), published_by=by)
        draft.refresh_from_db()
        _make_current(template, draft)
    return draft


def roll_back(template: NotificationTemplate, number: int, *, by: User | None) -> TemplateVersion:
    """A new version that says what an earlier one said; the current one if it says so already. Raises
    Refused: `unknown_version`."""
    with transaction.atomic():
        locked = _lock(template)
        old = template.versions.filter(number=number, published_at__isnull=False).first()
        if old is None:
            raise Refused("unknown_version", f"The template has no published version {number}.")
        if locked.current is not None and _wording(locked.current) == _wording(old):
            return locked.current
        made = TemplateVersion.objects.create(
            template=template,
            number=_before_the_draft(template),
            note=f"as version {number}",
            created_by=by,
            published_at=Now(),
            published_by=by,
            **_wording(old),
        )
        made.refresh_from_db()
        _make_current(template, made)
    return made


def discard_draft(template: NotificationTemplate) -> None:
    """The draft is gone, if there is one."""
    with transaction.atomic():
        _lock(template)
        template.versions.filter(published_at__isnull=True).delete()


def _lock(template: NotificationTemplate) -> NotificationTemplate:
    return NotificationTemplate.objects.select_for_update().get(pk=template.pk)


def _draft(template: NotificationTemplate) -> TemplateVersion | None:
    return template.versions.filter(published_at__isnull=True).first()


def _last(template: NotificationTemplate) -> int:
    last = template.versions.order_by("-number").values_list("number", flat=True).first()
    return last or 0


def _before_the_draft(template: NotificationTemplate) -> int:
    """The next number; a draft gets the one after, so that what is published later has the higher one."""
    number = _last(template) + 1
    if template.versions.filter(published_at__isnull=True).update(number=number):
        number -= 1
    return number


def _make_current(template: NotificationTemplate, version: TemplateVersion) -> None:
    template.current = version
    template.save(update_fields=["current"])


def _faults(template: NotificationTemplate, draft: TemplateVersion) -> list[Fault]:
    return checking.faults(**_wording(draft), default_language=template.default_language)


def _wording(version: TemplateVersion) -> dict[str, Any]:
    return {name: getattr(version, name) for name in WORDING}


def _in_one_case(content: Mapping[str, Any]) -> dict[str, Any]:
    """Language tags as people's are kept; what is none, or would then be there twice, stays as it is."""
    return {
        channel: _tags_in_one_case(languages) if isinstance(languages, dict) else languages
        for channel, languages in content.items()
    }


def _tags_in_one_case(languages: dict[str, Any]) -> dict[str, Any]:
    kept = {_tag(language): parts for language, parts in languages.items()}
    return kept if len(kept) == len(languages) else languages


def _tag(language: str) -> str:
    try:
        return normalise.language(language)
    except ValueError:
        return language


# --- Looking at versions -----------------------------------------------------------------------------------


class Difference(NamedTuple):
    """What is not the same in two versions, as text; None: it is not there. path: as in
    `content.sms.en.body`, `schema`, `defaults`, `example`, `track`."""

    path: str
    before: str | None
    after: str | None


def compare(a: TemplateVersion, b: TemplateVersion) -> list[Difference]:
    """Each part by channel and language, and all else, that is not the same in `b` as it is in `a`."""
    before, after = _as_texts(a), _as_texts(b)
    return [
        Difference(path, before.get(path), after.get(path))
        for path in sorted({*before, *after})
        if before.get(path) != after.get(path)
    ]


def _as_texts(version: TemplateVersion) -> dict[str, str]:
    parts = {
        f"content.{channel}.{language}.{part}": source if isinstance(source, str) else _json(source)
        for channel, languages in version.content.items()
        for language, parts in languages.items()
        for part, source in parts.items()
    }
    others = {name: _json(getattr(version, name)) for name in WORDING if name != "content"}
    return parts | others


def _json(value: object) -> str:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS).decode()


def as_version(row: TemplateVersion) -> Version:
    """A row, which may be a draft, as delivery has versions."""
    return Version(
        id=row.pk,
        content=row.content,
        default_language=row.template.default_language,
        defaults=row.defaults,
        schema=row.schema,
        track=row.track,
    )


def preview(
    version: TemplateVersion, payload: Mapping[str, Any], recipient: Mapping[str, str]
) -> dict[str, dict[str, Words | str]]:
    """Its words by channel and language, as delivery renders them, or why they cannot be rendered."""
    shown = as_version(version)
    context = {**payload, "recipient": recipient}
    return {
        channel: {language: _words(shown, channel, language, context) for language in languages}
        for channel, languages in version.content.items()
    }


def _words(version: Version, channel: str, language: str, context: dict[str, Any]) -> Words | str:
    try:
        return words(version, channel, language, context)
    except RenderingError as error:
        return str(error)
