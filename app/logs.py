"""How the processes of the service log: lines for people, or one JSON object a line for machines."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from domain import instant

TEXT = "%(asctime)s %(levelname)s %(name)s: %(message)s"

FIELDS = "fields"
"""The attribute of a log record that holds further members of its JSON object."""

REQUESTS = logging.getLogger("taximeter.request")
"""One record for each request. A person at a terminal would see little else, so only JSON has them."""


class LogFormat(StrEnum):
    """What a line of the log is."""

    text = "text"
    json = "json"


class JsonLines(logging.Formatter):
    """A record as one JSON object: `at`, `level`, `logger`, `message`, further fields, and `error` with a traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, whatever is in the message."""
        members: dict[str, Any] = {
            "at": instant.text(datetime.fromtimestamp(record.created, UTC)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, FIELDS, {}),
        }
        if record.exc_info:
            members["error"] = self.formatException(record.exc_info)
        # All but ASCII is escaped: so anything can be written, also half of a surrogate pair.
        return json.dumps(members, default=str)


def configure(log_format: LogFormat) -> None:
    """Log to standard error from now on, from level INFO."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines() if log_format is LogFormat.json else logging.Formatter(TEXT))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    REQUESTS.setLevel(logging.INFO if log_format is LogFormat.json else logging.WARNING)
    logging.getLogger("asyncpg.pool").addFilter(without_trace)


def without_trace(record: logging.LogRecord) -> bool:
    """Let a record of the driver's pool pass as its message alone: why it tries again is said by whoever asked."""
    record.exc_info = None
    return True
