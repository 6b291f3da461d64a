"""What a client may send, and what becomes of it."""

from __future__ import annotations

import pytest

from apps.websocket.messages import Close
from tests.websocket.support import Client, new_user, opened

pytestmark = [pytest.mark.asyncio, pytest.mark.django_db(transaction=True)]

BAD = {
    "{": "not_json",
    "[]": "no_type",
    "1": "no_type",
    '{"type": 1}': "no_type",
    '{"type": "dance"}': "unknown_type",
    '{"type": "subscribe"}': "invalid_since",
    '{"type": "subscribe", "since": -1}': "invalid_since",
    '{"type": "subscribe", "since": "1"}': "invalid_since",
    '{"type": "subscribe", "since": true}': "invalid_since",
    '{"type": "subscribe", "since": 1.5}': "invalid_since",
    '{"type": "subscribe", "since": 9223372036854775808}': "invalid_since",
}


@pytest.mark.parametrize(("text", "code"), BAD.items())
async def test_a_bad_message_is_answered_and_the_third_closes(text, code):
    client = await opened(await new_user())
    for _ in range(3):
        await client.socket.send_to(text_data=text)
        frame = await client.frame()
        assert (frame["type"], frame["code"]) == ("error", code)
    assert await client.closed() == Close.BAD_MESSAGE


async def test_bytes_are_answered_with_an_error():
    client = await opened(await new_user())
    await client.socket.send_to(bytes_data=b"\x00\xff")
    assert (await client.frame())["code"] == "binary"
    await client.leave()


async def test_nothing_is_replayed_before_authentication():
    client = Client()
    await client.connect()
    await client.send(type="subscribe", since=0)
    assert (await client.frame())["code"] == "not_authenticated"
    await client.leave()


@pytest.mark.parametrize("size", [16 * 1024 + 1, 200_000])
async def test_a_large_message_closes(size):
    client = await opened(await new_user())
    await client.socket.send_to(text_data="x" * size)
    assert await client.closed() == Close.TOO_MUCH


async def test_many_messages_close():
    client = await opened(await new_user())
    for _ in range(80):
        await client.send(type="ping")
    pongs = 0
    while (output := await client.socket.receive_output(timeout=5))["type"] == "websocket.send":
        pongs += "pong" in output["text"]
    assert output["code"] == Close.TOO_MUCH
    assert 59 <= pongs <= 64  # authenticate was one


async def test_another_path_is_refused():
    client = Client(path="/ws/elsewhere/")
    assert (await client.connect())[0] is False
