"""What becomes of one event: the reasons for which it may not count, and which of them is told."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from app.audit import line_events as module
from app.audit.line_events import EventsAsked, Judged, Reason, Show, contributed, judge, line_events, shown
from app.service import Caller, Service
from domain.aggregation import Aggregation, Kind
from domain.errors import Invalid
from domain.filter import read_filter
from projections.counting import CountedMeter
from projections.known_usage import KnownUsage
from tests.app.shop import APRIL, MARCH, Shop
from tests.conftest import MovingClock

LARGE = read_filter({"conjunction": "and", "clauses": [{"key": "model", "operator": "equals", "value": "large"}]})
KNOWN_AT = 20


def asked_of(kind: Kind = Kind.sum, deciding: int | None = None, tenant_id: str = "t", **more: Any) -> EventsAsked:
    fields: dict[str, Any] = {"filter": LARGE, "gaps": ((8, 12),), "event_name": "call"} | more
    meter = CountedMeter(meter_id="m", aggregation=Aggregation(kind, "n"), created_position=1, **fields)
    usage = KnownUsage(tenant_id, meter, "ada", MARCH, APRIL, KNOWN_AT)
    return EventsAsked(usage=usage, deciding=deciding, invoiced_at=KNOWN_AT)


def judged(asked: EventsAsked, position: int, metadata: str, retracted: int | None = None) -> Judged:
    row = {
        "event_id": "e",
        "timestamp": MARCH,
        "recorded_at": MARCH,
        "position": position,
        "metadata": metadata,
        "retracted_position": retracted,
    }
    return judge(asked, row)


GOOD = '{"model": "large", "n": "007"}'


@pytest.mark.parametrize(
    ("position", "metadata", "retracted", "reason", "told"),
    [
        (9, GOOD, None, Reason.archived, "the meter was archived from position 8 up to 12"),
        (9, "{}", 15, Reason.archived, "the meter was archived from position 8 up to 12"),
        (3, "{}", 15, Reason.filtered, 'filter.clauses[0]: model is missing, wanted: equals "large"'),
        (3, '{"model": "large", "n": true}', 15, Reason.unmeasured, "no usable value: n is true"),
        (3, GOOD, 15, Reason.retracted, "retracted at position 15"),
        (21, GOOD, 22, Reason.recorded_later, "recorded past position 20, which the line knows"),
        (3, GOOD, 25, None, "counted then; retracted since, at position 25"),
        (3, GOOD, None, None, ""),
    ],
)
def test_the_first_reason_is_told(
    position: int, metadata: str, retracted: int | None, reason: Reason | None, told: str
) -> None:
    found = judged(asked_of(), position, metadata, retracted)
    assert (found.reason, found.told) == (reason, told)
    assert found.counted is (reason is None)
    assert found.late is (max(position, retracted or 0) > KNOWN_AT)


def test_an_archived_meter_says_since_when() -> None:
    assert judged(asked_of(gaps=((2, None),)), 3, GOOD).told == "the meter was archived at position 2"


def test_one_event_decides() -> None:
    asked = asked_of(Kind.last, deciding=4)
    assert judged(asked, 4, GOOD).counted
    other = judged(asked, 5, GOOD)
    assert (other.reason, other.told) == (
        Reason.not_deciding,
        "the last value decides: that of the event at position 4",
    )


def test_a_value_that_stood_before_is_told_when_nothing_else_left_the_event_out() -> None:
    row = {"event_id": "e", "timestamp": MARCH, "recorded_at": MARCH, "metadata": GOOD, "retracted_position": None}
    before = judge(asked_of(Kind.unique), row | {"position": 3}, repeated=True)
    assert (before.reason, before.told) == (Reason.repeated, "an earlier event of the cycle has the same value")
    assert judge(asked_of(Kind.unique), row | {"position": 21}, repeated=True).reason is Reason.recorded_later


@pytest.mark.parametrize(
    ("kind", "metadata", "value"),
    [
        (Kind.count, {}, "1"),
        (Kind.sum, {"n": Decimal("1.50")}, "1.5"),
        (Kind.sum, {"n": "x"}, ""),
        (Kind.unique, {"n": ""}, '""'),
        (Kind.unique, {"n": False}, "false"),
        (Kind.unique, {"n": "007"}, "7"),
        (Kind.unique, {}, ""),
    ],
)
def test_what_a_meter_takes_out_of_an_event(kind: Kind, metadata: dict[str, Any], value: str) -> None:
    assert contributed(Aggregation(kind, "n"), metadata) == value


def test_values_look_like_json() -> None:
    assert [shown(one) for one in (None, True, Decimal("1E+2"), 'a"b')] == ["missing", "true", "100", '"a\\"b"']


async def test_a_page_ends_where_it_has_looked_enough(
    service: Service, caller: Caller, clock: MovingClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of many events of which few are wanted: the page is short, and the next one goes on behind it."""
    monkeypatch.setattr(module, "WINDOW_EVENTS", 3)
    monkeypatch.setattr(module, "WINDOWS_MAX", 2)
    shop = Shop(service, caller)
    # Two at each instant, so that the order is by time and then by position.
    times = [MARCH + timedelta(minutes=number // 2) for number in range(15)]
    await shop.record([(at, '{"n": 1}' if number == 13 else "{}") for number, at in enumerate(times)])
    await shop.use(MARCH, customer_id="bob")
    asked = asked_of(filter=None, gaps=(), tenant_id=shop.tenant_id)
    asked = EventsAsked(usage=asked.usage, deciding=None, invoiced_at=KNOWN_AT, show=Show.counted)
    after, pages = None, list[tuple[list[int], int | None]]()
    while not pages or after is not None:
        page = await line_events(service.pool, asked, after, 10)
        after = page.resume
        pages.append(([event.position for event in page.events], after))
    # Making the tenant and its key took two positions; the last of these is of another customer.
    assert pages == [([], 8), ([], 14), ([16], None)]
    for wrong in (18, 99, 0):
        with pytest.raises(Invalid):
            await line_events(service.pool, asked, wrong, 10)


async def test_of_different_values_the_first_event_with_each_counts_on_whatever_page(
    service: Service, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the order of time, not of recording; 7 and "007" are one value, and later ones stand in nobody's way."""
    monkeypatch.setattr(module, "WINDOW_EVENTS", 3)
    shop = Shop(service, caller)
    values = ['"x"', "7", '"y"', "true", '"x"', '"007"', "7.0", '"true"', '"y"']
    calls = [(MARCH + timedelta(minutes=50 - number), f'{{"n": {value}}}') for number, value in enumerate(values)]
    known_at = await shop.record(calls)
    await shop.record([(MARCH, '{"n": "x"}')])
    usage = asked_of(Kind.unique, filter=None, gaps=(), tenant_id=shop.tenant_id).usage
    usage = msgspec.structs.replace(usage, position=known_at)
    for show in (Show.all, Show.counted, Show.left_out):
        asked = EventsAsked(usage=usage, deciding=None, invoiced_at=known_at, show=show)
        after, found = None, list[Judged]()
        while not found or after is not None:
            page = await line_events(service.pool, asked, after, 2)
            found, after = [*found, *page.events], page.resume
        told = [(event.value, event.reason) for event in found]
        assert told == [
            (value, reason)
            for value, reason in (
                ('"x"', Reason.recorded_later),
                ('"y"', None),
                ('"true"', None),
                ("7", None),
                ("7", Reason.repeated),
                ('"x"', None),
                ("true", None),
                ('"y"', Reason.repeated),
                ("7", Reason.repeated),
                ('"x"', Reason.repeated),
            )
            if show is Show.all or (reason is None) is (show is Show.counted)
        ]
