"""A payload against its template's JSON Schema (draft 2020-12), every fault named at once.

Somebody hostile may have written either. Patterns run on an engine that takes linear time, nothing is
fetched, and `schema_faults` refuses what would multiply: a schema that refers to itself, or grows by its
references.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import islice
from typing import Any, NamedTuple, Protocol
from urllib.parse import unquote

import jsonschema_rs
import orjson

from project.api import field_error

MAX_SCHEMA_BYTES = 64_000
MAX_APPLIED = 2_000  # keywords of a schema, those behind each `$ref` counted each time
MAX_FAULTS = 50  # told at once
MAX_TRIED = 20_000  # keywords × values that are looked through for all faults: each one found costs 40 µs
MAX_DEPTH = 64
DRAFT = "https://json-schema.org/draft/2020-12/schema"

_REMEMBERED = 500  # validators; as many as versions
_PATTERN_BYTES = 1_000_000  # of a compiled pattern
_PATTERNS = jsonschema_rs.RegexOptions(size_limit=_PATTERN_BYTES, dfa_size_limit=_PATTERN_BYTES)


class Fault(NamedTuple):
    """What is wrong with a payload, or with what an author wrote.

    path: as in `order.items[2].price`; empty: all of it. code: of docs/api.md. detail: for people; it does
    not repeat the value.
    """

    path: str
    code: str
    detail: str


def faults_of(schema: Mapping[str, Any], payload: Mapping[str, Any]) -> list[Fault]:
    """What the schema finds wrong with the payload, at most 50 faults; only the first where looking for all
    would take long. The schema has no faults of its own."""
    if not schema:
        return []
    validator = _validator(orjson.dumps(schema))
    if validator.is_valid(payload):
        return []
    told = (fault for error in _errors(validator, schema, payload) for fault in _faults(error))
    return list(islice(dict.fromkeys(told), MAX_FAULTS))


class Wording(Protocol):
    """What says which payloads are right: a version, published or not."""

    @property
    def schema(self) -> Mapping[str, Any]: ...
    @property
    def defaults(self) -> Mapping[str, Any]: ...


def told(wording: Wording, payload: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """What a request with this payload is refused for, as errors of its fields."""
    for fault in faults_of(wording.schema, {**wording.defaults, **payload}):
        yield field_error(f"payload.{fault.path}" if fault.path else "payload", fault.code, fault.detail)


def _errors(
    validator: jsonschema_rs.Validator, schema: Mapping[str, Any], payload: Mapping[str, Any]
) -> Iterable[jsonschema_rs.ValidationError]:
    """All, or the first: the library makes all of them before it gives one."""
    if _values(payload) * _applied(schema) <= MAX_TRIED:
        return validator.iter_errors(payload)
    try:
        validator.validate(payload)
    except jsonschema_rs.ValidationError as error:
        return [error]
    return []


def _values(value: object) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + sum(map(_values, inner))


@lru_cache(_REMEMBERED)
def _validator(schema: bytes) -> jsonschema_rs.Validator:
    return jsonschema_rs.Draft202012Validator(
        schema.decode(), offline=True, validate_formats=True, pattern_options=_PATTERNS
    )


# --- What is told of a payload -----------------------------------------------------------------------------

_TYPES = {
    "array": "a list",
    "boolean": "true or false",
    "integer": "a whole number",
    "null": "null",
    "number": "a number",
    "object": "an object",
    "string": "a text",
}
# The keyword that was not kept: the code, and the sentence, with what the schema says.
_TOLD: dict[str, tuple[str, Callable[[dict[str, Any]], str]]] = {
    "type": ("invalid", lambda said: f"It must be {' or '.join(_TYPES[name] for name in said['types'])}."),
    "enum": ("invalid", lambda said: f"It must be one of {_shown(said['options'])}."),
    "const": ("invalid", lambda said: f"It must be {_shown([said['expected_value']])}."),
    "format": ("invalid", lambda said: f"It must be of the form “{said['format'][:50]}”."),
    "pattern": ("invalid", lambda said: f"It must match {said['pattern'][:100]}."),
    "multipleOf": ("invalid", lambda said: f"It must be a multiple of {said['multiple_of']}."),
    "minLength": ("invalid", lambda said: f"It must have {said['limit']} characters at least."),
    "maxLength": ("too_long", lambda said: f"It may have {said['limit']} characters at most."),
    "minItems": ("too_few", lambda said: f"It must have {said['limit']} items at least."),
    "maxItems": ("too_many", lambda said: f"It may have {said['limit']} items at most."),
    "minProperties": ("too_few", lambda said: f"It must have {said['limit']} fields at least."),
    "maxProperties": ("too_many", lambda said: f"It may have {said['limit']} fields at most."),
    "minimum": ("out_of_range", lambda said: f"It must be {said['limit']} at least."),
    "maximum": ("out_of_range", lambda said: f"It may be {said['limit']} at most."),
    "exclusiveMinimum": ("out_of_range", lambda said: f"It must be more than {said['limit']}."),
    "exclusiveMaximum": ("out_of_range", lambda said: f"It must be less than {said['limit']}."),
    "uniqueItems": ("invalid", lambda said: "No item may be there twice."),
    "propertyNames": ("invalid", lambda said: "It has a field whose name is not allowed."),
}
_OTHER = ("invalid", lambda said: "It is not what the template's schema wants.")


def _faults(error: jsonschema_rs.ValidationError) -> Iterator[Fault]:
    path, kind = error.instance_path, error.kind
    if isinstance(kind, jsonschema_rs.ValidationErrorKind.Required):
        yield Fault(path_of([*path, kind.property]), "required", "The template needs this variable.")
    elif isinstance(
        kind,
        jsonschema_rs.ValidationErrorKind.AdditionalProperties
        | jsonschema_rs.ValidationErrorKind.UnevaluatedProperties,
    ):
        for name in kind.unexpected[:MAX_FAULTS]:
            yield Fault(path_of([*path, name]), "unknown_field", "The template has no such variable.")
    elif isinstance(kind, jsonschema_rs.ValidationErrorKind.FalseSchema):
        yield Fault(path_of(path), "unknown_field", "The template has no such variable.")
    else:
        code, detail = _TOLD.get(kind.name, _OTHER)
        yield Fault(path_of(path), code, detail(kind.as_dict()))


def _shown(values: Sequence[Any]) -> str:
    shown = ", ".join(orjson.dumps(value).decode()[:50] for value in values[:20])
    return f"{shown}, …" if len(values) > 20 else shown


def path_of(steps: Sequence[str | int]) -> str:
    """Steps into JSON as people write them: `order.items[2].price`."""
    path = ""
    for step in steps:
        path += f"[{step}]" if isinstance(step, int) else f".{step}" if path else step
    return path


# --- What is told of a schema ------------------------------------------------------------------------------


class _Refused(Exception):
    """The schema cannot be used; the message is for its author."""


def schema_faults(schema: object) -> list[Fault]:
    """What is wrong with a schema, for its author; paths are within it. An empty one takes any payload."""
    try:
        _check_shape(schema)
        _applied(schema)
        _validator(orjson.dumps(schema))
    except _Refused as error:
        return [Fault("", "invalid", str(error))]
    except jsonschema_rs.ValidationError as error:
        return [Fault(path_of(error.instance_path), "invalid", _why(error))]
    except ValueError as error:
        return [Fault("", "invalid", f"It is not a JSON Schema: {error}"[:300])]
    return []


def _check_shape(schema: object) -> None:
    if not isinstance(schema, dict):
        raise _Refused("A schema is a JSON object.")
    try:
        size = len(orjson.dumps(schema))
    except TypeError:  # half of a surrogate pair, or deeper than the library goes
        raise _Refused("It is nested too deep, or has text in it that is none.") from None
    if size > MAX_SCHEMA_BYTES:
        raise _Refused(f"It may have {MAX_SCHEMA_BYTES:,} bytes at most.")
    if schema and schema.get("type") != "object":
        raise _Refused('A payload is an object: the schema must say "type": "object".')
    if schema.get("$schema", DRAFT) != DRAFT:
        raise _Refused(f"The only $schema there is here is {DRAFT}.")


def _why(error: jsonschema_rs.ValidationError) -> str:
    if isinstance(error.kind, jsonschema_rs.ValidationErrorKind.Format):
        return "This pattern does not compile or is too big. There is no look-around and no back-reference."
    return f"This is not JSON Schema: {error.message}"[:300]


# Where a schema has others in it (JSON Schema 2020-12, sections 8.2.4 and 10, and Validation, 8.5).
_ONE = (
    *("additionalProperties", "contains", "contentSchema", "else", "if", "items", "not", "propertyNames"),
    *("then", "unevaluatedItems", "unevaluatedProperties"),
)
_SEVERAL = ("allOf", "anyOf", "oneOf", "prefixItems")
_NAMED = ("dependentSchemas", "patternProperties", "properties")
# They change what a reference means, so that nobody could say how much there is to do.
_REFUSED = ("$anchor", "$dynamicAnchor", "$dynamicRef", "$id", "$recursiveRef", "$vocabulary")


def _applied(schema: object) -> int:
    """How many keywords a value may meet. Raises _Refused."""
    counter = _Counter(schema)
    counter.count(schema, (), 0)
    return counter.applied


class _Counter:
    """Counts the keywords a value may meet, following references. Raises _Refused if they are too many."""

    def __init__(self, root: object) -> None:
        self._root = root
        self.applied = 0

    def count(self, schema: object, behind: tuple[str, ...], depth: int) -> None:
        if not isinstance(schema, dict):
            return
        self.applied += len(schema) + 1
        if self.applied > MAX_APPLIED or depth > MAX_DEPTH:
            raise _Refused(
                f"It has more than {MAX_APPLIED:,} keywords in it, or more than {MAX_DEPTH} levels."
            )
        for name in _REFUSED:
            if name in schema:
                raise _Refused(f"{name} is not supported here: use $defs, and $ref to #/$defs/….")
        for inner in _inner(schema):
            self.count(inner, behind, depth + 1)
        if "$ref" in schema:
            self._follow(schema["$ref"], behind, depth)

    def _follow(self, reference: object, behind: tuple[str, ...], depth: int) -> None:
        if not isinstance(reference, str) or not reference.startswith("#"):
            raise _Refused("A $ref leads within the schema: #/$defs/…. Others are never fetched.")
        if reference in behind or reference == "#":
            raise _Refused("A schema may not refer to itself.")
        self.count(self._at(reference), (*behind, reference), depth + 1)

    def _at(self, reference: str) -> object:
        """What a JSON pointer (RFC 6901) leads to."""
        found = self._root
        for step in reference[1:].split("/")[1:]:
            found = found.get(_unquoted(step)) if isinstance(found, dict) else None
        if not isinstance(found, dict | bool):
            raise _Refused("It has a $ref that leads to no schema.")
        return found


def _inner(schema: dict[str, Any]) -> Iterator[object]:
    for name in _ONE:
        yield schema.get(name)
    for name in _SEVERAL:
        yield from schema.get(name) or () if isinstance(schema.get(name), list) else ()
    for name in _NAMED:
        yield from schema[name].values() if isinstance(schema.get(name), dict) else ()


def _unquoted(step: str) -> str:
    return unquote(step).replace("~1", "/").replace("~0", "~")
