"""Nobody gets at the API without credentials, but for what is listed here as open."""

from __future__ import annotations

import re
from collections.abc import Iterator
from uuid import UUID

import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

# The description, for whoever has an address and no key yet; and the receipts, which providers sign instead.
RECEIPTS = "/api/receipts/a/"
OPEN = {"/api/schema/", "/api/docs/", RECEIPTS}
UNSUBSCRIBE = "/u/a/b"  # so is that of its link to unsubscribe
TRACKING = {"/t/c/a/b", "/t/o/a.gif"}  # of e-mails: the token in the address is all that is needed
_EXAMPLES = {"uuid": str(UUID(int=1)), "int": "1", "slug": "a", "str": "a", "path": "a/b"}
_CONVERTER = re.compile(r"<(?:(\w+):)?\w+>")
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


def routes(patterns: list[URLPattern | URLResolver], before: str = "/") -> Iterator[str]:
    """Every route, with an example in the place of each parameter."""
    for pattern in patterns:
        path = before + _CONVERTER.sub(lambda match: _EXAMPLES[match[1] or "str"], str(pattern.pattern))
        if isinstance(pattern, URLResolver):
            yield from routes(pattern.url_patterns, path)
        else:
            yield path


def api_routes() -> list[str]:
    return sorted({path for path in routes(get_resolver().url_patterns) if path.startswith("/api/")})


@pytest.mark.django_db
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("path", [path for path in api_routes() if path not in OPEN])
def test_without_credentials_there_is_only_401(path: str, method: str) -> None:
    response = Client(raise_request_exception=False).generic(method, path)
    assert response.status_code == 401


@pytest.mark.django_db
@pytest.mark.parametrize("method", METHODS)
def test_receipts_are_taken_of_configured_providers_by_post_only(method: str) -> None:
    response = Client(raise_request_exception=False).generic(method, RECEIPTS)
    assert response.status_code == (404 if method == "POST" else 405)


def test_outside_of_the_api_and_the_admin_there_are_only_links_and_pixels_of_mails() -> None:
    others = {
        path for path in routes(get_resolver().url_patterns) if not path.startswith(("/api/", "/admin/"))
    }
    assert {path for path in others if "^" not in path} == {*TRACKING, UNSUBSCRIBE}


@pytest.mark.parametrize("method", METHODS)
def test_a_link_to_unsubscribe_that_is_not_signed_leads_nowhere(method: str) -> None:
    response = Client(raise_request_exception=False).generic(method, UNSUBSCRIBE)
    assert response.status_code == (404 if method in ("GET", "HEAD", "POST") else 405)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("path", sorted(TRACKING))  # in the same order in every process
def test_a_link_that_is_not_signed_leads_nowhere(path: str, method: str) -> None:
    response = Client(raise_request_exception=False).generic(method, path)
    assert response.status_code == (404 if method in ("GET", "HEAD") else 405)


def test_the_routes_are_found_and_the_open_ones_exist() -> None:
    found = set(api_routes())
    assert found >= OPEN and "/api/notifications/" in found and len(found) > len(OPEN) + 5
