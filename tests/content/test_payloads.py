"""Payloads against schemas: each fault with its place, and nothing that costs more than it should."""

from __future__ import annotations

import time
from typing import Any

import pytest

from apps.content import payloads
from apps.content.payloads import Fault, faults_of, schema_faults

TEXT = {"type": "string"}


def of(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


def told(schema: dict[str, Any], payload: dict[str, Any]) -> list[tuple[str, str]]:
    return sorted((fault.path, fault.code) for fault in faults_of(schema, payload))


@pytest.mark.parametrize(
    ("schema", "payload", "expected"),
    [
        ({}, {"whatever": 1}, []),
        (of(a=TEXT), {"a": "x", "b": 1}, []),
        (of(a=TEXT), {"a": 1}, [("a", "invalid")]),
        ({"type": "object", "required": ["a", "b"]}, {}, [("a", "required"), ("b", "required")]),
        (
            {**of(a=TEXT), "additionalProperties": False},
            {"a": "x", "b": 1, "c": 2},
            [("b", "unknown_field"), ("c", "unknown_field")],
        ),
        ({**of(a=TEXT), "unevaluatedProperties": False}, {"b": 1}, [("b", "unknown_field")]),
        (of(a=False), {"a": 1}, [("a", "unknown_field")]),
        (of(a={"maxLength": 2}), {"a": "xyz"}, [("a", "too_long")]),
        (of(a={"minLength": 2}), {"a": "x"}, [("a", "invalid")]),
        (of(a={"maxItems": 1}), {"a": [1, 2]}, [("a", "too_many")]),
        (of(a={"minItems": 1}), {"a": []}, [("a", "too_few")]),
        (of(a={"maximum": 1}), {"a": 2}, [("a", "out_of_range")]),
        (of(a={"exclusiveMinimum": 1}), {"a": 1}, [("a", "out_of_range")]),
        (of(a={"enum": [1, "b"]}), {"a": 2}, [("a", "invalid")]),
        (of(a={"pattern": "^x"}), {"a": "yx"}, [("a", "invalid")]),
        (of(a={"format": "date-time"}), {"a": "tomorrow"}, [("a", "invalid")]),
        (of(a={"anyOf": [TEXT, {"type": "null"}]}), {"a": 1}, [("a", "invalid")]),
        (of(a={"propertyNames": {"maxLength": 1}}), {"a": {"bb": 1}}, [("a", "invalid")]),
        ({"type": "object", "dependentRequired": {"a": ["b"]}}, {"a": 1}, [("b", "required")]),
    ],
)
def test_faults(schema: dict[str, Any], payload: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    assert schema_faults(schema) == []
    assert told(schema, payload) == expected


def test_every_fault_at_once_with_its_place() -> None:
    item = {**of(price={"type": "number", "maximum": 10}), "required": ["name"]}
    schema = {**of(order=of(items={"type": "array", "items": item})), "required": ["customer"]}
    payload = {"order": {"items": [{"name": "x"}, {"price": "9"}, {"name": "y", "price": 11}]}}
    assert told(schema, payload) == [
        ("customer", "required"),
        ("order.items[1].name", "required"),
        ("order.items[1].price", "invalid"),
        ("order.items[2].price", "out_of_range"),
    ]


def test_no_sentence_repeats_the_value() -> None:
    schema = of(a={"pattern": "^x"}, b={"enum": [1]}, c={"maxLength": 1}, d={"type": "integer"}, e=False)
    payload = dict.fromkeys("abcde", "a-secret")
    assert len(faults_of(schema, payload)) == 5
    assert "secret" not in str(faults_of(schema, payload))


def test_a_definition_may_be_used_twice() -> None:
    schema = {**of(a={"$ref": "#/$defs/x"}, b={"$ref": "#/$defs/x"}), "$defs": {"x": TEXT}}
    assert schema_faults(schema) == []
    assert told(schema, {"a": 1, "b": 2}) == [("a", "invalid"), ("b", "invalid")]


def test_at_most_fifty_faults_are_told() -> None:
    assert len(faults_of(of(a={"items": TEXT}), {"a": [1] * 200})) == payloads.MAX_FAULTS


def test_of_a_hostile_payload_the_first_fault_is_told() -> None:
    schema = of(a={"type": "array", "items": {"allOf": [TEXT] * 200}})
    assert schema_faults(schema) == []
    started = time.thread_time()
    assert faults_of(schema, {"a": [1] * 100_000}) == [Fault("a[0]", "invalid", "It must be a text.")]
    assert time.thread_time() - started < 2  # all of them would take 20 minutes


def test_a_pattern_takes_linear_time() -> None:
    schema = of(a={"pattern": "^(a+)+$"})
    started = time.thread_time()
    assert told(schema, {"a": "a" * 100_000 + "b"}) == [("a", "invalid")]
    assert time.thread_time() - started < 1


_DOUBLED = {
    f"d{level}": {"allOf": [{"$ref": f"#/$defs/d{level + 1}"}, {"$ref": f"#/$defs/d{level + 1}"}]}
    for level in range(40)
}
_DEEP: dict[str, Any] = {}
for _ in range(100):
    _DEEP = {"properties": {"a": _DEEP}}


@pytest.mark.parametrize(
    ("schema", "path", "word"),
    [
        ([], "", "JSON object"),
        (True, "", "JSON object"),
        ({"type": "array"}, "", '"type": "object"'),
        ({"properties": {}}, "", '"type": "object"'),
        (of(a={"type": "strin"}), "properties.a.type", "not JSON Schema"),
        (of(a={"pattern": "(a"}), "properties.a.pattern", "compile"),
        (of(a={"pattern": "(?=a)"}), "properties.a.pattern", "look-around"),
        (of(a={"pattern": "(a{1000}){1000}"}), "properties.a.pattern", "too big"),
        (of(a={"$ref": "https://example.com/schema.json"}), "", "never fetched"),
        (of(a={"$ref": "file:///etc/passwd"}), "", "never fetched"),
        (of(a={"$ref": "#/$defs/none"}), "", "no schema"),
        (of(a={"$ref": "#"}), "", "itself"),
        ({**of(), "$defs": {"a": of(b={"$ref": "#/$defs/a"})}, "$ref": "#/$defs/a"}, "", "itself"),
        ({**of(a={"$ref": "#/$defs/d0"}), "$defs": {**_DOUBLED, "d40": TEXT}}, "", "keywords"),
        (of(a=_DEEP), "", "levels"),
        (of(a={"$dynamicRef": "#a"}), "", "$dynamicRef"),
        (of(a={"$id": "https://example.com/"}), "", "$id"),
        ({**of(), "$schema": "http://json-schema.org/draft-04/schema#"}, "", "$schema"),
        (of(a={"description": "x" * 64_000}), "", "64,000 bytes"),
        ({**of(), "$schema": 5}, "", "$schema"),
        ({**of(), "x": "\ud800"}, "", "text"),
        ({"type": "object", "properties": 5}, "properties", "not JSON Schema"),
    ],
)
def test_a_schema_that_is_none(schema: object, path: str, word: str) -> None:
    started = time.thread_time()
    (fault,) = schema_faults(schema)
    assert (fault.path, fault.code) == (path, "invalid")
    assert word in fault.detail
    assert time.thread_time() - started < 2


def test_what_only_looks_like_a_reference_is_none() -> None:
    schema = {**of(**{"$ref": TEXT}), "default": {"$ref": "https://example.com"}}
    assert schema_faults(schema) == []
    assert told(schema, {"$ref": 1}) == [("$ref", "invalid")]
