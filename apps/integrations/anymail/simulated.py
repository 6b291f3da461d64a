"""Six of the services, as their clients see them, each under its own path."""

from __future__ import annotations

import base64
import binascii
import re
import secrets
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl
from uuid import uuid4

import orjson
from aiohttp import web

from apps.integrations.anymail import ATTEMPT, TARGET
from apps.integrations.anymail.simulated_receipts import AnymailReporter
from apps.integrations.simulator.answers import as_json
from apps.integrations.simulator.ledger import Entry, unsubscribing
from apps.integrations.simulator.server import Dialect, Simulator

ADDRESS = re.compile(r"[^@\s<>,;]+@[^@\s<>,;]+\.[^@\s<>,;]+")


class Invalid(Exception):
    """A request the service would refuse, with its answer."""

    def __init__(self, answer: web.Response) -> None:
        super().__init__(answer.status)
        self.answer = answer


class Service(Dialect):
    """One of them: what it takes, and how it words its answers. Those a service does not give are None."""

    provider = "anymail"
    name: str
    path: str | re.Pattern[str]

    @abstractmethod
    def entry(self, request: web.BaseRequest, body: bytes) -> Entry:
        """What the request asks to be sent. Raises Invalid, and KeyError where a field is missing."""

    def refused(self, fault: str, entries: Sequence[Entry]) -> web.Response | None:
        return None if fault == "optout" else self.invalid("to", entries[0]["address"])

    @abstractmethod
    def invalid(self, field: str, value: str) -> web.Response:
        """`field` ("from", "to" or "body") is missing or wrong."""

    def checked(self, entry: Entry, sender: str) -> Entry:
        """The entry, if nothing in it is missing."""
        for field, value in (("from", sender), ("to", entry["address"])):
            if not ADDRESS.fullmatch(re.sub(r"^.*<(.*)>$", r"\1", value)):
                raise Invalid(self.invalid(field, value))
        if not (entry["text"] or entry["html"]):
            raise Invalid(self.invalid("body", ""))
        return entry

    def made(self, id: str, reference: Mapping[str, str], headers: Mapping[str, str], **parts: str) -> Entry:
        """An entry of this service, of a mail with these headers."""
        entry: Entry = {
            "channel": "email",
            "service": self.name,
            "id": id,
            "target": reference.get(TARGET, ""),
            "attempt": reference.get(ATTEMPT, ""),
            "address": parts["address"],
            "subject": parts.get("subject") or "",
            "text": parts.get("text") or "",
            "html": parts.get("html") or "",
        }
        return unsubscribing(entry, headers)


class Brevo(Service):
    """https://developers.brevo.com/reference/send-transac-email."""

    name, path = "brevo", "/v3/smtp/email"

    def entry(self, request: web.BaseRequest, body: bytes) -> Entry:
        if not request.headers.get("api-key"):
            raise Invalid(_brevo(401, "unauthorized", "Key not found"))
        mail = orjson.loads(body)
        entry = self.made(
            f"<{uuid4().hex}@smtp-relay.mailin.fr>",
            orjson.loads(mail.get("headers", {}).get("X-Mailin-custom", "{}")),
            mail.get("headers", {}),
            address=mail["to"][0]["email"],
            subject=mail["subject"],
            text=mail.get("textContent", ""),
            html=mail.get("htmlContent", ""),
        )
        return self.checked(entry, mail["sender"]["email"])

    def accepted(self, entries: Sequence[Entry]) -> web.Response:
        return as_json({"messageId": entries[0]["id"]}, status=201)

    def invalid(self, field: str, value: str) -> web.Response:
        texts = {"to": "email is not valid in to", "from": "valid sender email required"}
        return _brevo(400, "invalid_parameter", texts.get(field, "Either of htmlContent or textContent"))

    def failed(self, status: int, headers: dict[str, str]) -> web.Response:
        return _brevo(status, "too_many_requests" if status == 429 else "service_unavailable", "", headers)


