"""Everything that is wrong with a wording, told to its author at once, before anybody is sent it. Pure."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from apps.content import links, styles
from apps.content.messages import words
from apps.content.models import TemplateVersion
from apps.content.payloads import Fault, faults_of, schema_faults
from apps.content.rendering import RenderingError, names_used, syntax_error
from apps.content.samples import SAMPLE_RECIPIENT
from apps.content.versions import Version
from apps.users import normalise
from project.queues import CHANNELS

MAX_FAULTS = 100  # told at once
MAX_ACTIONS = 5
MAX_SECONDS = 5.0  # of CPU, to render the example in every language by every channel
MAX_ID = 50  # characters of an action's

# What a template is given beside the payload. A payload may have an unsubscribe_url of its own, no recipient.
GIVEN = ("recipient", "unsubscribe_url")
_UNSUBSCRIBE = "https://example.com/unsubscribe"

_EVERY = ("subject", "body")
PARTS = {  # of each channel, in the order in which people write them
    **dict.fromkeys(CHANNELS, _EVERY),
    "email": (*_EVERY, "html"),
    "in_app": (*_EVERY, "link", "avatar", "actions"),
    "push": (*_EVERY, "link", "avatar", "actions"),
    "sms": ("body",),
}
_ACTION = ("id", "label", "link")


class Source(NamedTuple):
    """A text of a wording, and where it is."""

    path: str
    text: object
    part: str  # "label" and "link" of an action, too


def faults(
    content: Mapping[str, Any],
    *,
    schema: Mapping[str, Any],
    example: Mapping[str, Any],
    defaults: Mapping[str, Any],
    default_language: str,
    track: bool,
) -> list[Fault]:
    """What is wrong, each with its path (`content.email.pt-BR.html`) and a code of docs/api.md."""
    found = [*_shapes(content, default_language), *_texts(content), *_tracking(content, track)]
    found += _payload(schema, example, defaults)
    if not found:
        version = Version(id=0, content=content, default_language="", defaults=defaults, schema=schema)
        found = list(_rendered(version, example))
    return found[:MAX_FAULTS]


def undeclared(version: TemplateVersion) -> set[str]:
    """Names its texts use which neither the schema nor the defaults nor the example know: misspelt, maybe."""
    used: set[str] = set()
    for source in _sources(version.content):
        used |= names_used(str(source.text))
    declared = {*version.schema.get("properties", ()), *version.schema.get("required", ())}
    return used - declared - {*version.defaults, *version.example, *GIVEN}


# --- Its shape ---------------------------------------------------------------------------------------------


def _shapes(content: object, default_language: str) -> Iterator[Fault]:
    if not isinstance(content, dict) or not content:
        yield Fault("content", "required", "Give it a text by one channel at least.")
        return
    for channel, languages in content.items():
        path = f"content.{channel}"
        if channel not in CHANNELS:
            detail = f"There is no such channel. There are: {', '.join(CHANNELS)}."
            yield Fault(path, "unknown_channel", detail)
        elif not isinstance(languages, dict) or not languages:
            yield Fault(path, "required", "Give it a text in one language at least.")
        else:
            yield from _languages(path, languages, default_language)
            for language, parts in languages.items():
                yield from _parts(f"{path}.{language}", parts, channel)


def _languages(path: str, languages: Mapping[str, object], default_language: str) -> Iterator[Fault]:
    seen: set[str] = set()
    for language in languages:
        try:
            tag = normalise.language(language)
        except ValueError:
            yield Fault(f"{path}.{language}", "invalid", "This is no language tag, such as en or pt-BR.")
            continue
        if tag in seen:
            yield Fault(f"{path}.{language}", "conflict", "This language is there twice.")
        seen.add(tag)
    if default_language.lower() not in {tag.lower() for tag in seen}:
        yield Fault(path, "no_content", f"There is no text in the default language, {default_language}.")


def _parts(path: str, parts: object, channel: str) -> Iterator[Fault]:
    if not isinstance(parts, dict):
        yield Fault(path, "invalid", "Send an object of parts.")
        return
    for part, source in parts.items():
        if part not in PARTS[channel]:
            detail = f"There is no such part by {channel}. There are: {', '.join(sorted(PARTS[channel]))}."
            yield Fault(f"{path}.{part}", "unknown_field", detail)
        elif part == "actions":
            yield from _actions(f"{path}.actions", source)
        elif not isinstance(source, str):
            yield Fault(f"{path}.{part}", "invalid", "Send a text.")
    if not (parts.get("body") or parts.get("html")):
        yield Fault(f"{path}.body", "required", "It has no words.")


def _actions(path: str, actions: object) -> Iterator[Fault]:
    if not isinstance(actions, list):
        yield Fault(path, "invalid", "Send a list of actions.")
        return
    if len(actions) > MAX_ACTIONS:
        yield Fault(path, "too_many", f"There may be {MAX_ACTIONS} actions at most.")
    ids: set[object] = set()
    for number, action in enumerate(actions):
        yield from _action(f"{path}[{number}]", action, ids)


def _action(path: str, action: object, ids: set[object]) -> Iterator[Fault]:
    if not isinstance(action, dict) or not all(isinstance(value, str) for value in action.values()):
        yield Fault(path, "invalid", "Send an object of texts: id, label and link.")
        return
    for name in _ACTION:
        if not action.get(name):
            yield Fault(f"{path}.{name}", "required", "This field is required.")
    for name in sorted(action.keys() - set(_ACTION)):
        yield Fault(f"{path}.{name}", "unknown_field", "There is no such field.")
    if len(action.get("id", "")) > MAX_ID:
        yield Fault(f"{path}.id", "too_long", f"It may have {MAX_ID} characters at most.")
    if action.get("id") in ids:
        yield Fault(f"{path}.id", "conflict", "Another action has this id.")
    ids.add(action.get("id"))


# --- Its texts ---------------------------------------------------------------------------------------------


def _sources(content: object) -> Iterator[Source]:
    """Every text, as far as the shape is right."""
    for channel, languages in _items(content):
        for language, parts in _items(languages):
            for part, text in _items(parts):
                path = f"content.{channel}.{language}.{part}"
                if part != "actions":
                    yield Source(path, text, part)
                    continue
                for number, action in enumerate(text if isinstance(text, list) else ()):
                    for name, label in _items(action):
                        if name != "id":
                            yield Source(f"{path}[{number}].{name}", label, name)


def _items(value: object) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        yield from value.items()


def _texts(content: object) -> Iterator[Fault]:
    for path, text, part in _sources(content):
        if not isinstance(text, str):
            continue
        if "\0" in text:
            yield Fault(path, "null_character", "There is a U+0000 in it.")
        elif wrong := syntax_error(text):
            yield Fault(path, "invalid", wrong)
        elif part == "html":
            yield from _html(path, text)


def _html(path: str, source: str) -> Iterator[Fault]:
    if name := styles.refused_element(source):
        yield Fault(path, "invalid", f"<{name}> has no place in an e-mail.")
    for wrong in links.in_html(source):
        yield Fault(path, "invalid", wrong)


def _tracking(content: object, track: bool) -> Iterator[Fault]:
    emails = dict(_items(content)).get("email")
    if track and not any(dict(_items(parts)).get("html") for _, parts in _items(emails)):
        yield Fault("track", "conflict", "Only HTML is tracked, and there is none by email.")


# --- What it is given --------------------------------------------------------------------------------------


def _payload(schema: object, example: object, defaults: object) -> Iterator[Fault]:
    wrong = [fault._replace(path=_within("schema", fault.path)) for fault in schema_faults(schema)]
    yield from wrong
    for name, given in (("example", example), ("defaults", defaults)):
        if not isinstance(given, dict):
            wrong.append(Fault(name, "invalid", "Send a JSON object."))
            yield wrong[-1]
    if wrong or not (isinstance(schema, dict) and isinstance(example, dict) and isinstance(defaults, dict)):
        return
    for where, names in (("example", example), ("defaults", defaults), ("schema", _named(schema))):
        for name in GIVEN if where == "defaults" else GIVEN[:1]:
            if name in names:
                yield Fault(f"{where}.{name}", "conflict", "This name is given, not sent.")
    for fault in faults_of(schema, {**defaults, **example}):
        yield fault._replace(path=_within("example", fault.path))


def _named(schema: Mapping[str, Any]) -> set[str]:
    return {*schema.get("properties", ()), *schema.get("required", ())}


def _within(name: str, path: str) -> str:
    return f"{name}.{path}" if path else name


# --- What it says of its example ---------------------------------------------------------------------------


def _rendered(version: Version, example: Mapping[str, Any]) -> Iterator[Fault]:
    """Each part alone, so that a fault has its place."""
    context = {"unsubscribe_url": _UNSUBSCRIBE, **example, "recipient": SAMPLE_RECIPIENT}
    started = time.thread_time()
    for channel, language, part, source in _every_part(version.content):
        if time.thread_time() - started > MAX_SECONDS:
            yield Fault("content", "not_rendered", f"To render all of it takes longer than {MAX_SECONDS} s.")
            return
        alone = replace(version, content={channel: {language: {part: source}}})
        path = f"content.{channel}.{language}.{part}"
        try:
            made = words(alone, channel, language, context)
        except RenderingError as error:
            yield Fault(path, "not_rendered", str(error))
        else:
            for wrong in links.in_html(made.html):
                yield Fault(path, "invalid", f"With the example: {wrong}")


def _every_part(content: Mapping[str, Any]) -> Iterator[tuple[str, str, str, Any]]:
    for channel, languages in content.items():
        for language, parts in languages.items():
            for part, source in parts.items():
                yield channel, language, part, source
