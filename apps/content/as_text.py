"""What an e-mail's HTML says, as plain text: for those who read only that, where its author wrote none.

In one pass over the tags, so that it costs time by its length whatever it is: a library that lays out tables
makes 100 MB of the 100 kB of a hostile one.
"""

from __future__ import annotations

import re

from apps.content import markup
from apps.content.markup import Token

_LINES = {  # how many line breaks are around an element
    **dict.fromkeys(("address", "article", "aside", "center", "dd", "div", "dt", "figure", "footer"), 1),
    **dict.fromkeys(("form", "header", "li", "main", "nav", "section", "tr"), 1),
    **dict.fromkeys(("blockquote", "dl", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "ol", "p", "pre"), 2),
    **dict.fromkeys(("table", "ul"), 2),
}
_UNSEEN = {"script", "style", "template", "title"}
_VOID = {"area", "base", "br", "col", "hr", "img", "input", "link", "meta", "source", "wbr"}
_ENDS_ITSELF = {"dd", "dt", "li", "p", "td", "th", "tr"}  # before the next of its kind
_HIDDEN = re.compile(r"display\s*:\s*none", re.IGNORECASE)
_WORDS = re.compile(r"[^ \t\n\f\r]+")  # not at no-break spaces


def text_of(html: str) -> str:
    """The text with its paragraphs, lists as `- …` and links as `words (address)`."""
    reader = _Reader()
    at = 0
    for token in markup.tokens(html):
        reader.text(html[at : token.start()])
        if token["end"]:
            reader.tag(token)
        at = token.end()
    reader.text(html[at:])
    return "".join(reader.pieces).replace("\u00a0", " ").strip()


class _Reader:
    """What was read so far. Space and line breaks are written when words follow them."""

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self._lines = 0
        self._space = False
        self._link: tuple[str, int] | None = None  # where the open one leads, and its first piece
        self._unseen = ""  # the element whose content is not shown
        self._within = 0  # of its kind, open

    def text(self, text: str) -> None:
        if self._unseen or not text:
            return
        words = _WORDS.findall(text)
        self._space = self._space or text[0] in " \t\n\f\r"
        if words:
            self._write(markup.plain(" ".join(words)))
            self._space = text[-1] in " \t\n\f\r"

    def _write(self, words: str) -> None:
        if self._lines and self.pieces:
            self.pieces.append("\n" * self._lines)
        elif self._space and self.pieces:
            self.pieces.append(" ")
        self._lines, self._space = 0, False
        self.pieces.append(words)

    def _break(self, lines: int) -> None:
        self._lines = max(self._lines, lines)

    def tag(self, tag: Token) -> None:
        name = tag["name"].lower()
        kind = name.removeprefix("/")
        if self._unseen:
            self._maybe_seen_again(name)
        if not self._unseen:
            self._break(_LINES.get(kind, 0))
            if name[0] == "/":
                self._end(kind)
            else:
                self._start(name, tag)

    def _maybe_seen_again(self, name: str) -> None:
        if name == f"/{self._unseen}":
            self._within -= 1
        elif name == self._unseen:
            self._within += name not in _ENDS_ITSELF
            self._within -= name in _ENDS_ITSELF
        if self._within <= 0:
            self._unseen = ""

    def _start(self, name: str, tag: Token) -> None:
        found = markup.attributes(tag)
        if _is_unseen(name, found):
            self._unseen, self._within = name, 1
        elif name == "br":
            self._lines = min(self._lines + 1, 2)
        elif name == "li":
            self._write("-")
            self._space = True
        elif name in ("td", "th"):
            self._space = True
        elif name == "img" and "alt" in found:
            self.text(markup.value_of(found["alt"]["value"]))
        elif name == "a":
            self._end("a")  # there are no links within links
            address = markup.address_of(found["href"]["value"]) if "href" in found else ""
            self._link = (address, len(self.pieces))

    def _end(self, kind: str) -> None:
        if kind != "a" or not self._link:
            return
        address, first = self._link
        self._link = None
        words = "".join(self.pieces[first:]).strip()
        if address.startswith(("http:", "https:", "mailto:")) and words and not address.endswith(words):
            self._lines, self._space = 0, True
            self._write(f"({address.removeprefix('mailto:')})")


def _is_unseen(name: str, found: dict[str, Token]) -> bool:
    if name in _VOID:
        return False
    style = markup.value_of(found["style"]["value"]) if "style" in found else ""
    return name in _UNSEEN or "hidden" in found or _HIDDEN.search(style) is not None
