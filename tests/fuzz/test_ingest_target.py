"""The laws that a coverage-guided fuzzer tries: they hold on what it starts from, and a reader that lies is caught."""

from __future__ import annotations

import msgspec
import pytest

from app.ingest import exact, fast
from domain.event import UsageEvent
from tests.fuzz.ingest_target import check, corpus


def test_the_laws_hold_where_the_fuzzer_starts() -> None:
    counts = [len(check(data)) for data in corpus()]
    assert counts == [2, 4, 4, 1, 1, 1, 1, 0, 0]


@pytest.mark.parametrize("change", [{"customer_id": "d"}, {"metadata": '{"tokens":13}'}, {"timestamp": None}])
def test_a_reader_that_lies_is_caught(monkeypatch: pytest.MonkeyPatch, change: dict[str, object]) -> None:
    read = fast.read_event

    def lying(text: bytes) -> UsageEvent | None:
        event = read(text)
        return event and msgspec.structs.replace(event, **change)

    monkeypatch.setattr(fast, "read_event", lying)
    with pytest.raises(AssertionError):
        check(next(corpus()))


def test_a_problem_without_a_field_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exact, "_REQUIRED", (("", 512), *exact._REQUIRED[1:]))
    with pytest.raises(AssertionError):
        check(b' {"events":[{}]}')
