from __future__ import annotations

import re
import textwrap
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import orjson
import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from apps.integrations.contract import (
    Accepted,
    Outcome,
    PermanentFailure,
    TemporaryFailure,
    UnknownOutcome,
)
from apps.integrations.simulator import Simulator
from apps.integrations.webpush.adapter import BY_STATUS, LONGEST_TTL, WebPushAdapter
from apps.integrations.webpush.encryption import LARGEST_PLAINTEXT, encrypt, point
from apps.integrations.webpush.simulated import AUTH, PRIVATE_KEY, decrypt, subscription
from apps.integrations.webpush.vapid import PERIOD, Vapid, decoded, encoded

from .conftest import Canned, Running
from .suite import SECRET, AdapterContract, send

SUBJECT = "mailto:push@carillon.example"
VAPID_KEY = SECRET + "A" * 31  # so that the suite finds it, should it ever be logged
RAW = decoded(VAPID_KEY)
PAGE = Path(__file__).parents[2] / "docs/providers/webpush.md"
PAST = "Wed, 21 Oct 2015 07:28:00 GMT"


def private(raw: bytes) -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(int.from_bytes(raw, "big"), ec.SECP256R1())


def pem(key: Any) -> str:
    return str(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode())


def opened(authorization: str, audience: str) -> tuple[dict[str, Any], str]:
    """The claims of a VAPID header, verified, and the key it names."""
    scheme, _, rest = authorization.partition(" ")
    token, key = (part.strip().split("=", 1) for part in rest.split(","))
    assert (scheme, token[0], key[0]) == ("vapid", "t", "k")
    public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), decoded(key[1]))
    return jwt.decode(token[1], public, algorithms=["ES256"], audience=audience), key[1]


