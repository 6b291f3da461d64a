"""Pages of what has a slug."""

from __future__ import annotations

from django.core.validators import validate_slug
from django.db.models import QuerySet
from rest_framework.request import Request

from apps.content import listing
from apps.content.listing import Row
from project import paging
from project.paging import NoFilters, Page


def slug_page(request: Request, rows: QuerySet[Row], organization_id: int) -> Page:
    """The page the request asks for, of what the organization sees, by slug."""
    _, errors = paging.filters_of(request, NoFilters)

    def read(key: str | None, backwards: bool, limit: int) -> list[Row]:
        return listing.page(rows, organization_id, key, backwards=backwards, limit=limit)

    return paging.paginate_by(request.query_params, read, column="slug", parse=_slug, errors=errors)


def _slug(text: str) -> str:
    """Raises ValidationError for what is no slug."""
    validate_slug(text)
    return text
