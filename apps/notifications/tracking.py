"""Opens and clicks of e-mails: our links and our pixel in their HTML, and what those say when they come back.

A token is signed and carries all there is to know: the target and, of a link, the very address it leads to.
So nothing is kept per link, and nobody can make ours lead anywhere that was not in a message.
"""

from __future__ import annotations

import binascii
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import NamedTuple
from uuid import UUID

from django.core.signing import BadSignature, Signer

from apps.content import markup

MAX_URL = 2_000  # characters; a longer one stays as it is: ours would be longer yet
_OPEN, _CLICK = "open", "click"  # what a token of one kind says is nothing in the place of the other


class Click(NamedTuple):
    """What a link of ours says: who was written to, and where it leads."""

    target: UUID
    url: str


def rewrite(html: str, target: UUID, *, public_url: str) -> str:
    """The HTML with its http(s) links leading by us and an invisible picture of ours at its end.

    All else stays to the letter. A link with the attribute data-no-track only loses that. public_url: what
    we are reached by, without a slash at its end.
    """
    pieces, at, body_end = [], 0, len(html)
    for tag in markup.tags(html):
        if tag["name"].lower() in ("a", "area"):
            pieces += [html[at : tag.start()], _led_by_us(tag, target, public_url)]
            at = tag.end()
        elif tag["name"].lower() == "/body":
            body_end = tag.start()
    body_end = max(at, body_end)
    pixel = f"{public_url}/t/o/{_token(_OPEN, target)}.gif"
    picture = f'<img src="{pixel}" width="1" height="1" alt="" style="border:0;width:1px;height:1px">'
    return "".join([*pieces, html[at:body_end], picture, html[body_end:]])


# --- Where the links are -----------------------------------------------------------------------------------


def _led_by_us(tag: re.Match[str], target: UUID, public_url: str) -> str:
    """The tag of a link. Of an attribute that is there twice the first counts, as in browsers."""
    text = tag.string
    attributes = markup.attributes(tag)
    href, marked = attributes.get("href"), attributes.get("data-no-track")
    if marked:
        return text[tag.start() : marked.start()] + text[marked.end() : tag.end()]
    if not href or not (url := _url(href["value"] or "")):
        return tag[0]
    link = f"{public_url}/t/c/{_token(_CLICK, target, url)}"
    first, last = href.span("value")
    return f'{text[tag.start() : first]}"{link}"{text[last : tag.end()]}'


def _url(value: str) -> str:
    """Where this value of an href leads, as browsers read it; empty if that is none of our business."""
    url = markup.address_of(value)
    return url if re.match("https?://.", url, re.IGNORECASE) and len(url) <= MAX_URL else ""


# --- What they say -----------------------------------------------------------------------------------------


def _signer(kind: str) -> Signer:
    return Signer(salt=f"carillon.tracking.{kind}", sep=".")


def _token(kind: str, target: UUID, url: str = "") -> str:
    payload = urlsafe_b64encode(target.bytes + url.encode(errors="replace")).decode().rstrip("=")
    return _signer(kind).sign(payload)


def opened(token: str) -> UUID | None:
    """Whose pixel this is; None if it is none of ours."""
    said = _read(_OPEN, token)
    return said.target if said else None


def clicked(token: str) -> Click | None:
    """What this link of ours says; None if it is none of ours."""
    return _read(_CLICK, token)


def _read(kind: str, token: str) -> Click | None:
    try:
        payload = _signer(kind).unsign(token)
        said = urlsafe_b64decode(payload + "=" * (-len(payload) % 4))
        return Click(UUID(bytes=said[:16]), said[16:].decode())
    except (BadSignature, binascii.Error, ValueError):
        return None
