"""HTML read as browsers read it, token by token: in linear time whatever it is, and without a tree.

A tree costs more, and parsers that make one can be made to take minutes, gigabytes, or the whole stack.
"""

from __future__ import annotations

import html as entities
import re
from collections.abc import Iterator
from html.entities import html5

Token = re.Match[str]

# The tokens of HTML (section 13.2.5), each from what it begins with to its end or the text's: so every text
# is read once, whatever in it is not closed. Python's own parser takes minutes for some.
_SPACE = r"[ \t\n\f\r]"
_NAME = r"[^ \t\n\f\r/>][^ \t\n\f\r/>=]*"
_VALUE = r"""(?:"[^"]*"?|'[^']*'?|[^ \t\n\f\r>"'][^ \t\n\f\r>]*)"""
_TOKEN = re.compile(
    rf"""
    <!--(?:-?>|.*?(?:--!?>|\Z))
    |<(?:[!?]|/(?![a-zA-Z]))[^>]*>?
    |<(?P<name>/?[a-zA-Z][^ \t\n\f\r/>]*)
     (?P<attributes>(?:[ \t\n\f\r/]+|{_NAME}(?:{_SPACE}*={_SPACE}*{_VALUE}?)?)*)
     (?P<end>>|\Z)
    """,
    re.VERBOSE | re.DOTALL,
)
_ATTRIBUTE = re.compile(rf"[ \t\n\f\r/]*(?P<name>{_NAME})(?:{_SPACE}*={_SPACE}*(?P<value>{_VALUE})?)?")
# What is in these is text, whatever it looks like.
_TEXT_ENDS = {
    name: re.compile(rf"</{name}(?=[ \t\n\f\r/>])", re.IGNORECASE)
    for name in ("script", "style", "title", "textarea", "xmp", "iframe", "noembed", "noframes")
}


def tokens(html: str) -> Iterator[Token]:
    """Tags and comments, in order; what is between them is text. A tag has the groups `name` (of an end tag
    with a slash before it), `attributes` and `end` (empty if the text ends within it); a comment has none."""
    at = 0
    while token := _TOKEN.search(html, at):
        at = token.end()
        yield token
        if token["end"] and (ends := _TEXT_ENDS.get(token["name"].lower())):
            end = ends.search(html, at)
            at = end.start() if end else len(html)


def tags(html: str) -> Iterator[Token]:
    """The tags, start and end, that the text does not end in."""
    return (token for token in tokens(html) if token["end"])


def attributes(tag: Token) -> dict[str, Token]:
    """A tag's attributes by name in lower case, with the groups `name` and `value`. Of one there twice
    the first counts, as in browsers."""
    found: dict[str, Token] = {}
    for attribute in _ATTRIBUTE.finditer(tag.string, *tag.span("attributes")):
        found.setdefault(attribute["name"].lower(), attribute)
    return found


def value_of(written: str | None) -> str:
    """What an attribute's value says, without its quotes and its character references."""
    written = written or ""
    return plain(written[1:-1] if written[:1] in ('"', "'") else written)


def plain(text: str) -> str:
    """The text with what its character references stand for."""
    return _REFERENCE.sub(_character, text) if "&" in text else text


def address_of(written: str | None) -> str:
    """Where an attribute's value leads (WHATWG URL, section 4.4: space around it and line breaks in it count
    for nothing)."""
    return _BREAKS.sub("", value_of(written)).strip("\0\f ")


_BREAKS = re.compile(r"[\t\n\r]")
# A name without its semicolon is none before a "=" (HTML, section 13.2.5.73): `&copy=1` is a parameter.
_REFERENCE = re.compile(r"&(?:#[0-9]++;?|#[xX][0-9a-fA-F]++;?|([a-zA-Z][a-zA-Z0-9]*+)(?:;|(?!=)))")


def _character(match: re.Match[str]) -> str:
    """What a character reference stands for; what is none stands for itself."""
    text = match[0]
    return entities.unescape(text) if match[1] is None or text[1:] in html5 else text
