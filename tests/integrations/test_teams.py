from __future__ import annotations

from typing import Any

import orjson
import pytest
from yarl import URL

from apps.integrations.contract import (
    Accepted,
    Outcome,
    PermanentFailure,
    TemporaryFailure,
    UnknownOutcome,
)
from apps.integrations.simulator import Simulator
from apps.integrations.teams.adapter import LARGEST, TeamsAdapter

from .conftest import Canned, Running
from .suite import SECRET, AdapterContract, ledger_of, send

LOCAL = "127.0.0.0/8"
DEAD = PermanentFailure("invalid_address", address_is_dead=True)
FORBIDDEN = PermanentFailure("forbidden_address")
OFF = b"Could not execute workflow 'ab' trigger 'manual' with state 'Disabled': trigger is not enabled."
QUERY = f"api-version=1&sp=%2Ftriggers%2Fmanual%2Frun&sv=1.0&sig={SECRET}-_x"


def error(code: str, message: bytes = b"No.") -> bytes:
    return orjson.dumps({"error": {"code": code, "message": message.decode()}})


class TestTeams(AdapterContract):
    channel = "chat"
    opted_out = None

    @pytest.fixture(autouse=True)
    def _workflows_of_the_simulator(self, simulator: Simulator) -> None:
        self.url = simulator.url

    def build(self, simulator: Simulator, **options: Any) -> TeamsAdapter:
        return TeamsAdapter(**{"base_url": simulator.url, "allow": LOCAL, **options})

    def build_at_closed_port(self, port: int) -> TeamsAdapter:
        self.url = f"http://127.0.0.1:{port}"
        return TeamsAdapter(base_url=self.url, allow=LOCAL)

    def address(self, fault: str, number: int) -> str:
        workflow = f"sim-{fault}" if fault else f"86ffea{number}"
        return f"{self.url}/workflows/{workflow}/triggers/manual/paths/invoke?sig={SECRET}"

    @pytest.mark.asyncio
    async def test_the_request(self, running: Running) -> None:
        adapter = self.build(running.simulator)
        text = "First line\nSecond <line>\n\n \n- An item\r\n- Another\n"
        message = self.message(text=text, subject="Grüße")
        [outcome] = await send(adapter, [message])
        await adapter.close()
        [entry] = ledger_of(running.simulator)
        assert outcome == Accepted(entry["id"])
        assert entry["text"] == "First line\nSecond <line>\n\n- An item\n- Another"
        [seen] = running.seen
        assert seen.headers["Content-Type"] == "application/json; charset=utf-8"
        assert seen.headers["Carillon-Target"] == str(message.target)
        assert seen.headers["Carillon-Attempt"] == str(message.attempt)
        near = {"spacing": "None"}
        assert orjson.loads(seen.body) == {
            "type": "message",
            "attachments": [
                {
                    "contentType": "application/vnd.microsoft.card.adaptive",
                    "contentUrl": None,
                    "content": {
                        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                        "type": "AdaptiveCard",
                        "version": "1.4",
                        "msteams": {"width": "Full"},
                        "body": [
                            {
                                "type": "TextBlock",
                                "text": "Grüße",
                                "weight": "Bolder",
                                "size": "Medium",
                                "wrap": True,
                            },
                            {"type": "TextBlock", "text": "First line", "wrap": True},
                            {"type": "TextBlock", "text": "Second <line>", "wrap": True, **near},
                            {"type": "TextBlock", "text": "- An item", "wrap": True},
                            {"type": "TextBlock", "text": "- Another", "wrap": True, **near},
                        ],
                    },
                }
            ],
        }

    @pytest.mark.asyncio
    async def test_the_signature_arrives_whole(self, running: Running) -> None:
        adapter = self.build(running.simulator)
        base = f"{self.url}/powerautomate/automations/direct/workflows/86ff/triggers/manual/paths/invoke"
        assert isinstance((await send(adapter, [self.message(address=f"{base}?{QUERY}")]))[0], Accepted)
        await adapter.close()
        [entry] = ledger_of(running.simulator)
        assert URL(entry["address"]).query == URL(f"{base}?{QUERY}").query

    @pytest.mark.parametrize(
        ("host", "served"),
        [
            ("prod-161.westeurope.logic.azure.com", True),
            ("prod-161.westeurope.logic.azure.com:443", True),
            ("ab12.09.environment.api.powerplatform.com:443", True),
            ("prod-161.westeurope.logic.azure.com:8443", False),
            ("logic.azure.com", False),
            ("evillogic.azure.com", False),
            ("a.logic.azure.com.evil.example", False),
            ("acme.webhook.office.com", False),
            ("evil.example", False),
        ],
    )
    def test_only_workflows_are_called(self, host: str, served: bool) -> None:
        hooks = TeamsAdapter()._hooks
        assert hooks._serves(URL(f"https://{host}/workflows/ab")) is served
        assert not hooks._serves(URL(f"http://{host}/workflows/ab"))

    @pytest.mark.parametrize(("allow", "base_url"), [("", ""), ("", "{url}"), (LOCAL, "")])
    @pytest.mark.asyncio
    async def test_without_leave_no_inner_host_is_called(
        self, running: Running, allow: str, base_url: str
    ) -> None:
        adapter = self.build(running.simulator, allow=allow, base_url=base_url.format(url=self.url))
        assert await send(adapter, [self.message()]) == [FORBIDDEN]
        await adapter.close()
        assert running.seen == []

    @pytest.mark.parametrize(
        ("status", "headers", "body", "outcome"),
        [
            (202, {"x-ms-workflow-run-id": "0858"}, b"", Accepted("0858")),
            (202, {}, b"", Accepted()),
            (200, {"x-ms-workflow-run-id": "0858"}, b'{"posted":1}', Accepted("0858")),
            (200, {}, b"", Accepted()),
            (200, {}, b"1", Accepted()),
            (200, {"Content-Type": "text/html; charset=utf-8"}, b"<p>Hello", UnknownOutcome("bad_answer")),
            (
                200,
                {"Retry-After": "5"},
                b"Webhook message delivery failed with error: Teams endpoint returned HTTP error 429",
                TemporaryFailure("rate_limited", 5.0),
            ),
            (200, {}, b"Teams endpoint returned HTTP error 413 with", PermanentFailure("too_large")),
            (200, {}, b"Teams endpoint returned HTTP error 404 with", DEAD),
            (200, {}, b"Teams endpoint returned HTTP error 504 with", UnknownOutcome("gateway")),
            (400, {}, error("WorkflowTriggerIsNotEnabled", OFF), PermanentFailure("workflow_off")),
            (400, {}, error("WorkflowTriggerIsNotEnabled", OFF.replace(b"Disabled", b"Deleted")), DEAD),
            (400, {}, error("TriggerInputSchemaMismatch"), PermanentFailure("rejected")),
            (400, {}, error("SomethingNew"), PermanentFailure("rejected")),
            (400, {}, b'{"error":"no"}', PermanentFailure("rejected")),
            (400, {}, b'{"error":{"code":"WorkflowTriggerIsNotEnabled"}}', PermanentFailure("workflow_off")),
            (400, {}, b"[]", PermanentFailure("rejected")),
            (401, {}, error("DirectApiAuthorizationRequired"), PermanentFailure("unauthorized")),
            (401, {}, b"", PermanentFailure("unauthorized")),
            (403, {}, b"", PermanentFailure("unauthorized")),
            (404, {}, error("WorkflowNotFound"), DEAD),
            (404, {}, b"", DEAD),
            (410, {}, b"", DEAD),
            (413, {}, b"", PermanentFailure("too_large")),
            (429, {"Retry-After": "30"}, b"", TemporaryFailure("rate_limited", 30.0)),
            (500, {}, b"", TemporaryFailure("unavailable")),
            (502, {}, error("WorkflowNotFound"), UnknownOutcome("gateway")),
            (307, {"Location": "http://127.0.0.1/"}, b"", TemporaryFailure("misconfigured", 60.0)),
        ],
    )
    @pytest.mark.asyncio
    async def test_each_answer(
        self, canned: Canned, status: int, headers: dict[str, str], body: bytes, outcome: Outcome
    ) -> None:
        canned.status, canned.headers, canned.body = status, headers, body
        adapter = TeamsAdapter(base_url=canned.url, allow=LOCAL)
        self.url = canned.url
        assert await send(adapter, [self.message()]) == [outcome]
        await adapter.close()

    @pytest.mark.asyncio
    async def test_a_url_without_its_signature(self, simulator: Simulator) -> None:
        adapter = self.build(simulator)
        message = self.message(address=self.address("", 1).partition("?")[0])
        assert await send(adapter, [message]) == [PermanentFailure("unauthorized")]
        await adapter.close()

    @pytest.mark.parametrize(
        ("parts", "outcome"),
        [
            ({"subject": "Only a subject", "text": ""}, None),
            ({"subject": "", "text": "Only a text"}, None),
            ({"subject": " ", "text": " \n\n"}, PermanentFailure("invalid_content")),
            ({"text": "ü" * (LARGEST // 2 - 700)}, None),
            ({"text": "ü" * (LARGEST // 2)}, PermanentFailure("too_large")),
            ({"text": "x\n" * 600}, PermanentFailure("too_large")),
        ],
    )
    @pytest.mark.asyncio
    async def test_what_fits(self, running: Running, parts: dict[str, str], outcome: Outcome | None) -> None:
        adapter = self.build(running.simulator)
        [got] = await send(adapter, [self.message(**parts)])
        await adapter.close()
        assert isinstance(got, Accepted) if outcome is None else got == outcome
        assert len(running.seen) == (outcome is None)
