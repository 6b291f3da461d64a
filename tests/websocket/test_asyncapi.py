"""docs/inbox-asyncapi.yaml: sound in itself, complete, and true of the frames that a socket sends."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import jsonschema
import pytest
import yaml
from django.conf import settings

from apps.notifications.inbox_changes import Kind
from apps.notifications.inbox_schemas import MAX_IDS
from apps.websocket import messages
from apps.websocket.messages import Close
from apps.websocket.relay import relay
from project import ids
from tests.websocket.support import Client, change, deliver, new_user, opened, recall, token

DOCS = settings.BASE_DIR / "docs"
DESCRIBED: dict[str, Any] = yaml.safe_load((DOCS / "inbox-asyncapi.yaml").read_text())
PROTOCOL = (DOCS / "inbox-protocol.md").read_text()


# --- Sound: https://www.asyncapi.com/docs/reference/specification/v3.0.0 -----------------------------------


def _object(required: str = "", **properties: Any) -> dict[str, Any]:
    """An object of the specification with these fields, as far as we use them, and no others."""
    names = {name: {} if schema is ... else schema for name, schema in properties.items()}
    return {
        "type": "object",
        "properties": names,
        "required": required.split(),
        "additionalProperties": False,
    }


def _map(of: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "propertyNames": {"pattern": r"^[\w.-]+$"}, "additionalProperties": of}


TEXT = {"type": "string", "minLength": 1}
REFERENCE = _object("$ref") | {"properties": {"$ref": {"type": "string", "pattern": "^#/"}}}
REFERENCES = {"type": "array", "minItems": 1, "uniqueItems": True, "items": REFERENCE}
SCHEMA = {"$ref": "http://json-schema.org/draft-07/schema#"}  # a Schema Object is a superset of it
INFO = _object(
    "title version", title=TEXT, version=TEXT, description=TEXT, license=_object("name", name=TEXT)
)
VARIABLE = _object(default=TEXT, description=TEXT)
SERVER = _object("host protocol", host=TEXT, protocol={"enum": ["ws", "wss"]}, variables=_map(VARIABLE))
BINDING = _object(
    method={"enum": ["GET", "POST"]}, query=SCHEMA, headers=SCHEMA, bindingVersion={"const": "0.1.0"}
)
CHANNEL = _object(
    "address messages", address=TEXT, description=TEXT, messages=_map(REFERENCE), bindings=_object(ws=BINDING)
)
REPLY = _object("messages", channel=REFERENCE, messages=REFERENCES)
OPERATION = _object(
    "action channel messages",
    action={"enum": ["send", "receive"]},
    summary=TEXT,
    channel=REFERENCE,
    messages=REFERENCES,
    reply=REPLY,
)
MESSAGE = _object("name summary payload", name=TEXT, summary=TEXT, correlationId=REFERENCE, payload=SCHEMA)
CORRELATION = _object("location", description=TEXT, location={"pattern": r"^\$message\.(header|payload)#/"})
DOCUMENT = _object(
    "asyncapi info defaultContentType servers channels operations components",
    asyncapi={"const": "3.0.0"},
    info=INFO,
    defaultContentType={"const": "application/json"},
    servers=_map(SERVER),
    channels=_map(CHANNEL),
    operations=_map(OPERATION),
    components=_object(messages=_map(MESSAGE), schemas=_map(SCHEMA), correlationIds=_map(CORRELATION)),
)


def test_it_is_built_as_the_specification_says() -> None:
    jsonschema.Draft7Validator(DOCUMENT).validate(DESCRIBED)


def nodes(part: Any = DESCRIBED) -> Iterator[dict[str, Any]]:
    """Every object in the document."""
    if isinstance(part, dict):
        yield part
    for inner in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        yield from nodes(inner)


def resolved(reference: str) -> Any:
    """What it leads to within the document."""
    found: Any = DESCRIBED
    for step in reference.removeprefix("#/").split("/"):
        found = found[step]
    return found


def test_every_reference_leads_somewhere() -> None:
    references = [node["$ref"] for node in nodes() if "$ref" in node]
    assert len(references) > 50
    assert all(isinstance(resolved(reference), dict) for reference in references)


def test_every_component_is_used() -> None:
    references = {node["$ref"] for node in nodes() if "$ref" in node}
    for kind, components in DESCRIBED["components"].items():
        assert {f"#/components/{kind}/{name}" for name in components} <= references


def test_every_operation_is_about_messages_of_its_channel() -> None:
    named = set()
    for operation in DESCRIBED["operations"].values():
        for part in (operation, operation.get("reply", operation)):
            prefix = f"{part['channel']['$ref']}/messages/"
            found = {one["$ref"] for one in part["messages"]}
            assert all(one.startswith(prefix) for one in found)
            named |= found
    assert named == {
        f"#/channels/inbox/messages/{name}" for name in DESCRIBED["channels"]["inbox"]["messages"]
    }


def test_every_payload_is_exact() -> None:
    for name, message in DESCRIBED["components"]["messages"].items():
        for node in nodes(message["payload"]):
            if node.get("type") == "object":
                assert node["additionalProperties"] is False, name
                assert set(node["required"]) <= node["properties"].keys(), name


# --- Complete ----------------------------------------------------------------------------------------------


def payloads(*, from_server: bool) -> dict[str, dict[str, Any]]:
    """The schema of each type that this side sends, in this document."""
    found: dict[str, dict[str, Any]] = {}
    for operation in DESCRIBED["operations"].values():
        sent = operation["messages"] if (operation["action"] == "send") is from_server else []
        replies = operation.get("reply", {}).get("messages", []) if from_server else []
        for reference in [*sent, *replies]:
            message = resolved(resolved(reference["$ref"])["$ref"])
            kind = message["payload"]["properties"]["type"]
            for type in kind.get("enum", [kind.get("const")]):
                found[type] = message["payload"]
    return found


def section(heading: str, level: str = "###") -> str:
    """What the protocol's page says under this heading."""
    found = re.search(rf"^{level} {re.escape(heading)}$(.*?)(?=^##|\Z)", PROTOCOL, re.DOTALL | re.MULTILINE)
    assert found
    return found[1]


