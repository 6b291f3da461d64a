"""Requests held against the vendors' own OpenAPI descriptions (specs/)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

SPECS = Path(__file__).parent / "specs"


def validate(instance: Any, spec: str, pointer: str) -> None:
    """Raise unless the instance fits the schema at that JSON pointer of the description."""
    document = _as_json_schema(json.loads((SPECS / spec).read_text()))
    Draft202012Validator({**document, "$ref": f"#{pointer}"}).validate(instance)


def at(spec: str, *path: str) -> Any:
    """What the description has at that path."""
    found = json.loads((SPECS / spec).read_text())
    for step in path:
        found = found[step]
    return found


def _as_json_schema(node: Any) -> Any:
    """OpenAPI 3.0's `nullable` in the words of JSON Schema."""
    if isinstance(node, list):
        return [_as_json_schema(item) for item in node]
    if not isinstance(node, dict):
        return node
    converted = {name: _as_json_schema(value) for name, value in node.items() if name != "nullable"}
    if node.get("nullable") is True and "type" in node:
        converted["type"] = [node["type"], "null"]
    return converted
