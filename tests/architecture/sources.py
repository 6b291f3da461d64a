"""The repository's own sources, for tests that read them."""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]


def modules(*folders: str, migrations: bool = False) -> list[Path]:
    """Every Python file in these folders, relative to the repository."""
    found = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    return sorted(
        path.relative_to(ROOT) for path in found if ("migrations" in path.parts) == migrations
    )  # fmt: skip


def text(path: Path) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def strings(tree: ast.AST) -> Iterator[str]:
    """The strings of a module; an f-string as one, with `{}` for what it fills in, or its constant's name."""
    inside = {
        id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values
    }  # fmt: skip
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(_part(value) for value in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside:
            yield node.value


def _part(node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    return "{" + (ast.unparse(node.value) if isinstance(node, ast.FormattedValue) else "") + "}"


def imported(source: str) -> set[str]:
    """Every module that a source imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def without_comments(source: str) -> str:
    """The source with its comments blank."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return "\n".join(token.string for token in tokens if token.type != tokenize.COMMENT)
