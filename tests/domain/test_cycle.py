"""The billing calendar: boundaries in every zone, clamping, tiling, and the ends of the calendar."""

from datetime import UTC, date, datetime, timedelta
from functools import cache
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.cycle import (
    Anchor,
    BeyondCalendar,
    Interval,
    Unit,
    UnknownZone,
    boundary,
    check_zone,
    moved,
)

DAY = Interval(1, Unit.Day)
WEEK = Interval(1, Unit.Week)
MONTH = Interval(1, Unit.Month)
YEAR = Interval(1, Unit.Year)

SKIPPED_A_DATE = {"Pacific/Apia", "Pacific/Fakaofo"}
"""Both moved across the date line at the end of 2011; only there can a cycle be empty."""

NAMES_LIKE_FILES = {"Factory", "localtime", "posixrules"}


@cache
def zones() -> list[str]:
    return sorted(available_timezones() - NAMES_LIKE_FILES)


def on(year: int, month: int, day: int) -> Anchor:
    return Anchor(date=date(year, month, day))


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


DATES = st.dates(date(2000, 1, 1), date(2035, 12, 31))
INTERVALS = st.builds(Interval, st.integers(1, 5), st.sampled_from(Unit))
ZONES = st.deferred(lambda: st.sampled_from(zones()))


def local_dates(anchor: Anchor, interval: Interval, zone: str, ks: range) -> list[str]:
    return [boundary(anchor, interval, k, zone).astimezone(ZoneInfo(zone)).date().isoformat() for k in ks]


@pytest.mark.parametrize(
    ("anchor", "interval", "expected"),
    [
        (on(2026, 1, 31), MONTH, ["2026-01-31", "2026-02-28", "2026-03-31", "2026-04-30", "2026-05-31"]),
        (on(2024, 1, 31), MONTH, ["2024-01-31", "2024-02-29", "2024-03-31"]),
        (on(2026, 1, 30), MONTH, ["2026-01-30", "2026-02-28", "2026-03-30"]),
        (on(2026, 11, 30), MONTH, ["2026-11-30", "2026-12-30", "2027-01-30", "2027-02-28", "2027-03-30"]),
        (on(2026, 10, 31), Interval(4, Unit.Month), ["2026-10-31", "2027-02-28", "2027-06-30", "2027-10-31"]),
        (on(2024, 2, 29), YEAR, ["2024-02-29", "2025-02-28", "2026-02-28", "2027-02-28", "2028-02-29"]),
        (on(2096, 2, 29), Interval(4, Unit.Year), ["2096-02-29", "2100-02-28", "2104-02-29"]),
        (on(2026, 12, 28), WEEK, ["2026-12-28", "2027-01-04", "2027-01-11"]),
        (on(2026, 2, 27), Interval(2, Unit.Week), ["2026-02-27", "2026-03-13", "2026-03-27"]),
        (on(2024, 2, 28), DAY, ["2024-02-28", "2024-02-29", "2024-03-01"]),
        (on(2026, 12, 31), Interval(30, Unit.Day), ["2026-12-31", "2027-01-30", "2027-03-01"]),
    ],
)
@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Pacific/Kiritimati"])
def test_boundaries_count_from_the_anchor(anchor: Anchor, interval: Interval, expected: list[str], zone: str) -> None:
    assert local_dates(anchor, interval, zone, range(len(expected))) == expected


@pytest.mark.parametrize(
    ("zone", "day", "start"),
    [
        ("UTC", date(2026, 1, 1), "2026-01-01T00:00"),
        ("Asia/Kolkata", date(2026, 1, 1), "2025-12-31T18:30"),
        ("America/New_York", date(2026, 1, 1), "2026-01-01T05:00"),
        ("America/New_York", date(2026, 7, 1), "2026-07-01T04:00"),
        # Clocks went from 00:00 to 01:00: the day has no midnight.
        ("America/Sao_Paulo", date(2017, 10, 15), "2017-10-15T03:00"),
        ("Asia/Beirut", date(2022, 3, 27), "2022-03-26T22:00"),
        ("Africa/Cairo", date(2024, 4, 26), "2024-04-25T22:00"),
        ("America/Havana", date(2024, 3, 10), "2024-03-10T05:00"),
        # Clocks went from 23:30 to 00:30: midnight lies inside the gap, not at its start.
        ("America/Toronto", date(1919, 3, 31), "1919-03-31T04:30"),
        # Clocks went from 01:00 back to 00:00: midnight came twice, the first one counts.
        ("America/Havana", date(2024, 11, 3), "2024-11-03T04:00"),
        # Clocks went from 00:00 back to 23:00: midnight came once, an hour late.
        ("America/Sao_Paulo", date(2018, 2, 18), "2018-02-18T03:00"),
        ("Africa/Cairo", date(2024, 11, 1), "2024-10-31T22:00"),
        # Clocks went from 00:01 back to 23:01: midnight came twice, the first one counts.
        ("America/St_Johns", date(2010, 11, 7), "2010-11-07T02:30"),
        # A whole date was skipped: 29 December was followed by 31 December.
        ("Pacific/Apia", date(2011, 12, 29), "2011-12-29T10:00"),
        ("Pacific/Apia", date(2011, 12, 30), "2011-12-30T10:00"),
        ("Pacific/Apia", date(2011, 12, 31), "2011-12-30T10:00"),
        ("Pacific/Apia", date(2012, 1, 1), "2011-12-31T10:00"),
        # Clocks went from 23:30 to 00:00: midnight exists, at the gap's end.
        ("Asia/Pyongyang", date(2018, 5, 5), "2018-05-04T15:00"),
    ],
)
def test_the_first_instant_of_a_local_date(zone: str, day: date, start: str) -> None:
    assert boundary(Anchor(date=day), DAY, 0, zone) == utc(start)


