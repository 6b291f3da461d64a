from __future__ import annotations

import asyncio
import os
import select
import smtplib
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
import pytest_asyncio

from apps.integrations.simulator import FAULTS, Entry, Ledger, Simulator
from apps.integrations.simulator.faults import Script, Scripted, magic
from apps.integrations.simulator.outbox import STATIC

from .suite import ledger_of

XSS = "<script>alert(1)</script>"


def entry(number: int, **parts: str) -> Entry:
    usual = {"channel": "email", "id": f"id{number}", "target": f"t{number}", "attempt": f"a{number}"}
    usual |= {"address": f"p{number}@example.com", "subject": "S", "text": "T", "html": ""}
    return {**usual, **parts}  # type: ignore[typeddict-item]


def mail(*addresses: str, text: str = "Hello") -> dict[str, Any]:
    return {
        "from": {"email": "a@carillon.example"},
        "subject": "S",
        "content": [{"type": "text/plain", "value": text}],
        "personalizations": [{"to": [{"email": address}]} for address in addresses],
    }


@pytest_asyncio.fixture
async def client(simulator: Simulator) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(simulator.url, headers={"Authorization": "Bearer SG.x"}) as session:
        yield session


async def post(client: aiohttp.ClientSession, *addresses: str, **parts: str) -> int:
    async with client.post("/v3/mail/send", json=mail(*addresses, **parts)) as answer:
        return answer.status


class TestLedger:
    def test_a_restart_goes_on_where_it_was(self, tmp_path: Path) -> None:
        path = tmp_path / "ledger"
        first = Ledger(path)
        first.append("sendgrid", [entry(n) for n in range(3)])
        first.close()
        second = Ledger(path)
        second.append("twilio", [entry(3, channel="sms")])
        assert second.seq == 4
        assert second.providers == {"sendgrid": 3, "twilio": 1}
        assert second.channels == {"email": 3, "sms": 1}
        lines = [orjson.loads(line) for line in path.read_bytes().splitlines()]
        assert [(line["seq"], line["target"]) for line in lines] == [(n + 1, f"t{n}") for n in range(4)]
        assert list(second.recent) == lines

    def test_a_line_a_crash_left_unfinished_is_cut_off(self, tmp_path: Path) -> None:
        path = tmp_path / "ledger"
        first = Ledger(path)
        first.append("sendgrid", [entry(0)])
        first.close()
        with path.open("ab") as file:
            file.write(b'{"seq": 2, "prov')
        second = Ledger(path)
        second.append("sendgrid", [entry(1)])
        assert [orjson.loads(line)["seq"] for line in path.read_bytes().splitlines()] == [1, 2]

    def test_two_cannot_write_to_one_file(self, tmp_path: Path) -> None:
        first = Ledger(tmp_path / "ledger")
        with pytest.raises(BlockingIOError):
            Ledger(tmp_path / "ledger")
        first.close()

    @pytest.mark.parametrize("chunk", [1, 7, 500, 2_500])
    def test_reading_from_anywhere(self, tmp_path: Path, chunk: int) -> None:
        ledger = Ledger(tmp_path / "ledger")
        for start in range(0, 5_000, chunk):
            ledger.append("p", [entry(n) for n in range(start, min(start + chunk, 5_000))])
        ledger.close()
        for some in (ledger, Ledger(tmp_path / "ledger")):
            for after in (0, 1, 499, 999, 1_000, 1_001, 2_499, 2_500, 4_998, 4_999, 5_000, 9_999):
                found = [orjson.loads(line)["seq"] for line in some.read(after, 3).splitlines()]
                assert found == [seq for seq in range(after + 1, after + 4) if seq <= 5_000]


class TestFaults:
    @pytest.mark.parametrize("fault", FAULTS)
    def test_magic(self, fault: str) -> None:
        assert magic(f"anna+sim-{fault}@example.com") == fault
        assert magic(f"+150055509{FAULTS[fault]}") == fault
        assert magic(f"+1212 55509{FAULTS[fault]}".replace(" ", "")) == fault

    @pytest.mark.parametrize("address", ["anna@example.com", "a+sim-x@example.com", "+15005550199", ""])
    def test_no_magic(self, address: str) -> None:
        assert magic(address) == "accept"

    def test_reject_wins_then_the_first(self) -> None:
        addresses = ["a@x", "a+sim-error@x", "a+sim-hang@x"]
        assert Script().next_fault("p", addresses) == "error"
        assert Script().next_fault("p", [*addresses, "a+sim-reject@x"]) == "reject"

    def test_scripted(self) -> None:
        script = Script()
        past = time.monotonic() - 1
        script.scripted = [
            Scripted("other", "drop", 1),
            Scripted("p", "hang", 5, until=past),
            Scripted("*", "error", 2),
        ]
        assert [script.next_fault("p", ["a@x"]) for _ in range(3)] == ["error", "error", "accept"]
        assert script.next_fault("other", ["a@x"]) == "drop"