class Mailgun(Service):
    """https://documentation.mailgun.com/docs/mailgun/api-reference/send/mailgun/messages."""

    name, path = "mailgun", re.compile(r"/v3/[^/]+\.[^/]+/messages")

    def entry(self, request: web.BaseRequest, body: bytes) -> Entry:
        if _basic(request)[0] != "api" or not _basic(request)[1]:
            raise Invalid(web.Response(status=401, text="Forbidden"))
        form = dict(parse_qsl(body.decode(), keep_blank_values=True))
        entry = self.made(
            f"<{uuid4().hex}@{request.path.split('/')[2]}>",
            {name.removeprefix("v:"): value for name, value in form.items() if name.startswith("v:")},
            {name.removeprefix("h:"): value for name, value in form.items() if name.startswith("h:")},
            address=form["to"],
            subject=form["subject"],
            text=form.get("text", ""),
            html=form.get("html", ""),
        )
        return self.checked(entry, form["from"])

    def accepted(self, entries: Sequence[Entry]) -> web.Response:
        return as_json({"id": entries[0]["id"], "message": "Queued. Thank you."})

    def invalid(self, field: str, value: str) -> web.Response:
        if field == "body":
            return as_json({"message": "Need at least one of 'text' or 'html' parameters specified"}, 400)
        return as_json(
            {"message": f"'{field}' parameter is not a valid address. please check documentation"}, 400
        )

    def failed(self, status: int, headers: dict[str, str]) -> web.Response:
        return as_json({"message": "Please try again"}, status, headers)


class Mailjet(Service):
    """https://dev.mailjet.com/email/guides/send-api-v31/."""

    name, path = "mailjet", "/v3.1/send"

    def entry(self, request: web.BaseRequest, body: bytes) -> Entry:
        if not all(_basic(request)):
            raise Invalid(
                as_json({"StatusCode": 401, "ErrorMessage": "API key authentication failure."}, 401)
            )
        mail = orjson.loads(body)
        common, own = mail["Globals"], mail["Messages"][0]
        entry = self.made(
            str(secrets.randbelow(10**18) + 10**18),
            orjson.loads(common.get("EventPayload", "{}")),
            common.get("Headers", {}),
            address=own["To"][0]["Email"],
            subject=common["Subject"],
            text=common.get("TextPart", ""),
            html=common.get("HTMLPart", ""),
        )
        return self.checked(entry, common["From"]["Email"])

    def accepted(self, entries: Sequence[Entry]) -> web.Response:
        to = {
            "Email": entries[0]["address"],
            "MessageUUID": str(uuid4()),
            "MessageID": int(entries[0]["id"]),
            "MessageHref": f"https://api.mailjet.com/v3/REST/message/{entries[0]['id']}",
        }
        return as_json({"Messages": [{"Status": "success", "CustomID": "", "To": [to], "Cc": [], "Bcc": []}]})

    def invalid(self, field: str, value: str) -> web.Response:
        code = "send-0003" if field == "body" else "mj-0013"
        related = {"to": ["To[0].Email"], "from": ["From.Email"]}.get(field, ["TextPart"])
        error = {
            "ErrorIdentifier": str(uuid4()),
            "ErrorCode": code,
            "StatusCode": 400,
            "ErrorMessage": f'"{value}" is an invalid email address.',
            "ErrorRelatedTo": related,
        }
        return as_json({"Messages": [{"Status": "error", "Errors": [error]}]}, 400)

    def failed(self, status: int, headers: dict[str, str]) -> web.Response:
        error = {"ErrorIdentifier": str(uuid4()), "StatusCode": status, "ErrorMessage": "Please try again"}
        return as_json(error, status, headers)


class Postmark(Service):
    """https://postmarkapp.com/developer/api/email-api#send-a-single-email."""

    name, path = "postmark", "/email"

    def entry(self, request: web.BaseRequest, body: bytes) -> Entry:
        if not request.headers.get("X-Postmark-Server-Token"):
            raise Invalid(_postmark(401, 10, "Bad or missing Server API token."))
        mail = orjson.loads(body)
        reference = mail.get("Metadata", {})
        if any(len(name) > 20 or len(value) > 80 for name, value in reference.items()):
            raise Invalid(_postmark(422, 300, "Invalid metadata content."))
        entry = self.made(
            str(uuid4()),
            reference,
            {header["Name"]: header["Value"] for header in mail.get("Headers", ())},
            address=mail["To"],
            subject=mail["Subject"],
            text=mail.get("TextBody", ""),
            html=mail.get("HtmlBody", ""),
        )
        return self.checked(entry, mail["From"])

    def accepted(self, entries: Sequence[Entry]) -> web.Response:
        answer = {"To": entries[0]["address"], "MessageID": entries[0]["id"], "ErrorCode": 0, "Message": "OK"}
        return as_json({**answer, "SubmittedAt": "2026-01-01T00:00:00.0000000Z"})

    def refused(self, fault: str, entries: Sequence[Entry]) -> web.Response | None:
        if fault == "reject":
            return self.invalid("to", entries[0]["address"])
        return _postmark(
            422,
            406,
            "You tried to send to a recipient that has been marked as inactive.\n"
            f"Found inactive addresses: {entries[0]['address'].lower()}.\n"
            "Inactive recipients are ones that have generated a hard bounce or a spam complaint.",
        )

    def invalid(self, field: str, value: str) -> web.Response:
        if field == "body":
            return _postmark(422, 300, "Provide either email TextBody or HtmlBody or both.")
        return _postmark(422, 300, f"Error parsing '{field.title()}': Illegal email address '{value}'.")

    def failed(self, status: int, headers: dict[str, str]) -> web.Response:
        return _postmark(status, 429 if status == 429 else 100, "Please try again", headers)


