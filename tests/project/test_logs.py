from __future__ import annotations

import logging

from project.logs import LineFormatter


def line(**values: object) -> str:
    return LineFormatter().format(logging.makeLogRecord({"levelname": "WARNING", **values}))


def test_a_line_tells_what_it_is_about() -> None:
    told = line(name="apps.delivery.sweeper", msg="lease ran out", claim=7, count=3)

    assert told.endswith("WARNING apps.delivery.sweeper lease ran out claim=7 count=3")


def test_what_a_library_adds_is_not_told() -> None:
    told = line(name="django.db.backends", msg="slow", params=("ada@example.com",))

    assert told.endswith("WARNING django.db.backends slow")
