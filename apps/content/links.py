"""Where links and pictures of templates may lead: to the web or, within an app, to a path of its own."""

from __future__ import annotations

import re
from collections.abc import Iterator

from apps.content import markup

MAX_LINK = 2_000  # characters

_WEB = re.compile(r"https?://[^/?#\s]", re.IGNORECASE)
_PATH = re.compile(r"/(?![/\\])")
_MAIL = re.compile(r"(?:mailto|tel|sms|cid):.", re.IGNORECASE)
_SCHEME = re.compile(r"([a-z][a-z0-9+.\-]*):", re.IGNORECASE)
_UNSAFE = re.compile(r"[\x00-\x20\x7f]")  # browsers leave some of them out, and then it is another link

LIQUID = "\ufffc"  # stands for what Liquid will fill in
_LIQUID = re.compile(r"\{\{.*?\}\}|\{%.*?%\}", re.DOTALL)


def link_error(link: str, what: str = "A link") -> str | None:
    """Why it is no link for a push or in-app message, or None. what: how the sentence begins."""
    if len(link) > MAX_LINK:
        return f"{what} may have {MAX_LINK:,} characters at most."
    if not _UNSAFE.search(link) and (_WEB.match(link) or _PATH.match(link)):
        return None
    return f"{what} begins with https://, http:// or one “/”{_instead(link)}."


def _instead(link: str) -> str:
    scheme = _SCHEME.match(link)
    is_web = scheme is not None and scheme[1].lower() in ("http", "https")
    return f", not with “{scheme[1][:30]}:”" if scheme and not is_web else ""


def in_html(source: str) -> Iterator[str]:
    """What is wrong with the links and pictures of an e-mail's HTML; of a template's, with those that do not
    begin with Liquid. There is no page that a relative one could be relative to."""
    filled = _LIQUID.sub(LIQUID, source)
    for tag in markup.tags(filled):
        if tag["name"][0] == "/":
            continue
        attributes = markup.attributes(tag)
        for name in ("action", "background", "href", "src"):
            if name in attributes and (wrong := _wrong(tag, markup.address_of(attributes[name]["value"]))):
                yield f"{name} of <{tag['name'][:30]}>: {wrong}"


def _wrong(tag: markup.Token, address: str) -> str | None:
    if not address or address.startswith((LIQUID, "#")) or _WEB.match(address) or _MAIL.match(address):
        return None
    if tag["name"].lower() == "img" and address[:11].lower() == "data:image/":
        return None
    if re.match(rf"https?://{LIQUID}", address, re.IGNORECASE):
        return None
    scheme = _SCHEME.match(address)
    if scheme:
        return f"“{scheme[1][:30]}:” is not for e-mails."
    return "It must begin with https:// or http://; there is no page it could be relative to."