def test_of_the_daily_cycles_around_a_skipped_date_one_is_empty() -> None:
    anchor = on(2011, 12, 28)
    edges = [boundary(anchor, DAY, k, "Pacific/Apia") for k in range(6)]
    assert [end - start for start, end in pairwise(edges)] == [timedelta(hours=h) for h in (24, 24, 0, 24, 24)]


def first_instant_by_search(day: date, zone: ZoneInfo) -> datetime:
    """Steps through the two days around, then through the seconds of the step that reaches the date."""
    at = datetime(day.year, day.month, day.day, tzinfo=UTC) - timedelta(hours=26)
    quarter, second = timedelta(minutes=15), timedelta(seconds=1)
    while (at + quarter).astimezone(zone).date() < day:
        at += quarter
    while at.astimezone(zone).date() < day:
        at += second
    return at


@settings(max_examples=200, deadline=None)
@given(ZONES, DATES)
def test_a_boundary_is_the_first_instant_of_its_date(zone: str, day: date) -> None:
    at = boundary(Anchor(date=day), DAY, 0, zone)
    assert at == first_instant_by_search(day, ZoneInfo(zone))


def days_of_change(zone: ZoneInfo) -> list[date]:
    """The UTC dates from 2000 to 2035 on which the zone's offset changes."""
    first = datetime(2000, 1, 1, tzinfo=UTC)
    noons = [first + timedelta(days=n) for n in range(36 * 365 + 9)]
    offsets = [at.astimezone(zone).utcoffset() for at in noons]
    return [at.date() for at, (a, b) in zip(noons, pairwise(offsets), strict=False) if a != b]


@settings(max_examples=40, deadline=None)
@given(ZONES, st.data())
def test_a_boundary_is_the_first_instant_of_its_date_also_when_clocks_change(zone: str, data: st.DataObject) -> None:
    changes = days_of_change(ZoneInfo(zone))
    if changes:
        day = data.draw(st.sampled_from(changes)) + timedelta(days=data.draw(st.integers(-1, 2)))
        at = boundary(Anchor(date=day), DAY, 0, zone)
        assert at == first_instant_by_search(day, ZoneInfo(zone))


@settings(max_examples=200, deadline=None)
@given(DATES, INTERVALS, ZONES, st.integers(0, 24))
def test_boundaries_rise(day: date, interval: Interval, zone: str, k: int) -> None:
    start, end = (boundary(Anchor(date=day), interval, n, zone) for n in (k, k + 1))
    assert start < end or (start == end and interval == DAY and zone in SKIPPED_A_DATE)
    assert start.tzinfo is UTC


@given(st.datetimes(datetime(2000, 1, 1), datetime(2035, 12, 31), timezones=st.just(UTC)), INTERVALS)
def test_cycles_from_an_instant_tile_and_keep_the_time_of_day(at: datetime, interval: Interval) -> None:
    anchor = Anchor(instant=at)
    ends = [boundary(anchor, interval, k, "America/Havana") for k in range(13)]
    assert ends[0] == at
    assert all(a < b for a, b in pairwise(ends))
    assert {end.timetz() for end in ends} == {at.timetz()}
    if interval.unit in (Unit.Month, Unit.Year):
        assert all(end.day == at.day or (end.day < at.day and (end + timedelta(days=1)).day == 1) for end in ends)


