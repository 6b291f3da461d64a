"""The providers' rows: installed with their links, and changed as operators change them."""

from __future__ import annotations

import time

import orjson

from tests.chaos.evidence import Drain
from tests.chaos.plan import PROVIDERS
from tests.chaos.stage import Stage

# What each refuses with a 401 or 403: the column, the argument, and its wrong value.
_WRONG = {
    "sendgrid": ("credentials", "api_key", "refused"),
    "ses": ("options", "access_key_id", "REFUSED"),
    "twilio": ("options", "account_sid", "ACrefused"),
    "vonage": ("credentials", "api_secret", ""),
}
_ARGUMENTS = """
UPDATE delivery_provider SET options = %s, credentials = %s, updated_at = carillon_now() WHERE name = %s
"""
_MODE = "UPDATE delivery_provider SET mode = %s WHERE name = %s"
_LIMIT = "UPDATE delivery_provider SET per_second = %s WHERE name = %s"


def install(stage: Stage) -> None:
    """Write the rows; each provider is reached by the link of its name."""
    from apps.delivery.models import Provider
    from apps.integrations.ses.simulated_receipts import CERTIFICATES
    from project.dev import providers
    from project.dev.providers import Simulated

    for name in PROVIDERS:
        providers.install(Simulated(stage.link_url(name), stage.link_url(name)), {name})
    ses = Provider.objects.get(name="ses")  # the simulator names its certificate by its own address
    ses.options["certificate_url"] = f"http://127.0.0.1:{stage.simulator_port}{CERTIFICATES}"
    ses.save()
    for row in Provider.objects.all():
        stage.arguments[row.name] = {"options": row.options, "credentials": row.credentials}


def spoil(stage: Stage, name: str) -> None:
    """Enter wrong credentials."""
    from project import sealing

    column, argument, value = _WRONG[name]
    kept = stage.arguments[name]
    wrong = sealing.seal(value) if column == "credentials" else value
    _enter(stage, name, kept | {column: kept[column] | {argument: wrong}})


def mend(stage: Stage, name: str) -> None:
    """Enter the right ones."""
    _enter(stage, name, stage.arguments[name])


def _enter(stage: Stage, name: str, arguments: dict[str, dict[str, str]]) -> None:
    texts = [orjson.dumps(arguments[column]).decode() for column in ("options", "credentials")]
    stage.insist(_ARGUMENTS, [*texts, name])


def drain(stage: Stage, name: str) -> None:
    """Let it get nothing new."""
    stage.drained[name] = stage.insist(_MODE, ["drained", name])


def resume(stage: Stage, name: str) -> None:
    """Let it get its share again."""
    if name in stage.drained:  # two that drained it are ended by the first
        stage.drains.append(Drain(name, stage.drained.pop(name), time.time()))
    stage.insist(_MODE, ["normal", name])


def limit(stage: Stage, name: str, messages: int | None) -> None:
    """Let it get so many messages a second; None is as many as there are."""
    stage.insist(_LIMIT, [messages, name])
