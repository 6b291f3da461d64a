"""Published versions as delivery needs them: immutable, so a process remembers them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from project import db

_CACHED = 500  # versions a process remembers


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """A wording. content: channel -> language -> part -> Liquid (`TemplateVersion.content`)."""

    id: int
    content: Mapping[str, Mapping[str, Mapping[str, Any]]]
    default_language: str = "en"
    defaults: Mapping[str, Any]
    schema: Mapping[str, Any]
    track: bool = False

    @property
    def channels(self) -> Collection[str]:
        """The channels it has content for."""
        return self.content.keys()


_LOAD = """
SELECT v.id, v.content, t.default_language, v.defaults, v.schema, v.track, v.published_at IS NOT NULL
FROM content_templateversion v JOIN content_template t ON t.id = v.template_id
WHERE v.id = ANY(%b::bigint[])
"""
_cache: OrderedDict[int, Version] = OrderedDict()


def load(ids: Collection[int]) -> dict[int, Version]:
    """Those of these versions that there are, in one statement for those not remembered. A draft, of which a
    test is sent, may still change and is never remembered."""
    found = {id: _cache[id] for id in ids if id in _cache}
    missing = [id for id in ids if id not in found]
    if missing:
        for id, content, language, defaults, schema, track, is_published in db.rows(_LOAD, [missing]):
            found[id] = Version(
                id=id,
                content=orjson.loads(content),
                default_language=language,
                defaults=orjson.loads(defaults),
                schema=orjson.loads(schema),
                track=track,
            )
            if is_published:
                _cache[id] = found[id]
        while len(_cache) > _CACHED:
            _cache.popitem(last=False)
    return found