@pytest.mark.asyncio
class TestApi:
    async def test_ledger_and_counts(self, simulator: Simulator, client: aiohttp.ClientSession) -> None:
        assert await post(client, "a@example.com", "b@example.com") == 202
        async with client.get("/ledger", params={"after": 1, "limit": 5}) as answer:
            [line] = (await answer.text()).splitlines()
            assert orjson.loads(line)["address"] == "b@example.com"
        async with client.get("/counts") as answer:
            assert await answer.json() == {
                "accepted": 2,
                "providers": {"sendgrid": 2},
                "channels": {"email": 2},
                "requests": {"sendgrid": 1},
                "receipts": {},
            }

    async def test_the_line_is_written_before_the_answer(
        self, simulator: Simulator, client: aiohttp.ClientSession
    ) -> None:
        assert await post(client, "a@example.com") == 202
        assert b'"a@example.com"' in simulator.ledger.path.read_bytes()

    async def test_a_scripted_fault(self, client: aiohttp.ClientSession) -> None:
        async with client.post("/faults", json={"provider": "*", "fault": "error", "times": 2}) as answer:
            assert answer.status == 200
        assert [await post(client, "a@example.com") for _ in range(3)] == [503, 503, 202]

    async def test_clearing_faults(self, client: aiohttp.ClientSession) -> None:
        wanted = {"provider": "sendgrid", "fault": "error", "times": 2, "seconds": 60}
        await client.post("/faults", json=wanted)
        async with client.delete("/faults") as answer:
            assert answer.status == 204
        assert await post(client, "a@example.com") == 202

    @pytest.mark.parametrize(
        "body", [b"", b"[]", b'{"fault": "error"}', b'{"provider": "*", "fault": "no", "times": 1}']
    )
    async def test_a_wrong_fault(self, client: aiohttp.ClientSession, body: bytes) -> None:
        async with client.post("/faults", data=body) as answer:
            assert answer.status == 400

    async def test_latency(self, client: aiohttp.ClientSession) -> None:
        async with client.post("/latency", json={"provider": "sendgrid", "ms": 80}) as answer:
            assert await answer.json() == {"sendgrid": 80}
        start = time.monotonic()
        assert await post(client, "a@example.com") == 202
        assert time.monotonic() - start >= 0.08

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"from": None}, "from.email"),
            ({"content": []}, "content"),
            ({"content": [{"type": "text/plain", "value": ""}]}, "content"),
            ({"personalizations": []}, "personalizations"),
            ({"personalizations": [{"to": []}]}, "personalizations.0.to.0.email"),
            ({"personalizations": [{"to": [{"email": "a@x"}]}] * 2}, "personalizations.1"),
            ({"subject": ""}, "personalizations.0.subject"),
            (
                {"personalizations": [{"to": [{"email": "a@x"}], "substitutions": {"-t-": "ü" * 5_000}}]},
                "personalizations.0.substitutions",
            ),
        ],
    )
    async def test_a_wrong_request(
        self, simulator: Simulator, client: aiohttp.ClientSession, change: dict[str, Any], field: str
    ) -> None:
        async with client.post("/v3/mail/send", json={**mail("a@example.com"), **change}) as answer:
            assert answer.status == 400
            assert (await answer.json())["errors"][0]["field"] == field
        assert simulator.ledger.seq == 0

    @pytest.mark.parametrize(
        ("method", "path"), [("GET", "/v3/mail/send"), ("POST", "/ledger"), ("GET", "/x")]
    )
    async def test_what_is_not_there(self, client: aiohttp.ClientSession, method: str, path: str) -> None:
        async with client.request(method, path) as answer:
            assert answer.status == 404

    async def test_a_bulk_request_may_be_large(self, client: aiohttp.ClientSession) -> None:
        assert await post(client, "a@example.com", text="x" * 5_000_000) == 202

    async def test_values_are_substituted_again_as_the_vendor_does(
        self, simulator: Simulator, client: aiohttp.ClientSession
    ) -> None:
        request = mail("a@example.com", text="-a-")
        request["personalizations"][0]["substitutions"] = {"-a-": "x -b-", "-b-": "y"}
        async with client.post("/v3/mail/send", json=request) as answer:
            assert answer.status == 202
        assert ledger_of(simulator)[0]["text"] == "x y"


