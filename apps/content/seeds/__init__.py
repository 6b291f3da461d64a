"""The types and templates every installation begins with, as files that people can read.

A folder belongs to one migration, which writes what is in it once, and it never changes after that: a test
holds its digest. New words come as a new folder and a migration of its own, which publishes them as a new
version where the one before is still current.

Of a type: [type], and its template of the same slug: [schema], [defaults], [example] and [content] as in
`models.TemplateVersion`. The HTML of e-mails is put into layout.html, of those that are not critical with a
foot to unsubscribe by.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, NamedTuple

_HERE = Path(__file__).parent


class Seed(NamedTuple):
    """A type and its template's first version. type, wording: by column."""

    slug: str
    type: dict[str, Any]
    wording: dict[str, Any]


def read(folder: str) -> list[Seed]:
    """What is in a folder, by slug."""
    return [_seed(path) for path in sorted((_HERE / folder).glob("*.toml"))]


def _seed(path: Path) -> Seed:
    said = tomllib.loads(path.read_text("utf-8"))
    for languages in said["content"].values():
        for language, parts in languages.items():
            _finish(parts, path.parent, language, critical=said["type"]["critical"])
    wording = {name: said.get(name, {}) for name in ("content", "schema", "defaults", "example")}
    return Seed(path.stem, said["type"], wording)


def _finish(parts: dict[str, Any], folder: Path, language: str, *, critical: bool) -> None:
    if "body" in parts:
        parts["body"] = parts["body"].strip("\n")
    if "html" in parts:
        foot = "" if critical else (folder / f"foot.{language}.html").read_text("utf-8")
        filled = {"language": language, "subject": parts["subject"], "words": parts["html"], "foot": foot}
        parts["html"] = (folder / "layout.html").read_text("utf-8")
        for name, text in filled.items():
            parts["html"] = parts["html"].replace(f"@{name}@", text.strip())
