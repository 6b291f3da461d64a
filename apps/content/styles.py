"""The styles of an e-mail's <style> written to its elements, since some mail programs read them only there.

After rendering, not when a version is published: it takes an HTML parser, and one would move what Liquid
stands between table rows ({% for %}) to before the table. So it costs something for each e-mail, and both
what is rendered and what it becomes are bounded: the parser makes a tree, and hostile HTML makes that very
big, or so deep that the process dies.
"""

from __future__ import annotations

import re

import css_inline

from apps.content import markup
from apps.content.rendering import RenderingError

MAX_TAGS = 10_000
MAX_OPEN = 100  # elements within each other; the parser goes through the stack at some ten thousand
MAX_FORMATTING = 20  # <b> and the like left open: each is opened anew in every paragraph that follows
MAX_WORK = 10_000_000  # tags × characters of CSS
MAX_NAMES = 150  # different selectors with a colon and properties: an element's are looked for one by one
MAX_BYTES = 500_000  # of what comes out
_HARMLESS = 400  # tags: so few do no harm, however they are nested

# Fetches nothing and opens no file. What cannot stand at an element (@media) stays in the <style>.
_INLINER = css_inline.CSSInliner(load_remote_stylesheets=False, keep_at_rules=True)

_STYLE = re.compile(r"<style\b.*?(?:</style[ \t\n\f\r/>]|\Z)", re.IGNORECASE | re.DOTALL)
_NAMES = re.compile(r"[^;{}:]+(?=:)")
_VOID = ("area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr")
_ENDS_ITSELF = {*_VOID, "p", "li", "dt", "dd"}  # before the next of its kind
_FORMATTING = {
    "a",
    "b",
    "big",
    "code",
    "em",
    "font",
    "i",
    "nobr",
    "s",
    "small",
    "strike",
    "strong",
    "tt",
    "u",
}
# Within these the rules are others, and our idea of what is open would be wrong.
_REFUSED = re.compile(
    r"<(frameset|math|noscript|plaintext|script|select|svg|template)(?=[ \t\n\f\r/>])", re.IGNORECASE
)


def inlined(html: str) -> str:
    """The HTML with its styles at its elements; as it is if it has no <style>. Raises RenderingError."""
    css = "".join(_STYLE.findall(html)) if "<style" in html.lower() else ""
    if not css:
        return html
    _check_work(html, css)
    try:
        made = _INLINER.inline(html)
    except ValueError as error:
        raise RenderingError(f"Its styles: {error}"[:300]) from error
    if len(made.encode()) > MAX_BYTES:
        raise RenderingError(f"With its styles at its elements it has more than {MAX_BYTES:,} bytes.")
    return made


def refused_element(html: str) -> str | None:
    """The first element in it that has no place in an e-mail, or None."""
    found = _REFUSED.search(html)
    return found[1].lower() if found else None


def _check_work(html: str, css: str) -> None:
    tags = html.count("<")
    if tags > MAX_TAGS:
        raise RenderingError(f"It has more than {MAX_TAGS:,} tags.")
    if tags * len(css) > MAX_WORK:
        raise RenderingError("It has too many tags for so much CSS.")
    if len({name.strip() for name in _NAMES.findall(css)}) > MAX_NAMES:
        raise RenderingError(f"Its CSS has more than {MAX_NAMES} different properties.")
    if tags > _HARMLESS:
        _check_nesting(html)


def _check_nesting(html: str) -> None:
    """Counts as open what is not closed in its turn: parsers may have closed it, but never the reverse."""
    if name := refused_element(html):
        raise RenderingError(f"<{name}> has no place in an e-mail.")
    opened: list[str] = []
    formatting = 0
    for tag in markup.tags(html):
        name = tag["name"].lower()
        if name in _ENDS_ITSELF:
            continue
        if name[0] != "/":
            opened.append(name)
            formatting += name in _FORMATTING
        elif opened and opened[-1] == name[1:]:
            formatting -= opened.pop() in _FORMATTING
        if len(opened) > MAX_OPEN or formatting > MAX_FORMATTING:
            raise RenderingError("Too many elements are within each other, or never closed.")
