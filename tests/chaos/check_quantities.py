"""The read models of usage against a count of every event (I3, and I8 of the projector)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from fractions import Fraction
from typing import Any

from tests.chaos.books import Books, Usage
from tests.chaos.naive import NaiveMeter, aggregated, exact, meters_of, standing

Hour = tuple[str, datetime]
"""A customer and the hour (UTC) of an event."""


def check_projected(books: Books) -> Iterator[str]:
    """I8: the projection stands at the end of a commit, and not past the log."""
    ends = {0, *(commit["last_position"] for commit in books.commits)}
    if books.projected not in ends:
        yield f"the projection stands at {books.projected}, where no commit ends"


def check_quantities(books: Books) -> Iterator[str]:
    """I3: each stored summary is what a count of all events up to the projected position gives, and none is missing."""
    usage = standing(books.usage, books.projected)
    meters = [meter for meter in meters_of(books) if _declared(books, meter) <= books.projected]
    rows = {(row["meter_id"], row["customer_id"], row["hour"]): row for row in books.quantities}
    seen: set[tuple[str, str, datetime]] = set()
    distinct: dict[tuple[str, str, datetime], int] = {}
    for row in books.distinct:
        key = (row["meter_id"], row["customer_id"], row["hour"])
        distinct[key] = distinct.get(key, 0) + 1
    for meter in meters:
        for (customer_id, hour), events in _by_hour(meter, usage).items():
            key = (meter.meter_id, customer_id, hour)
            seen.add(key)
            row = rows.get(key)
            if row is None:
                yield f"meter {meter.meter_id} misses {len(events)} events of {customer_id} in the hour of {hour}"
                continue
            yield from _differences(meter, row, events, distinct.get(key, 0))
        yield from _check_unmeasured(books, meter, usage)
    for key in rows.keys() - seen:
        row = rows[key]
        if row["events"] or row["unmeasured"]:
            yield f"meter {key[0]} counts {row['events']} events of {key[1]} in the hour of {key[2]} that are not there"


def _declared(books: Books, meter: NaiveMeter) -> int:
    return next(event.position for event in books.of_kind("meter.created") if event.stream == f"meter:{meter.meter_id}")


def _by_hour(meter: NaiveMeter, usage: list[Usage]) -> dict[Hour, list[Usage]]:
    found: dict[Hour, list[Usage]] = {}
    for one in usage:
        if meter.counts(one):
            hour = one.at.replace(minute=0, second=0, microsecond=0)
            found.setdefault((one.customer_id, hour), []).append(one)
    return found


def _differences(meter: NaiveMeter, row: Any, events: list[Usage], distinct: int) -> Iterator[str]:
    where = f"meter {meter.meter_id}, {row['customer_id']}, {row['hour']}"
    with_value = [one for one in events if meter.value(one) is not None]
    if (row["events"], row["unmeasured"]) != (len(with_value), len(events) - len(with_value)):
        counted = f"{row['events']} events and {row['unmeasured']} unmeasured"
        yield f"{where}: counts {counted} where there are {len(with_value)} and {len(events) - len(with_value)}"
        return
    stored: dict[str, Fraction | None] = {
        "count": Fraction(row["events"]),
        "sum": exact(row["total"]),
        "max": None if row["high"] is None else exact(row["high"]),
        "min": None if row["low"] is None else exact(row["low"]),
        "last": None if row["last_value"] is None else exact(row["last_value"]),
        "unique": Fraction(distinct),
    }
    if meter.kind in stored and (stored[meter.kind] or 0) != aggregated(meter, with_value):
        yield f"{where}: {meter.kind} is {stored[meter.kind]} where it is {aggregated(meter, with_value)}"


def _check_unmeasured(books: Books, meter: NaiveMeter, usage: list[Usage]) -> Iterator[str]:
    expected = {one.position for one in usage if meter.counts(one) and meter.value(one) is None}
    listed = {row["position"] for row in books.unmeasured if row["meter_id"] == meter.meter_id}
    if expected != listed:
        yield f"meter {meter.meter_id} lists {len(listed)} events as unmeasured where there are {len(expected)}"