def test_an_instant_is_clamped_in_utc() -> None:
    anchor = Anchor(instant=datetime.fromisoformat("2026-01-31T23:30:00.000001-05:00"))
    assert boundary(anchor, MONTH, 0, "UTC") == utc("2026-02-01T04:30:00.000001")
    assert boundary(anchor, MONTH, 1, "UTC") == utc("2026-03-01T04:30:00.000001")
    last = Anchor(instant=utc("2026-01-31T12:00"))
    assert [boundary(last, MONTH, k, "UTC").date().isoformat() for k in range(4)] == [
        "2026-01-31",
        "2026-02-28",
        "2026-03-31",
        "2026-04-30",
    ]


@pytest.mark.parametrize(
    ("anchor", "interval", "k"),
    [
        (on(9999, 1, 1), YEAR, 1),
        (on(2026, 1, 1), YEAR, 10**9),
        (on(2026, 1, 1), MONTH, 10**30),
        (on(2026, 1, 1), DAY, 10**30),
        (on(2026, 1, 1), WEEK, 10**8),
        (on(2026, 1, 1), Interval(10**30, Unit.Month), 1),
        (on(1, 1, 1), DAY, -1),
        (on(1, 1, 1), MONTH, -1),
        (Anchor(instant=utc("9999-12-31T12:00")), DAY, 1),
        (Anchor(instant=utc("2026-01-01T12:00")), YEAR, 10**9),
    ],
)
@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati", "America/New_York"])
def test_beyond_the_calendar(anchor: Anchor, interval: Interval, k: int, zone: str) -> None:
    with pytest.raises(BeyondCalendar, match="0001 to 9999") as caught:
        boundary(anchor, interval, k, zone)
    assert isinstance(caught.value, ValueError)


def test_the_first_local_date_east_of_greenwich_has_no_instant() -> None:
    with pytest.raises(BeyondCalendar):
        boundary(on(1, 1, 1), DAY, 0, "Asia/Tokyo")


@pytest.mark.parametrize(
    "name",
    ["UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires", "Etc/GMT+12", "Asia/Calcutta", "EST5EDT"],
)
def test_iana_names_are_zones(name: str) -> None:
    check_zone(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "Berlin",
        "europe/berlin",
        "Europe",
        "Europe/",
        "Europe/Berlin ",
        "/etc/localtime",
        "/usr/share/zoneinfo/Europe/Berlin",
        "../zoneinfo/UTC",
        "Europe/../UTC",
        "posix/Europe/Berlin",
        "right/UTC",
        "localtime",
        "posixrules",
        "Factory",
        "tzdata.zi",
        "zone.tab",
        "+02:00",
        "UTC\0",
    ],
)
def test_other_names_are_not(name: str) -> None:
    with pytest.raises(UnknownZone, match="IANA time zone"):
        check_zone(name)
    with pytest.raises(UnknownZone):
        boundary(on(2026, 1, 1), DAY, 0, name)


def test_an_anchor_is_one_of_two() -> None:
    with pytest.raises(ValueError, match="either an instant or a date"):
        Anchor()
    with pytest.raises(ValueError, match="either an instant or a date"):
        Anchor(instant=utc("2026-01-01T00:00"), date=date(2026, 1, 1))
    with pytest.raises(ValueError, match="time zone"):
        Anchor(instant=datetime(2026, 1, 1))


@pytest.mark.parametrize("count", [0, -1])
def test_an_interval_counts_at_least_one(count: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Interval(count, Unit.Month)


def test_a_moved_anchor_has_the_day_of_its_boundary() -> None:
    assert moved(on(2026, 1, 31), MONTH, 1) == on(2026, 2, 28)
    assert moved(on(2026, 1, 31), MONTH, 0) == on(2026, 1, 31)
    at = Anchor(instant=utc("2026-01-31T12:00:00.000001"))
    assert moved(at, DAY, 2) == Anchor(instant=utc("2026-02-02T12:00:00.000001"))
    with pytest.raises(BeyondCalendar):
        moved(on(9999, 12, 31), DAY, 1)


@given(DATES, INTERVALS, ZONES, st.integers(0, 200))
def test_a_moved_anchor_begins_at_its_boundary(day: date, interval: Interval, zone: str, k: int) -> None:
    anchor = Anchor(date=day)
    assert boundary(moved(anchor, interval, k), interval, 0, zone) == boundary(anchor, interval, k, zone)


@pytest.mark.parametrize("anchor", [on(2026, 1, 31), Anchor(instant=utc("2026-01-31T12:00:00.000001"))])
def test_anchor_and_interval_survive_json(anchor: Anchor) -> None:
    assert msgspec.json.decode(msgspec.json.encode(anchor), type=Anchor) == anchor
    interval = Interval(3, Unit.Month)
    assert msgspec.json.encode(interval) == b'{"count":3,"unit":"Month"}'
    assert msgspec.json.decode(msgspec.json.encode(interval), type=Interval) == interval
