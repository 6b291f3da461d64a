"""One line per record: when, how grave, where, what, and the ids it is about."""

from __future__ import annotations

import logging

# What every record has; the rest was given as `extra`.
_OWN = logging.makeLogRecord({}).__dict__.keys() | {"message", "asctime", "taskName"}
_OURS = ("apps.", "project.")  # what libraries give may be addresses and bodies; what we give is ids


class LineFormatter(logging.Formatter):
    """The standard formatter leaves out what was given as `extra`: the very ids a message is about."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        line = super().formatMessage(record)
        if not record.name.startswith(_OURS):
            return line
        extra = (f"{name}={value}" for name, value in record.__dict__.items() if name not in _OWN)
        return " ".join([line, *extra])