class TestPage:
    @pytest.mark.asyncio
    async def test_nothing_that_arrived_is_in_the_page_itself(
        self, simulator: Simulator, client: aiohttp.ClientSession
    ) -> None:
        await post(client, "a@example.com", text=XSS)
        async with client.get("/") as answer:
            assert answer.content_type == "text/html"
            assert "script-src" not in answer.headers["Content-Security-Policy"]  # so default-src holds
            assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
            assert XSS not in await answer.text()
        async with client.get("/messages") as answer:
            assert answer.content_type == "application/json"
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert (await answer.json())["messages"][0]["text"] == XSS

    def test_the_script_escapes(self) -> None:
        script = (STATIC / "outbox.js").read_text()
        for forbidden in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
            assert forbidden not in script
        assert 'setAttribute("sandbox", "")' in script

    @pytest.mark.asyncio
    async def test_it_is_told_how_a_mail_is_unsubscribed_and_may_send_that(
        self, client: aiohttp.ClientSession
    ) -> None:
        request = mail("a@example.com")
        headers = {
            "List-Unsubscribe": "<https://a.example/u/x>",
            "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
        }
        request["personalizations"][0]["headers"] = {**headers, "X-Other": "y"}
        async with client.post("/v3/mail/send", json=request) as answer:
            assert answer.status == 202
        async with client.get("/messages") as answer:
            assert (await answer.json())["messages"][0]["headers"] == headers
        async with client.get("/") as answer:
            assert "form-action http: https:;" in answer.headers["Content-Security-Policy"]

    @pytest.mark.asyncio
    async def test_its_files_are_there(self, client: aiohttp.ClientSession) -> None:
        async with client.get("/") as answer:
            page = await answer.text()
        assert "http://" not in page and "https://" not in page
        for name, kind in (("/outbox.css", "text/css"), ("/outbox.js", "text/javascript")):
            assert f'"{name}"' in page
            async with client.get(name) as answer:
                assert (answer.status, answer.content_type) == (200, kind)

    @pytest.mark.asyncio
    async def test_filters(self, simulator: Simulator, client: aiohttp.ClientSession) -> None:
        simulator.ledger.append("p", [entry(1), entry(2, channel="sms"), entry(3)])
        for query, expected in (
            ({}, [3, 2, 1]),
            ({"channel": "sms"}, [2]),
            ({"address": "P3@"}, [3]),
            ({"after": "1", "channel": "email"}, [3]),
        ):
            async with client.get("/messages", params=query) as answer:
                assert [line["seq"] for line in (await answer.json())["messages"]] == expected

    @pytest.mark.asyncio
    async def test_it_keeps_the_last_five_hundred(self, simulator: Simulator) -> None:
        simulator.ledger.append("p", [entry(n) for n in range(1_200)])
        assert [line["seq"] for line in simulator.ledger.recent] == list(range(701, 1_201))


async def start(ledger: Path, *options: str) -> tuple[asyncio.subprocess.Process, str, int]:
    """The command line in a process of its own; its URL and SMTP port once it is ready."""
    command = [sys.executable, "-m", "apps.integrations.simulator", "--port", "0", "--smtp-port", "0"]
    process = await asyncio.create_subprocess_exec(
        *command, "--ledger", str(ledger), *options, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    ready, url, _, smtp = (await asyncio.wait_for(process.stdout.readline(), 20)).decode().split()
    assert ready == "ready"
    return process, url, int(smtp.rpartition(":")[2])


@pytest.mark.asyncio
class TestProcess:
    async def test_what_was_answered_survives_a_kill(self, tmp_path: Path) -> None:
        process, url, smtp_port = await start(tmp_path / "ledger")
        async with aiohttp.ClientSession(url, headers={"Authorization": "Bearer SG.x"}) as client:
            assert await post(client, "a@example.com") == 202
        await asyncio.to_thread(mail_by_smtp, smtp_port)
        process.kill()
        await process.wait()
        process, url, _ = await start(tmp_path / "ledger")
        async with aiohttp.ClientSession(url) as client, client.get("/counts") as answer:
            assert (await answer.json())["providers"] == {"sendgrid": 1, "smtp": 1}
        process.terminate()
        assert await process.wait() == 0

    async def test_it_ends_with_its_parent(self, tmp_path: Path) -> None:
        options = ["-m", "apps.integrations.simulator", "--port", "0", "--parent-death", "--ledger"]
        script = (
            f"import subprocess, sys; command = [sys.executable, *{options}, {str(tmp_path / 'ledger')!r}];"
            "child = subprocess.Popen(command, stdout=subprocess.PIPE);"
            "child.stdout.readline(); print(child.pid)"
        )
        parent = await asyncio.create_subprocess_exec(
            sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE
        )
        assert parent.stdout is not None
        output = await asyncio.wait_for(parent.stdout.read(), 20)
        await parent.wait()
        await asyncio.wait_for(asyncio.to_thread(wait_for_end, int(output)), 10)


def mail_by_smtp(port: int) -> None:
    with smtplib.SMTP("127.0.0.1", port) as server:
        server.sendmail("a@carillon.example", ["b@example.com"], "Subject: S\r\n\r\nHello\r\n")


def wait_for_end(pid: int) -> None:
    """Until that process has ended. A pidfd becomes readable then."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    select.select([handle], [], [])
    os.close(handle)