def types_in(table: str) -> set[str]:
    """The types that the first column of a table names: what stands in backticks and not in braces."""
    first = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    return set(re.findall(r"`([a-z_]+)`", " ".join(first)))


def test_it_has_the_frames_of_the_protocol() -> None:
    assert payloads(from_server=True).keys() == types_in(section("Frames from the server"))


def test_it_has_the_messages_of_the_protocol() -> None:
    others = {"mark_read", "mark_unread", "mark_seen", "unread_count"}
    text = section("Messages from the client")
    assert all(f"`{name}`" in text for name in others)
    assert payloads(from_server=False).keys() == types_in(text) | others
    assert payloads(from_server=False).keys() >= set(Kind)


def test_it_has_the_errors_of_the_protocol() -> None:
    described = set(payloads(from_server=True)["error"]["properties"]["code"]["enum"])
    codes = re.findall(r"`([a-z_]+)`", section("Errors"))
    assert described == set(codes) - {"detail", "up_to", "counts"}
    assert described > messages.BAD


def test_it_has_the_close_codes() -> None:
    table = re.findall(r"^\| (\d{4}) \|", DESCRIBED["info"]["description"], re.MULTILINE)
    assert [int(code) for code in table] == sorted(Close)
    assert table == re.findall(r"^\| (\d{4}) \|", section("Close codes"), re.MULTILINE)


def test_it_has_the_limits() -> None:
    schemas = DESCRIBED["components"]["schemas"]
    assert schemas["ids"]["maxItems"] == MAX_IDS
    assert schemas["ref"]["maxLength"] == messages.MAX_REF
    assert f"{messages.MAX_BYTES // 1024} KiB" in DESCRIBED["info"]["description"]


# --- True --------------------------------------------------------------------------------------------------


def problem(message: dict[str, Any], *, from_server: bool) -> str | None:
    """What the description says is wrong with it."""
    schema = payloads(from_server=from_server)[message["type"]] | {"components": DESCRIBED["components"]}
    checker = jsonschema.FormatChecker()  # draft 7's own does not know "uuid"
    errors = list(jsonschema.Draft7Validator(schema, format_checker=checker).iter_errors(message))
    return errors[0].message if errors else None


