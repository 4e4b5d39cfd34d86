"""Meters: what they count never changes."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from domain.aggregation import read_aggregation
from domain.errors import Gone
from domain.meter import Meter

AT = datetime(2026, 3, 10, tzinfo=UTC)


def meter() -> Meter:
    return Meter.create(
        "mtr_1",
        name="Calls",
        event_name="api.call",
        aggregation=read_aggregation({"type": "count"}),
        filter="",
        measurement_unit="call",
        description=None,
        at=AT,
    )


def test_describing_changes_the_texts_alone() -> None:
    declared = meter()
    declared.describe("API calls", "call", "every one", AT)
    assert (declared.name, declared.event_name, declared.description) == ("API calls", "api.call", "every one")


def test_describing_the_same_records_nothing() -> None:
    declared = meter()
    declared.describe("Calls", "call", None, AT)
    assert declared.version == 1


def test_archived_once() -> None:
    declared = meter()
    declared.archive(AT)
    with pytest.raises(Gone):
        declared.archive(AT)
    declared.unarchive(AT)
    assert not declared.archived


def test_the_stream_is_named_by_kind_and_id() -> None:
    assert (meter().id, meter().object_id) == ("meter:mtr_1", "mtr_1")
