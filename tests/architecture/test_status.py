"""One owner of state: nothing but `transitions.py` writes a target's status."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.architecture.sources import modules, strings, text

OWNER = Path("apps/notifications/transitions.py")
_TABLE = r"\S*(?:notificationtarget|\{_?TARGET\})\S*"
_UPDATE = re.compile(rf"\bUPDATE\s+{_TABLE}.*?\bSET\b(.*?)(?:\bWHERE\b|\bFROM\b|$)", re.I | re.S)
_INSERT = re.compile(rf"\b(?:INSERT\s+INTO|COPY|MERGE\s+INTO)\s+{_TABLE}", re.I)
_STATUS = re.compile(r"(?:^|[\s,(.])\"?status\"?\s*(?:=|,|\))", re.I)


def writers(source: str) -> list[str]:
    """What in a module writes a status, or a whole target."""
    tree = ast.parse(source)
    found = [ast.unparse(node) for node in ast.walk(tree) if _writes(node)]
    for one in strings(tree):
        found += [match[0] for match in _UPDATE.finditer(one) if _STATUS.search(match[1])]
        found += _INSERT.findall(one)
    return found


def _writes(node: ast.AST) -> bool:
    if isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        return any(isinstance(part, ast.Attribute) and part.attr == "status" for part in targets)
    return isinstance(node, ast.Call) and _call_writes(node)


def _call_writes(node: ast.Call) -> bool:
    name = ast.unparse(node.func)
    of_targets = "NotificationTarget" in name or name.split(".")[0] == "targets"
    if name == "NotificationTarget":
        return True
    if of_targets and re.search(r"\.(a?bulk_create|a?create|a?(get|update)_or_create)$", name):
        return True
    if re.search(r"\.a?update$", name):
        return any(keyword.arg == "status" for keyword in node.keywords)
    fields = [*node.args[1:], *(keyword.value for keyword in node.keywords if keyword.arg == "update_fields")]
    if name == "setattr" or re.search(r"\.a?(bulk_update|save)$", name):
        return any("'status'" in ast.unparse(field) for field in fields)
    return False


@pytest.mark.parametrize("path", [path for path in modules("apps", "project") if path != OWNER], ids=str)
def test_only_its_owner_writes_a_status(path: Path) -> None:
    assert writers(text(path)) == []


@pytest.mark.parametrize(
    "source",
    [
        "target.status = 'sent'",
        "self.target.status: str = 'sent'",
        "targets.filter(id=1).update(status='sent')",
        "await targets.aupdate(status='sent', reason='')",
        "setattr(target, 'status', 'sent')",
        "target.save(update_fields=['status'])",
        "manager.bulk_update(targets, ['status'])",
        "NotificationTarget(status='sent').save()",
        "NotificationTarget.objects.create(channel='email')",
        "NotificationTarget.objects.bulk_create(rows)",
        "db.execute('UPDATE notifications_notificationtarget SET status = %s WHERE id = %s')",
        "db.execute('update notifications_notificationtarget t\\nset reason = 1,\\n  status=2')",
        "db.execute(f'UPDATE {_TARGET} t SET read_at = now(), status = {s} FROM g')",
        "SQL = 'UPDATE public.\"notifications_notificationtarget\" SET (reason, status) = (1, 2)'",
        "db.execute('INSERT INTO notifications_notificationtarget (id) VALUES (1)')",
    ],
)
def test_every_way_to_write_a_status_is_found(source: str) -> None:
    assert writers(source)


@pytest.mark.parametrize(
    "source",
    [
        "status = target.status",
        "Settled(status='sent')",
        "targets.filter(status='sent').update(read_at=now)",
        "'UPDATE notifications_notificationtarget SET read_at = now() WHERE status = %s'",
        "'UPDATE delivery_claim SET lease_until = NULL'",
        "'SELECT status FROM notifications_notificationtarget WHERE status = %s'",
        "found.update(status)",
    ],
)
def test_reading_a_status_is_nobodys_business(source: str) -> None:
    assert writers(source) == []


def test_the_owner_would_be_found_out() -> None:
    assert len(writers(text(OWNER))) >= 5
