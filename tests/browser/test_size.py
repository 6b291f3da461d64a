"""What a page loads for an inbox: files as they are in the repository, compressed as a server does."""

from __future__ import annotations

import gzip
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / "apps/websocket/static/inbox"
AT_ONCE = ["inbox", *(f"carillon-inbox{part}" for part in ("", ".dom", ".styles", ".toasts", ".words"))]


def _size(name: str) -> int:
    return len(gzip.compress((FOLDER / name).read_bytes(), 6))


async def test_a_page_with_the_bell_loads_less_than_20_kb() -> None:
    assert sum(_size(f"{name}.js") for name in AT_ONCE) < 20_000


async def test_with_all_that_is_loaded_when_it_is_opened_it_is_less_than_32_kb() -> None:
    parts = [path.name for path in FOLDER.glob("carillon-inbox*.js")]
    assert set(parts) > {f"{name}.js" for name in AT_ONCE[1:]}
    assert _size("inbox.js") + sum(map(_size, parts)) < 32_000
