"""What keeps the sources readable: typed functions and files of a size that fits a head."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.architecture.sources import modules, text

MOST_LINES = 400


def untyped(source: str) -> list[str]:
    """The functions that lack the type of a parameter or of what they return."""
    tree = ast.parse(source)
    methods = {
        id(part) for node in ast.walk(tree) if isinstance(node, ast.ClassDef) for part in node.body
    }  # fmt: skip
    return [
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.returns is None or _bare(node, skip=_bound(node) if id(node) in methods else 0))
    ]


def _bound(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return 0 if any(ast.unparse(one) == "staticmethod" for one in node.decorator_list) else 1


def _bare(node: ast.FunctionDef | ast.AsyncFunctionDef, skip: int) -> bool:
    arguments = node.args
    positional = [*arguments.posonlyargs, *arguments.args][skip:]
    every = [*positional, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    return any(argument is not None and argument.annotation is None for argument in every)


@pytest.mark.parametrize("path", modules("apps", "project"), ids=str)
def test_every_function_is_typed_and_every_file_short(path: Path) -> None:
    source = text(path)
    assert untyped(source) == []
    assert len(source.splitlines()) <= MOST_LINES


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("def f(a: int) -> int: ...", []),
        ("def f(a) -> int: ...", ["f"]),
        ("def f(a: int): ...", ["f"]),
        ("async def f(*a, **k: int) -> int: ...", ["f"]),
        ("def f(*, a) -> int: ...", ["f"]),
        ("class C:\n    def f(self) -> int: ...", []),
        ("class C:\n    @staticmethod\n    def f(a) -> int: ...", ["f"]),
        ("def f() -> int:\n    def g(a) -> int: ...", ["g"]),
    ],
)
def test_an_untyped_function_is_found(source: str, found: list[str]) -> None:
    assert untyped(source) == found
