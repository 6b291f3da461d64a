from __future__ import annotations

from datetime import UTC, datetime, timedelta

from project import ids


def test_an_id_tells_when_it_was_made() -> None:
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    for id in (ids.uuid7(), ids.target_id(), *ids.target_ids(2)):
        assert before <= ids.time_of(id) <= datetime.now(UTC)