class Session:
    """A socket whose messages and frames are all held against the description."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.frames: list[dict[str, Any]] = []

    async def take(self, type: str) -> dict[str, Any]:
        """The frames up to one of this type."""
        while True:
            frame = await self.client.any_frame()
            assert problem(frame, from_server=True) is None, frame
            self.frames.append(frame)
            if frame["type"] == type:
                return frame

    async def ask(self, answer: str, **message: Any) -> dict[str, Any]:
        """Send a message that is as described."""
        assert problem(message, from_server=False) is None, message
        await self.client.send(**message)
        return await self.take(answer)


async def entered(user: Any, **fields: Any) -> Session:
    session = Session(Client())
    assert (await session.client.connect())[0]
    await session.ask("hello", type="authenticate", token=token(user), **fields)
    return session


@pytest.mark.django_db(transaction=True)
async def test_every_frame_of_a_socket_is_as_described() -> None:
    user = await new_user()
    button = '[{"id": "yes", "label": "Yes", "link": "/yes"}]'
    first, second = await deliver(user, 2, actions=button, link="/a", avatar="https://example.com/a.png")
    session = await entered(user, since=0, ref="in")
    await session.take("subscribed")
    await session.take("notification")
    await session.take("notification")
    await change(user, Kind.READ, second)
    await session.take("changed")
    await recall(second)
    await session.take("recalled")
    until = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    one = str(first)
    for message in (
        {"type": "read", "ids": [one], "ref": "a"},
        {"type": "mark_unread", "id": one},
        {"type": "seen", "up_to": 1},
        {"type": "archive", "id": one},
        {"type": "unarchive", "id": one},
        {"type": "snooze", "id": one, "until": until},
        {"type": "unsnooze", "id": one},
        {"type": "act", "id": one, "action": "yes", "ref": ""},
    ):
        await session.ask("ack", **message)
    for name in ("counts", "unread_count"):
        await session.ask("counts", type=name, ref="c")
    await session.ask("pong", type="ping")
    await session.ask("authenticated", type="authenticate", token=token(user))
    for code, message in (
        ("not_found", {"type": "read", "id": str(ids.uuid7()), "ref": "n"}),
        ("sequence_ahead", {"type": "read", "up_to": 2**40}),
        ("not_found", {"type": "act", "id": one, "action": "no"}),
        ("since_ahead", {"type": "subscribe", "since": 2**40}),
    ):
        assert (await session.ask("error", **message))["code"] == code
    await session.client.send(type="nonsense")
    assert (await session.take("error"))["code"] == "unknown_type"
    relay().compare_soon()
    await session.take("heartbeat")
    await deliver(user, 1_001)
    await session.ask("resync", type="subscribe", since=1)
    assert {frame["type"] for frame in session.frames} == payloads(from_server=True).keys()
    await session.client.leave()


ID = "0199aaaa-0000-7000-8000-000000000001"
WRONG = [
    {"type": "authenticate", "token": 5},
    {"type": "authenticate", "token": "a", "since": "1"},
    {"type": "subscribe"},
    {"type": "subscribe", "since": None},
    {"type": "subscribe", "since": -1},
    {"type": "read"},
    {"type": "read", "ids": []},
    {"type": "read", "ids": ["x"]},
    {"type": "read", "ids": [ID], "up_to": 1},
    {"type": "read", "ids": [ID], "id": ID},
    {"type": "read", "id": ID, "ref": 5},
    {"type": "read", "id": ID, "ref": "x" * 65},
    {"type": "read", "up_to": "1"},
    {"type": "read", "up_to": 1, "unknown": 1},
    {"type": "snooze", "id": ID},
    {"type": "act", "id": ID},
    {"type": "act", "action": "yes"},
]


@pytest.mark.parametrize("message", WRONG, ids=str)
@pytest.mark.django_db(transaction=True)
async def test_what_is_described_as_wrong_is_refused(message: dict[str, Any]) -> None:
    assert problem(message, from_server=False) is not None
    client = await opened(await new_user())
    await client.send(**message)
    if message["type"] == "authenticate" and "since" not in message:
        assert await client.closed() == Close.UNAUTHENTICATED
    else:
        assert (await client.frame())["code"] in {"invalid", "invalid_since"}
        await client.leave()


COUNTS = {"head": 1, "unread": 0, "unseen": 0}


@pytest.mark.parametrize(
    "frame",
    [
        {"type": "pong", "more": 1},
        {"type": "authenticated"},
        {"type": "resync", "counts": COUNTS | {"more": 1}},
        {"type": "resync", "counts": {"head": 1}},
        {"type": "recalled", "sequence": 1, "counts": COUNTS, "item": {"id": ID, "title": "a"}},
        {"type": "recalled", "sequence": 1, "counts": COUNTS, "item": {"id": "a"}},
        {"type": "error", "code": "other", "detail": "a"},
        {"type": "error", "code": "since_ahead", "detail": "a"},
        {"type": "error", "code": "invalid", "detail": "a", "counts": COUNTS},
    ],
    ids=str,
)
def test_a_frame_that_is_not_as_described_is_noticed(frame: dict[str, Any]) -> None:
    assert problem(frame, from_server=True) is not None
