"""Lines of the log that a machine reads: each is one JSON object, whatever is in it."""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

import pytest

from app.logs import FIELDS, JsonLines, without_trace


def line(message: str, *arguments: object, **more: Any) -> dict[str, Any]:
    record = logging.LogRecord("taximeter.test", logging.WARNING, __file__, 1, message, arguments, more.get("exc_info"))
    for name, value in more.get("extra", {}).items():
        setattr(record, name, value)
    text = JsonLines().format(record)
    assert "\n" not in text
    return json.loads(text)


def test_a_record_is_one_object() -> None:
    said = line("%s of %d", "two\nlines", 3, extra={FIELDS: {"status": 200}})
    assert said.pop("at").endswith("Z")
    assert said == {"level": "warning", "logger": "taximeter.test", "message": "two\nlines of 3", "status": 200}


def test_an_error_brings_its_traceback() -> None:
    try:
        raise ValueError("broken")
    except ValueError:
        said = line("it failed", exc_info=sys.exc_info())
    assert said["message"] == "it failed"
    assert said["error"].startswith("Traceback")
    assert said["error"].endswith("ValueError: broken")


@pytest.mark.parametrize("odd", ["\ud800", "\0", '"', "\u2028", "é"])
def test_any_text_can_be_logged(odd: str) -> None:
    said = line("path %s", odd, extra={FIELDS: {"path": odd}})
    assert said["message"].startswith("path ")
    assert "path" in said


def test_the_pool_of_the_driver_brings_no_traceback() -> None:
    try:
        raise ConnectionRefusedError("nobody there")
    except ConnectionRefusedError:
        record = logging.LogRecord("asyncpg.pool", logging.WARNING, __file__, 1, "retrying", (), sys.exc_info())
    assert without_trace(record)
    assert "Traceback" not in JsonLines().format(record)
