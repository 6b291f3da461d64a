"""docs/providers/adding.md is true: its files pass its tests, and what they make delivers a message.

All that is special to the vendor is read from the page.
"""

from __future__ import annotations

import ast
import importlib.util
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client

import apps.integrations
from apps.delivery import engine, providers, receipts
from apps.delivery.models import Provider, Receipt
from apps.integrations import registry
from apps.integrations.simulator import Simulator
from apps.notifications.models import NotificationTarget
from project import loop, queues
from tests.support import rows

from .suite import AdapterContract, ledger_of

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/providers/adding.md").read_text()
# By what their first line says: a file, or a file and what a line is to be added to.
BLOCKS = dict(re.findall(r"^```python\n# ([^\n]+)\n(.*?)^```$", PAGE, re.M | re.S))
FILES = {name: text for name, text in BLOCKS.items() if ", " not in name}
LINES = {
    name.partition(", ")[2]: ast.literal_eval(f"{{{text}}}")
    for name, text in BLOCKS.items()
    if name.startswith("apps/integrations/registry.py, ")
}
(COMMAND,) = re.findall(r"^```sh\nmanage\.py (.*?)^```$", PAGE, re.M | re.S)
(KEY,) = LINES["ADAPTERS"]

_folder = TemporaryDirectory()  # as long as this module
FOLDER = Path(_folder.name)


def _write() -> None:
    for name, text in FILES.items():
        path = FOLDER / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (FOLDER / f"apps/integrations/{KEY}/__init__.py").touch()


def _tests_of_the_page() -> ModuleType:
    """The page's own test module, as if it lay beside this one."""
    name = f"test_{KEY}"
    spec = importlib.util.spec_from_file_location(
        f"{__package__}.{name}", FOLDER / f"tests/integrations/{name}.py"
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_write()
apps.integrations.__path__.append(str(FOLDER / "apps/integrations"))  # the vendor's folder among the others
theirs = {name: one for name, one in vars(_tests_of_the_page()).items() if re.match("[Tt]est", name)}
globals().update(theirs)  # collected here: the whole contract suite, and what the page adds


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The registry's lines, as the page has them."""
    for name, line in LINES.items():
        for key, path in line.items():
            monkeypatch.setitem(getattr(registry, name), key, path)
    providers.forget()
    yield
    providers.forget()


def test_the_page_has_all_that_it_speaks_of() -> None:
    folder = f"apps/integrations/{KEY}"
    files = ("adapter", "receipts", "simulated", "simulated_receipts")
    assert set(FILES) == {*(f"{folder}/{name}.py" for name in files), f"tests/integrations/test_{KEY}.py"}
    assert set(LINES) == {"ADAPTERS", "RECEIVERS"}
    assert any(isinstance(one, type) and issubclass(one, AdapterContract) for one in theirs.values())


def test_its_code_is_kept_like_ours() -> None:
    config = ["--config", str(ROOT / "pyproject.toml"), "--config", "lint.isort.known-first-party = ['apps']"]
    for arguments in (["check"], ["format", "--check"]):
        ruff = [sys.executable, "-m", "ruff", *arguments, "--no-cache", *config, str(FOLDER)]
        done = subprocess.run(ruff, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def simulator_beside(tmp_path: Path, registered: None) -> Iterator[Simulator]:
    """A simulator on the loop that adapters run on, for tests that are not async."""
    simulator = Simulator(tmp_path / "ledger.jsonl")
    loop.run(simulator.__aenter__()).result(10)
    yield simulator
    loop.run(simulator.__aexit__(None, None, None)).result(10)


@pytest.mark.django_db
def test_what_the_page_makes_delivers_a_message_and_hears_of_it(
    simulator_beside: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ring", "ring_now", "ring_after"):
        monkeypatch.setattr(queues, name, lambda *_: True)
    reporter: Any = simulator_beside.receipts._reporters[KEY]
    secret = sys.modules[type(reporter).__module__].SIGNING_KEY
    for variable in re.findall(r"env:(\w+)", COMMAND):
        monkeypatch.setenv(variable, secret)
    command, *words = shlex.split(COMMAND.replace("\\\n", " "))
    call_command(command, *words, f"base_url={simulator_beside.url}")
    row = Provider.objects.get()
    providers.forget()

    (target,) = rows.queued(channel=row.channel, lane=f"{row.channel}.normal", address="+4930123456")
    assert engine.work(f"{row.channel}.normal") == 1
    assert rows.statuses([target]) == ["sent"]
    [entry] = ledger_of(simulator_beside)
    assert (entry["provider"], entry["target"]) == (KEY, str(target))
    [attempt] = rows.attempts([target])
    assert (attempt["provider"], attempt["provider_message_id"]) == (row.name, entry["id"])

    address = f"http://testserver/api/receipts/{row.name}/"
    for report in reporter.reports(entry, ""):
        url, headers, body = reporter.request(address, [report])
        assert Client().post(url, body, "application/json", headers=headers).status_code == 204
        assert Client().post(url, body + b" ", "application/json", headers=headers).status_code == 403
    receipts.apply(10)
    assert rows.statuses([target]) == ["delivered"]
    assert set(Receipt.objects.values_list("provider", flat=True)) == {row.name}
    assert NotificationTarget.objects.get(id=target).delivered_at is not None
    _, adapter = providers._adapters.pop(row.name)
    loop.run(adapter.close()).result(10)