class Resend(Service):
    """https://resend.com/docs/api-reference/emails/send-email."""

    name, path = "resend", "/emails"

    def entry(self, request: web.BaseRequest, body: bytes) -> Entry:
        if not request.headers.get("Authorization", "").startswith("Bearer re_"):
            raise Invalid(_resend(403, "invalid_api_key", "API key is invalid"))
        mail = orjson.loads(body)
        entry = self.made(
            str(uuid4()),
            orjson.loads(mail.get("headers", {}).get("X-Metadata", "{}")),
            mail.get("headers", {}),
            address=mail["to"][0],
            subject=mail["subject"],
            text=mail.get("text", ""),
            html=mail.get("html", ""),
        )
        return self.checked(entry, mail["from"])

    def accepted(self, entries: Sequence[Entry]) -> web.Response:
        return as_json({"id": entries[0]["id"]})

    def invalid(self, field: str, value: str) -> web.Response:
        text = "Missing `html` or `text` field." if field == "body" else f"Invalid `{field}` field."
        return _resend(422, "validation_error", text)

    def failed(self, status: int, headers: dict[str, str]) -> web.Response:
        name = "rate_limit_exceeded" if status == 429 else "application_error"
        return _resend(status, name, "Please try again", headers)


class SparkPost(Service):
    """https://developers.sparkpost.com/api/transmissions/#transmissions-create-a-transmission."""

    name, path = "sparkpost", "/api/v1/transmissions/"

    def entry(self, request: web.BaseRequest, body: bytes) -> Entry:
        if not request.headers.get("Authorization"):
            raise Invalid(as_json({"errors": [{"message": "Unauthorized."}]}, 401))
        mail = orjson.loads(body)
        content = mail["content"]
        entry = self.made(
            str(secrets.randbelow(10**18) + 10**18),
            mail.get("metadata", {}),
            content.get("headers", {}),
            address=mail["recipients"][0]["address"]["email"],
            subject=content["subject"],
            text=content.get("text", ""),
            html=content.get("html", ""),
        )
        return self.checked(entry, content["from"])

    def accepted(self, entries: Sequence[Entry]) -> web.Response:
        counts = {"total_rejected_recipients": 0, "total_accepted_recipients": len(entries)}
        return as_json({"results": {**counts, "id": entries[0]["id"]}})

    def invalid(self, field: str, value: str) -> web.Response:
        if field == "to":
            return _sparkpost(400, "5002", "At least one valid recipient is required")
        if field == "from":
            return _sparkpost(400, "7001", "Invalid domain")
        return _sparkpost(422, "1400", "required field is missing")

    def failed(self, status: int, headers: dict[str, str]) -> web.Response:
        return _sparkpost(status, "", "Please try again", headers)


def register(simulator: Simulator) -> None:
    """Serve all of them, and report what became of their mails."""
    for service in (Brevo(), Mailgun(), Mailjet(), Postmark(), Resend(), SparkPost()):
        simulator.routes.add([("POST", service.path, _handler(simulator, service))])
    simulator.receipts.register(AnymailReporter())


def _handler(simulator: Simulator, service: Service) -> Any:
    async def send(request: web.BaseRequest) -> web.Response:
        try:
            entry = service.entry(request, await request.read())
        except Invalid as error:
            return error.answer
        except (LookupError, orjson.JSONDecodeError):
            return service.invalid("body", "")
        return await simulator.answer(request, service, [entry])

    return send


def _basic(request: web.BaseRequest) -> tuple[str, str]:
    scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
    try:
        user, _, password = base64.b64decode(credentials).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return (user, password) if scheme == "Basic" else ("", "")


def _brevo(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> web.Response:
    return as_json({"code": code, "message": message}, status, headers)


def _postmark(status: int, code: int, message: str, headers: dict[str, str] | None = None) -> web.Response:
    return as_json({"ErrorCode": code, "Message": message}, status, headers)


def _resend(status: int, name: str, message: str, headers: dict[str, str] | None = None) -> web.Response:
    return as_json({"statusCode": status, "name": name, "message": message}, status, headers)


def _sparkpost(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> web.Response:
    return as_json({"errors": [{"message": message, "code": code}]}, status, headers)
