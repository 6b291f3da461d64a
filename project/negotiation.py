"""Content negotiation of an API that speaks one language."""

from __future__ import annotations

from collections.abc import Iterable

from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request

_ANYTHING = {"", "*/*", "application/json"}


class JsonNegotiation(DefaultContentNegotiation):
    """DRF's, which parses every Accept header anew; what nearly every client sends needs no parsing."""

    def select_renderer(
        self, request: Request, renderers: Iterable[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        first = next(iter(renderers))
        if first.media_type == "application/json" and request.META.get("HTTP_ACCEPT", "") in _ANYTHING:
            return first, "application/json"
        chosen: tuple[BaseRenderer, str] = super().select_renderer(request, renderers, format_suffix)
        return chosen
