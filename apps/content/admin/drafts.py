"""The form of a draft: a text area for each part of each language by each channel."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson
from django import forms
from django.http import QueryDict

from apps.content import checking
from apps.content.models import NotificationTemplate, TemplateVersion
from apps.content.payloads import Fault
from apps.users import normalise
from project.queues import CHANNELS

_LABELS = {"html": "HTML", "actions": "Actions (a JSON list of id, label and link)"}
_OBJECTS = {
    "schema": "JSON Schema of the payload",
    "example": "Example of a payload",
    "defaults": "Values for what a payload leaves out",
}


class JSONText(forms.CharField):
    """JSON of one kind; a mistake is told with its line and column. Empty: an empty one."""

    def __init__(self, kind: type[dict[str, Any]] | type[list[Any]], label: str) -> None:
        self.kind = kind
        super().__init__(required=False, label=label, widget=_area(6))

    def to_python(self, value: Any) -> Any:
        text = super().to_python(value)
        if not text:
            return self.kind()
        try:
            found = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            place = f"Line {error.lineno}, column {error.colno}"
            raise forms.ValidationError(f"{place}: this is not JSON ({error.msg}).") from None
        if not isinstance(found, self.kind):
            raise forms.ValidationError("An object: {…}." if self.kind is dict else "A list: […].")
        return found


def _area(rows: int) -> forms.Textarea:
    return forms.Textarea(attrs={"rows": rows, "class": "source", "spellcheck": "false"})


@dataclass(frozen=True)
class Block:
    """A language by a channel."""

    channel: str
    language: str

    @property
    def name(self) -> str:
        return f"{self.channel}.{self.language}"

    def fields(self) -> dict[str, str]:
        """Name of the field, by part: what a fault's path says, too."""
        return {part: f"content.{self.name}.{part}" for part in checking.PARTS[self.channel]}


class Shown(NamedTuple):
    """A block on the page."""

    block: Block
    fields: Sequence[forms.BoundField]


class DraftForm(forms.Form):
    """A whole wording. A part that is empty is left out, and so is a block without parts."""

    note = forms.CharField(required=False, max_length=500, label="What changed, for those who look later")
    track = forms.BooleanField(required=False, label="E-mail: count opens and clicks")

    def __init__(self, blocks: Iterable[Block], template: NotificationTemplate, **named: Any) -> None:
        super().__init__(**named)
        self.blocks = list(blocks)
        self.template = template
        for block in self.blocks:
            self.fields |= {name: _field(part) for part, name in block.fields().items()}
        self.fields |= {name: JSONText(dict, label) for name, label in _OBJECTS.items()}

    def shown(self) -> list[Shown]:
        """The blocks with their fields."""
        return [Shown(block, [self[name] for name in block.fields().values()]) for block in self.blocks]

    def others(self) -> list[forms.BoundField]:
        """The fields that belong to no language."""
        return [self[name] for name in (*_OBJECTS, "track", "note")]

    def clean(self) -> dict[str, Any]:
        """Every fault at its field; of a field that cannot even be read, that only."""
        unread = set(self.errors)
        for fault in self._faults():
            self._tell(fault, unread)
        return self.cleaned_data

    def _faults(self) -> list[Fault]:
        wording = self.wording()
        return checking.faults(
            wording["content"],
            schema=wording["schema"],
            example=wording["example"],
            defaults=wording["defaults"],
            default_language=self.template.default_language,
            track=wording["track"],
        )

    def _tell(self, fault: Fault, unread: Collection[str]) -> None:
        name = next((name for name in _prefixes(fault.path) if name in self.fields), None)
        if name not in unread:
            where = "" if name == fault.path else f"{fault.path}: "
            self.add_error(name, f"{where}{fault.detail}")

    def wording(self) -> dict[str, Any]:
        """What `versioning.save_draft` takes of it."""
        cleaned = self.cleaned_data
        content: dict[str, Any] = {}
        for block in self.blocks:
            parts = {part: cleaned[name] for part, name in block.fields().items() if cleaned.get(name)}
            if parts:
                content.setdefault(block.channel, {})[block.language] = parts
        objects = {name: cleaned.get(name, {}) for name in _OBJECTS}
        return {"content": content, **objects, "track": cleaned["track"], "note": cleaned.get("note", "")}


def _field(part: str) -> forms.Field:
    if part == "actions":
        return JSONText(list, _LABELS[part])
    rows = 1 if part in ("subject", "link", "avatar") else 8
    return forms.CharField(
        required=False, strip=False, label=_LABELS.get(part, part.capitalize()), widget=_area(rows)
    )


def _prefixes(path: str) -> Iterable[str]:
    """The path, and what it is within, from the inside."""
    while path:
        yield path
        path = path[: max(path.rfind("."), path.rfind("["), 0)]


def blocks_of(content: Mapping[str, Mapping[str, Any]], default_language: str) -> list[Block]:
    """Those there are; for a template that has none the usual one."""
    found = [Block(channel, language) for channel in CHANNELS for language in content.get(channel, ())]
    return found or [Block("email", default_language)]


def blocks_sent(sent: QueryDict) -> list[Block]:
    """The blocks of the page that was sent, each once."""
    found = [_block(name) for name in dict.fromkeys(sent.getlist("block"))]
    return [block for block in found if block is not None]


def block_added(sent: QueryDict) -> Block | None:
    """The block somebody wants to add; None for a channel or language that is none."""
    return _block(f"{sent.get('add_channel', '')}.{sent.get('add_language', '').strip()}")


def _block(name: str) -> Block | None:
    channel, _, language = name.partition(".")
    try:
        return Block(channel, normalise.language(language)) if channel in checking.PARTS else None
    except ValueError:
        return None


def initial_of(version: TemplateVersion | None, blocks: Iterable[Block]) -> dict[str, Any]:
    """What the form begins with."""
    if version is None:
        return {}
    found: dict[str, Any] = {name: _json(getattr(version, name)) for name in _OBJECTS}
    for block in blocks:
        parts = version.content.get(block.channel, {}).get(block.language, {})
        for part, name in block.fields().items():
            value = parts.get(part, "")
            found[name] = value if isinstance(value, str) else _json(value)
    return found | {"track": version.track, "note": version.note if version.published_at is None else ""}


def _json(value: object) -> str:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode() if value else ""


def fingerprint(draft: TemplateVersion | None) -> str:
    """Of the draft as it is: whoever saves another must have seen this one."""
    if draft is None:
        return ""
    values = [draft.content, draft.schema, draft.example, draft.defaults, draft.track, draft.note]
    return hashlib.sha256(orjson.dumps(values, option=orjson.OPT_SORT_KEYS)).hexdigest()
