"""A provider is one folder, one line of the registry and its settings: no other place knows its name."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from apps.integrations.registry import ADAPTERS
from project.queues import CHANNELS
from tests.architecture.sources import ROOT, imported, modules, strings, text, without_comments

VENDORS = ("sendgrid", "twilio", "vonage", "anymail")  # names that are no words of anything else
HOMES = tuple(f"apps/integrations/{vendor}/" for vendor in VENDORS)
ALLOWED = ("apps/integrations/registry.py", "project/settings.py", "project/dev/")
_NAMES = re.compile("|".join(VENDORS), re.IGNORECASE)
_OTHER = {".html", ".js", ".css", ".txt", ".json", ".toml", ".yaml", ".yml"}


def named(source: str) -> list[str]:
    return _NAMES.findall(source)


def elsewhere(path: Path) -> bool:
    return not str(path).startswith((*HOMES, *ALLOWED))


@pytest.mark.parametrize("path", [path for path in modules("apps", "project") if elsewhere(path)], ids=str)
def test_no_other_module_names_a_vendor(path: Path) -> None:
    assert named(without_comments(text(path))) == []


def test_no_page_or_script_names_a_vendor() -> None:
    pages = [path.relative_to(ROOT) for path in (ROOT / "apps").rglob("*") if path.suffix in _OTHER]
    assert [path for path in pages if elsewhere(path) and named(text(path))] == []


@pytest.mark.parametrize("vendor", ADAPTERS)
def test_no_vendors_folder_imports_anothers(vendor: str) -> None:
    others = tuple(f"apps.integrations.{other}." for other in ADAPTERS if other != vendor)
    for path in modules(f"apps/integrations/{vendor}"):
        assert not [name for name in imported(text(path)) if f"{name}.".startswith(others)]


@pytest.mark.parametrize("path", modules("apps", migrations=True), ids=str)
def test_no_migration_knows_a_channel_or_a_provider(path: Path) -> None:
    tree = ast.parse(text(path))
    channels = () if "users" in path.parts else CHANNELS  # a person has an e-mail address
    assert {*channels, *ADAPTERS}.isdisjoint(strings(tree))
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.keyword) and node.arg == "choices"]


def test_names_are_found_in_code_and_not_in_comments() -> None:
    assert named(without_comments("key = 'SendGrid'  # x")) == ["SendGrid"]
    assert named(without_comments("key = 1  # such as sendgrid")) == []
    assert set(VENDORS) <= set(ADAPTERS)
