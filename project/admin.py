"""What every page of the admin shares: lists of tables too big to count."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import PAGE_VAR
from django.core.paginator import Paginator
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils.functional import cached_property

_LAST_PAGE = 10_000  # what is further back is found by searching


class AtLeast(int):
    """A count that stopped at the first row of the next page: `AtLeast(101)` reads 100+."""

    def __str__(self) -> str:
        return f"{int(self) - 1}+"


class NoCountPaginator(Paginator):  # type: ignore[type-arg]
    """Reads one row more than the page, so it knows whether there is a next one, and never counts.

    `number` is the page that will be asked for; `count` is exact on the last page and `AtLeast` before it.
    """

    def __init__(self, rows: QuerySet[Any], per_page: int, *options: Any, number: int = 1) -> None:
        super().__init__(rows, per_page, *options)
        self.rows = rows
        self.number = min(max(number, 1), _LAST_PAGE)

    @cached_property
    def count(self) -> int:
        start = (self.number - 1) * self.per_page
        end = start + self.per_page + 1
        known = start + len(self.rows.values_list("pk", flat=True)[start:end])
        return AtLeast(known) if known == end else known


class BaseAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """No counting, no "show all", newest first; and nothing is deleted unless `deletable` says so."""

    deletable = False
    deleted_together = True  # False: one by one only, each by its own rules
    list_per_page = 50
    list_max_show_all = 0
    ordering = ["-pk"]
    show_facets = admin.ShowFacets.NEVER
    show_full_result_count = False

    def get_paginator(
        self, request: HttpRequest, queryset: QuerySet[Any], per_page: int, *options: Any, **named: Any
    ) -> NoCountPaginator:
        """For a list (`p`) or for an autocomplete field's suggestions (`page`)."""
        asked = request.GET.get(PAGE_VAR) or request.GET.get("page") or "1"
        number = int(asked) if asked.isascii() and asked.isdecimal() and len(asked) < 10 else 1
        return NoCountPaginator(queryset, per_page, *options, *named.values(), number=number)

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return self.deletable and super().has_delete_permission(request, obj)

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        actions: dict[str, Any] = super().get_actions(request)
        if not self.deleted_together:
            actions.pop("delete_selected", None)
        return actions