class TestWebPush(AdapterContract):
    channel = "push"
    rejected = PermanentFailure("gone", address_is_dead=True)
    opted_out = None
    url = ""

    def build(self, simulator: Simulator, **options: Any) -> WebPushAdapter:
        return self.build_at(simulator.url, **options)

    def build_at(self, url: str, **options: Any) -> WebPushAdapter:
        self.url = f"{url}/webpush"
        options = {"private_key": VAPID_KEY, "subject": SUBJECT, "allow": "127.0.0.0/8", **options}
        return WebPushAdapter(**options)

    def build_at_closed_port(self, port: int) -> WebPushAdapter:
        return self.build_at(f"http://127.0.0.1:{port}")

    def address(self, fault: str, number: int) -> str:
        return subscription(f"{self.url}/anna{number}" + (f"/sim-{fault}-3" if fault else ""))

    @pytest.mark.asyncio
    async def test_a_nonsense_answer_is_unknown(self, simulator: Simulator) -> None:
        """It is not: of a push service's answer only status and Location count."""
        assert await self.one(simulator, "nonsense") == Accepted("")
        assert simulator.ledger.seq == 1

    @pytest.mark.asyncio
    async def test_what_is_sent(self, running: Running) -> None:
        adapter = self.build(running.simulator)
        message = self.message(subject="Hello", text="Grüße 🎉", data={"url": "/orders/7"})
        [outcome] = await send(adapter, [message])
        await adapter.close()
        assert isinstance(outcome, Accepted)
        assert outcome.provider_message_id.startswith(f"{running.simulator.url}/webpush-messages/")
        [seen] = running.seen
        assert seen.path == "/webpush/anna0"
        assert seen.headers["Content-Encoding"] == "aes128gcm"
        assert seen.headers["TTL"] == str(LONGEST_TTL)
        assert seen.headers["Urgency"] == "normal"
        assert seen.headers["Topic"] == message.idempotency_key.replace("-", "")
        assert len(seen.headers["Topic"]) == 32
        claims, key = opened(seen.headers["Authorization"], running.simulator.url)
        assert claims["sub"] == SUBJECT and claims["aud"] == running.simulator.url
        assert 0 < claims["exp"] - time.time() <= 12 * 3600
        assert key == encoded(point(private(RAW).public_key()))
        assert b"Hello" not in seen.body
        assert decrypt(seen.body) == {
            "title": "Hello",
            "body": "Grüße 🎉",
            "data": {"url": "/orders/7"},
            "target": str(message.target),
            "attempt": str(message.attempt),
        }

    @pytest.mark.asyncio
    async def test_no_two_bodies_share_salt_or_key(self, running: Running) -> None:
        adapter = self.build(running.simulator)
        message = self.message()
        await send(adapter, [message])
        await send(adapter, [message])
        await adapter.close()
        first, second = running.seen
        assert first.body[:16] != second.body[:16] and first.body[21:86] != second.body[21:86]
        assert first.headers["Topic"] == second.headers["Topic"]

    @pytest.mark.parametrize(
        ("left", "least", "most"),
        [
            (timedelta(hours=1), 3_500, 3_600),
            (timedelta(days=90), LONGEST_TTL, LONGEST_TTL),
            (timedelta(seconds=-5), 0, 0),
        ],
    )
    @pytest.mark.asyncio
    async def test_how_long_it_may_wait(
        self, running: Running, left: timedelta, least: int, most: int
    ) -> None:
        adapter = self.build(running.simulator)
        outcomes = await send(adapter, [self.message(expires_at=datetime.now(UTC) + left, urgent=True)])
        await adapter.close()
        assert isinstance(outcomes[0], Accepted)
        assert least <= int(running.seen[0].headers["TTL"]) <= most
        assert running.seen[0].headers["Urgency"] == "high"

    @pytest.mark.parametrize("over", [0, 1])
    @pytest.mark.asyncio
    async def test_the_largest_that_fits(self, running: Running, over: int) -> None:
        adapter = self.build(running.simulator)
        empty = self.message(subject="", text="")
        await send(adapter, [empty])
        room = LARGEST_PLAINTEXT - len(orjson.dumps(decrypt(running.seen[0].body)))
        [outcome] = await send(adapter, [self.message(subject="", text="x" * (room + over))])
        await adapter.close()
        if over:
            assert outcome == PermanentFailure("too_large") and len(running.seen) == 1
        else:
            assert isinstance(outcome, Accepted) and len(running.seen[1].body) == 4_096

    @pytest.mark.parametrize(("status", "outcome"), BY_STATUS.items())
    @pytest.mark.asyncio
    async def test_each_code(self, canned: Canned, status: int, outcome: Outcome) -> None:
        canned.status = status
        adapter = self.build_at(canned.url)
        assert await send(adapter, [self.message()]) == [outcome]
        await adapter.close()

    @pytest.mark.parametrize(
        ("status", "headers", "outcome"),
        [
            (200, {}, Accepted("")),
            (201, {"Location": "https://push.example/m/1"}, Accepted("https://push.example/m/1")),
            (201, {"Location": "x" * 300}, Accepted("x" * 200)),
            (202, {}, Accepted("")),
            (204, {}, UnknownOutcome("bad_answer")),
            (307, {"Location": "https://elsewhere.example"}, TemporaryFailure("misconfigured", 60.0)),
            (401, {}, TemporaryFailure("unauthorized", 60.0)),
            (403, {}, TemporaryFailure("unauthorized", 60.0)),
            (406, {"Retry-After": "9"}, TemporaryFailure("rate_limited", 9.0)),
            (413, {}, PermanentFailure("too_large")),
            (429, {"Retry-After": "3"}, TemporaryFailure("rate_limited", 3.0)),
            (500, {}, TemporaryFailure("unavailable")),
            (503, {"Retry-After": PAST}, TemporaryFailure("unavailable", 0.0)),
            (504, {}, UnknownOutcome("gateway")),
        ],
    )
    @pytest.mark.asyncio
    async def test_each_answer(
        self, canned: Canned, status: int, headers: dict[str, str], outcome: Outcome
    ) -> None:
        canned.status, canned.headers = status, headers
        adapter = self.build_at(canned.url)
        assert await send(adapter, [self.message()]) == [outcome]
        await adapter.close()

    @pytest.mark.parametrize(
        "change",
        [
            {"endpoint": None},
            {"endpoint": 7},
            {"keys": None},
            {"keys": {}},
            {"keys": {"p256dh": "AAAA", "auth": AUTH}},
            {"keys": {"p256dh": encoded(b"\x04" + bytes(64)), "auth": AUTH}},  # not on the curve
            {"keys": {"p256dh": encoded(point(private(RAW).public_key())), "auth": "AAAA"}},
            {"keys": {"p256dh": encoded(point(private(RAW).public_key())), "auth": "ä"}},
            {"keys": {"p256dh": 1, "auth": 2}},
        ],
    )
    @pytest.mark.asyncio
    async def test_what_is_no_subscription(self, running: Running, change: dict[str, Any]) -> None:
        adapter = self.build(running.simulator)
        good = orjson.loads(self.address("", 0))
        address = orjson.dumps(good | change).decode()
        assert await send(adapter, [self.message(address=address)]) == [
            PermanentFailure("invalid_address", address_is_dead=True)
        ]
        await adapter.close()
        assert running.seen == []

    @pytest.mark.parametrize(
        "address", ["", "{}", "[]", "null", '"x"', "https://push.example/", "\ud800", "{"]
    )
    @pytest.mark.asyncio
    async def test_what_is_not_even_json(self, running: Running, address: str) -> None:
        adapter = self.build(running.simulator)
        assert await send(adapter, [self.message(address=address)]) == [
            PermanentFailure("invalid_address", address_is_dead=True)
        ]
        await adapter.close()
        assert running.seen == []

    @pytest.mark.asyncio
    async def test_keys_in_the_other_alphabet_and_padded(self, simulator: Simulator) -> None:
        adapter = self.build(simulator)
        value = orjson.loads(self.address("", 0))
        for name, text in value["keys"].items():
            value["keys"][name] = text.replace("-", "+").replace("_", "/") + "=" * (-len(text) % 4)
        [outcome] = await send(adapter, [self.message(address=orjson.dumps(value).decode())])
        await adapter.close()
        assert isinstance(outcome, Accepted)

    @pytest.mark.parametrize(
        "endpoint", ["http://10.0.0.1/x", "ftp://127.0.0.1/", "not a url", "", "https://[::]/"]
    )
    @pytest.mark.asyncio
    async def test_an_endpoint_that_may_not_be_called(self, running: Running, endpoint: str) -> None:
        adapter = self.build(running.simulator)
        message = self.message(address=subscription(endpoint))
        assert await send(adapter, [message]) == [PermanentFailure("forbidden_address")]
        await adapter.close()
        assert running.seen == []

    @pytest.mark.asyncio
    async def test_nothing_inside_is_called_unless_allowed(self, running: Running) -> None:
        adapter = self.build(running.simulator, allow="")
        for host in ("127.0.0.1", "localhost"):
            for scheme in ("http", "https"):
                endpoint = f"{scheme}://{host}:{running.simulator.port}/webpush/a"
                outcomes = await send(adapter, [self.message(address=subscription(endpoint))])
                assert outcomes == [PermanentFailure("forbidden_address")]
        await adapter.close()
        assert running.seen == []

    @pytest.mark.parametrize("data", [{"a": object()}, {"a": "\ud800"}])
    @pytest.mark.asyncio
    async def test_data_that_is_not_json(self, running: Running, data: dict[str, Any]) -> None:
        adapter = self.build(running.simulator)
        assert await send(adapter, [self.message(data=data)]) == [PermanentFailure("invalid_content")]
        await adapter.close()
        assert running.seen == []

    @pytest.mark.asyncio
    async def test_the_simulator_refuses_a_message_for_another_browser(self, simulator: Simulator) -> None:
        adapter = self.build(simulator)
        value = orjson.loads(self.address("", 0))
        value["keys"]["p256dh"] = encoded(point(private(RAW).public_key()))
        [outcome] = await send(adapter, [self.message(address=orjson.dumps(value).decode())])
        await adapter.close()
        assert outcome == TemporaryFailure("misconfigured", 60.0)
        assert simulator.ledger.seq == 0

    @pytest.mark.parametrize(
        ("change", "outcome"),
        [
            ({"Authorization": "vapid t=a.b.c, k=AAAA"}, TemporaryFailure("unauthorized", 60.0)),
            ({"TTL": "soon"}, TemporaryFailure("misconfigured", 60.0)),
            ({"Topic": "x" * 33}, TemporaryFailure("misconfigured", 60.0)),
            ({"Urgency": "extreme"}, TemporaryFailure("misconfigured", 60.0)),
            ({"Content-Encoding": "aesgcm"}, TemporaryFailure("misconfigured", 60.0)),
        ],
    )
    @pytest.mark.asyncio
    async def test_the_simulator_checks_headers(
        self,
        simulator: Simulator,
        monkeypatch: pytest.MonkeyPatch,
        change: dict[str, str],
        outcome: Outcome,
    ) -> None:
        adapter = self.build(simulator)
        post = adapter._session.post

        async def changed(url: Any, body: bytes, headers: Any) -> Any:
            return await post(url, body, {**headers, **change})

        monkeypatch.setattr(adapter._session, "post", changed)
        assert await send(adapter, [self.message()]) == [outcome]
        await adapter.close()
        assert simulator.ledger.seq == 0

    @pytest.mark.asyncio
    async def test_the_simulator_checks_for_whom_a_token_is(
        self, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        adapter = self.build(simulator)
        header = Vapid(VAPID_KEY, SUBJECT).authorization("https://other.example")
        monkeypatch.setattr(adapter._vapid, "authorization", lambda _origin: header)
        assert await send(adapter, [self.message()]) == [TemporaryFailure("unauthorized", 60.0)]
        await adapter.close()
        assert simulator.ledger.seq == 0


class TestEncryption:
    def test_the_example_of_the_rfc(self) -> None:
        """https://www.rfc-editor.org/rfc/rfc8291#section-5"""
        body = encrypt(
            b"When I grow up, I want to be a watermelon",
            private(decoded(PRIVATE_KEY)).public_key(),
            decoded(AUTH),
            sender=private(decoded("yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw")),
            salt=decoded("DGv6ra1nlYgDCS1FRnbzlw"),
        )
        assert encoded(body) == (
            "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6Tlz"
            "AC8wEqKK6PBru3jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
        )

    def test_a_changed_byte_is_found(self) -> None:
        body = encrypt(b"{}", private(decoded(PRIVATE_KEY)).public_key(), decoded(AUTH))
        assert decrypt(body) == {}
        for at in (0, len(body) - 1):
            with pytest.raises(InvalidTag):
                decrypt(body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :])


