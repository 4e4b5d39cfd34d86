"""The billing calendar: where cycles begin and end.

Boundary k lies k intervals after the anchor, always counted from the anchor itself, so that a 31st that had
to become a 28th in one month is a 31st again in the next. Cycle k is the half-open span between the
boundaries k and k + 1.
"""

from __future__ import annotations

import calendar
import datetime
from enum import StrEnum
from functools import cache
from importlib import resources
from zoneinfo import ZoneInfo

import msgspec

_SECOND = datetime.timedelta(seconds=1)
_MONTHS_PER_YEAR = 12
_DAYS_PER_WEEK = 7


class UnknownZone(ValueError):
    """Not the name of an IANA time zone. The message says the rule, ready to follow a field name."""


class BeyondCalendar(ValueError):
    """A boundary that lies outside of the years 0001 to 9999."""


class Unit(StrEnum):
    """What an interval counts, as written on the wire."""

    Day = "Day"
    Week = "Week"
    Month = "Month"
    Year = "Year"


class Interval(msgspec.Struct, frozen=True):
    """``count`` units of the calendar, at least one. Fewer raise ``ValueError``."""

    count: int
    unit: Unit

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError("count must be at least 1")


class Anchor(msgspec.Struct, frozen=True):
    """Where the first cycle begins: at an exact instant, or with a local date in the customer's zone.

    Exactly one of the two is given, and the instant has a time zone; anything else raises ``ValueError``.
    """

    instant: datetime.datetime | None = None
    date: datetime.date | None = None

    def __post_init__(self) -> None:
        if (self.instant is None) == (self.date is None):
            raise ValueError("an anchor is either an instant or a date")
        if self.instant is not None and self.instant.utcoffset() is None:
            raise ValueError("an anchor's instant must have a time zone")


def check_zone(name: str) -> None:
    """Raises ``UnknownZone`` unless the name, as written, is one of the IANA time zone database."""
    if name not in _zone_names():
        raise UnknownZone("must be the name of an IANA time zone, such as Europe/Berlin or UTC")


def boundary(anchor: Anchor, interval: Interval, k: int, zone: str) -> datetime.datetime:
    """The instant, in UTC, at which cycle ``k`` begins and cycle ``k - 1`` ends.

    Of an anchor date it is the first instant of the local date in the zone, also where that day has no
    midnight; where a zone skipped the whole date, it is the first instant of the next one. An anchor
    instant moves through the UTC calendar and keeps its time of day; the zone does not matter then. A day
    that the month does not have becomes its last one. Raises ``BeyondCalendar`` outside of the years 0001
    to 9999, and ``UnknownZone``.
    """
    there = moved(anchor, interval, k)
    if there.instant is not None:
        return there.instant
    assert there.date is not None, "an anchor has one of the two"
    try:
        return _first_instant(there.date, _zone(zone))
    except OverflowError:
        raise BeyondCalendar(f"boundary {k} of the cycles lies outside of the years 0001 to 9999") from None


def moved(anchor: Anchor, interval: Interval, k: int) -> Anchor:
    """The anchor of cycles that begin at boundary ``k`` of this one. It is a date where the anchor is one.

    The day is the one that boundary has: of a 31st that had to become a 28th, the 28th. Raises ``BeyondCalendar``.
    """
    try:
        if anchor.instant is not None:
            at = anchor.instant.astimezone(datetime.UTC)
            return Anchor(instant=datetime.datetime.combine(_later(at.date(), interval, k), at.timetz()))
        assert anchor.date is not None, "an anchor has one of the two"
        return Anchor(date=_later(anchor.date, interval, k))
    except OverflowError:
        raise BeyondCalendar(f"boundary {k} of the cycles lies outside of the years 0001 to 9999") from None


def _later(day: datetime.date, interval: Interval, k: int) -> datetime.date:
    """The date ``k`` intervals after ``day``. Raises ``OverflowError`` when there is no such date."""
    count = interval.count * k
    match interval.unit:
        case Unit.Day:
            return day + datetime.timedelta(days=count)
        case Unit.Week:
            return day + datetime.timedelta(days=count * _DAYS_PER_WEEK)
        case Unit.Month:
            return _months_later(day, count)
        case Unit.Year:
            return _months_later(day, count * _MONTHS_PER_YEAR)


def _months_later(day: datetime.date, months: int) -> datetime.date:
    year, month = divmod(day.year * _MONTHS_PER_YEAR + day.month - 1 + months, _MONTHS_PER_YEAR)
    if not datetime.MINYEAR <= year <= datetime.MAXYEAR:
        raise OverflowError("no such year")
    _, last_day = calendar.monthrange(year, month + 1)
    return datetime.date(year, month + 1, min(day.day, last_day))


def _first_instant(day: datetime.date, zone: ZoneInfo) -> datetime.datetime:
    """The earliest instant whose local date is ``day`` or later."""
    midnight = datetime.datetime.combine(day, datetime.time())
    # Where midnight comes twice, fold 0 is the first one. Where it does not exist, fold 0 counts with the
    # offset before the gap and gives an instant at the gap's end or later, and fold 1 one before the gap.
    candidate = midnight.replace(tzinfo=zone, fold=0).astimezone(datetime.UTC)
    if candidate.astimezone(zone).replace(tzinfo=None) == midnight:
        return candidate
    before = midnight.replace(tzinfo=zone, fold=1).astimezone(datetime.UTC)
    # Clocks change at whole seconds, so the search for the gap ends between two neighbouring ones.
    low, high = 0, (candidate - before) // _SECOND
    while high - low > 1:
        middle = (low + high) // 2
        if (before + middle * _SECOND).astimezone(zone).date() < day:
            low = middle
        else:
            high = middle
    return before + high * _SECOND


def _zone(name: str) -> ZoneInfo:
    # Checked on each use, because ``ZoneInfo`` would look for any relative path among the system's files.
    check_zone(name)
    return ZoneInfo(name)


@cache
def _zone_names() -> frozenset[str]:
    """The names in the ``tzdata`` package: the same on every machine, whatever its own files hold."""
    names = resources.files("tzdata").joinpath("zones").read_text(encoding="ascii").split()
    # "Factory" is the database's placeholder for a machine that was never set up.
    return frozenset(names) - {"Factory"}