class TestVapid:
    def test_the_key_pair_in_the_documentation(self, capsys: pytest.CaptureFixture[str]) -> None:
        [script] = re.findall(r'python -c "\n(.*?)"\n', PAGE.read_text(), re.DOTALL)
        exec(textwrap.dedent(script))
        key, public = (line.split(": ")[1] for line in capsys.readouterr().out.splitlines())
        header = Vapid(key, SUBJECT).authorization("https://a.example")
        assert opened(header, "https://a.example")[1] == public

    @pytest.mark.parametrize("key", [VAPID_KEY, VAPID_KEY + "=", f" {VAPID_KEY}\n", pem(private(RAW))])
    def test_a_key_in_each_of_its_forms(self, key: str) -> None:
        claims, public = opened(Vapid(key, SUBJECT).authorization("https://a.example"), "https://a.example")
        assert claims["sub"] == SUBJECT
        assert public == encoded(point(private(RAW).public_key()))

    @pytest.mark.parametrize(
        "key",
        [
            *(
                "",
                "no key",
                encoded(bytes(31)),
                encoded(bytes(33)),
                encoded(bytes(32)),
                encoded(b"\xff" * 32),
            ),
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----",
            pem(ed25519.Ed25519PrivateKey.generate()),
            pem(ec.generate_private_key(ec.SECP384R1())),
        ],
    )
    def test_a_key_that_is_none(self, key: str) -> None:
        with pytest.raises(ValueError, match=r"."):
            Vapid(key, SUBJECT)

    @pytest.mark.parametrize("subject", ["mailto:a@b.example", "https://b.example/contact"])
    def test_subjects(self, subject: str) -> None:
        header = Vapid(VAPID_KEY, subject).authorization("https://a.example")
        assert opened(header, "https://a.example")[0]["sub"] == subject

    @pytest.mark.parametrize(
        "subject", ["", "a@b.example", "mailto:", "mailto: <a@b.example>", "mailto:a@b c", "http://b.example"]
    )
    def test_subjects_that_push_services_refuse(self, subject: str) -> None:
        with pytest.raises(ValueError, match="subject"):
            Vapid(VAPID_KEY, subject)

    def test_a_token_is_kept_by_origin_and_renewed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        now = time.time() // PERIOD * PERIOD
        vapid = Vapid(VAPID_KEY, SUBJECT)
        monkeypatch.setattr(time, "time", lambda: now)
        first = vapid.authorization("https://a.example")
        assert vapid.authorization("https://b.example") != first
        monkeypatch.setattr(time, "time", lambda: now + PERIOD - 1)
        assert vapid.authorization("https://a.example") == first  # ES256 differs each time it signs
        monkeypatch.setattr(time, "time", lambda: now + PERIOD)
        later = vapid.authorization("https://a.example")
        assert later != first
        claims = jwt.decode(later.split("t=")[1].split(",")[0], options={"verify_signature": False})
        assert claims["exp"] == now + 3 * PERIOD
