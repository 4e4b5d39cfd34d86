"""Instants and durations: aware UTC datetimes to the microsecond, and their text and integer forms."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
"""The instant from which ``micros`` counts."""

DURATION_MAX = timedelta(days=36_525)
"""The longest duration that can be set: 100 years, so that now minus any duration is still a date."""

_DATE_TIME = r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d+))?"
_RFC3339 = re.compile(_DATE_TIME + r"(?:[Zz]|([+-])(\d\d):(\d\d))", re.ASCII)
_WITHOUT_OFFSET = re.compile(_DATE_TIME, re.ASCII)

# Ten digits count more seconds than DURATION_MAX has; more digits would only cost time to convert.
_DURATION = re.compile(r"([0-9]{1,10})([smhd])")
_UNITS = {
    "d": timedelta(days=1),
    "h": timedelta(hours=1),
    "m": timedelta(minutes=1),
    "s": timedelta(seconds=1),
}
MICROSECOND = timedelta(microseconds=1)
"""The least distance of two instants."""


class InvalidInstant(ValueError):
    """Text or a number that is no instant. The message says the rule, ready to follow a field name."""


class InvalidDuration(ValueError):
    """Text or a value that is no duration here. The message says the rule, ready to follow a field name."""


def parse(text: str) -> datetime:
    """The instant of an RFC 3339 timestamp, in UTC, cut (never rounded) to microseconds.

    The date and the time may be separated by ``T``, ``t`` or a space. The offset is required: ``Z``, ``z`` or
    ``±hh:mm``. Raises ``InvalidInstant`` otherwise, for a leap second, for a date or time that does not
    exist, and for an instant outside of the years 0001 to 9999.
    """
    match = _RFC3339.fullmatch(text)
    if match is None:
        if _WITHOUT_OFFSET.fullmatch(text):
            raise InvalidInstant("must have an offset from UTC: 'Z' or one such as '+02:00'")
        raise InvalidInstant("must be an RFC 3339 timestamp such as 2026-11-25T07:46:35Z")
    year, month, day, hour, minute, second, fraction, sign, offset_hours, offset_minutes = match.groups()
    if second == "60":
        raise InvalidInstant("must not be a leap second: seconds go from 00 to 59")
    micro = int(fraction[:6].ljust(6, "0")) if fraction else 0
    try:
        at = datetime(int(year), int(month), int(day), int(hour), int(minute), int(second), micro, UTC)
    except ValueError:
        raise InvalidInstant("must be a date and a time that exist, in the years 0001 to 9999") from None
    return at if sign is None else _without_offset(at, sign, int(offset_hours), int(offset_minutes))


def moment(at: datetime) -> str:
    """An instant as people read it, in UTC, to the second or as exactly as it is: ``2026-03-10 12:00:00 UTC``."""
    return f"{at.astimezone(UTC).replace(tzinfo=None).isoformat(' ')} UTC"


def text(at: datetime) -> str:
    """RFC 3339 in UTC, six digits of fraction. Raises ``InvalidInstant`` for a datetime without a zone."""
    return _aware(at).isoformat(timespec="microseconds")[:26] + "Z"


def micros(at: datetime) -> int:
    """Microseconds since ``EPOCH``, exact. Raises ``InvalidInstant`` for a datetime without a zone."""
    # Integers only: no float of seconds in between. An integer division of durations takes three times as long.
    since = _aware(at) - EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def from_micros(n: int) -> datetime:
    """The instant ``n`` microseconds after ``EPOCH``. ``InvalidInstant`` beyond the years 0001 to 9999."""
    try:
        return EPOCH + timedelta(microseconds=n)
    except OverflowError:
        raise InvalidInstant("must lie in the years 0001 to 9999") from None


def parse_duration(text: str) -> timedelta | None:
    """A duration such as ``30s``, ``5m``, ``1h`` or ``35d``; ``None`` for ``none``, which means no limit.

    Raises ``InvalidDuration`` for anything else, and beyond ``DURATION_MAX``.
    """
    if text == "none":
        return None
    match = _DURATION.fullmatch(text)
    if match is None:
        raise InvalidDuration("must be a whole number with a unit (s, m, h or d) such as 5m, or none")
    # The number of units is compared before multiplying, because the product could be beyond any timedelta.
    count, unit = int(match[1]), _UNITS[match[2]]
    if count > DURATION_MAX // unit:
        raise InvalidDuration(f"must not be longer than {DURATION_MAX.days} days")
    return count * unit


def duration_text(d: timedelta | None) -> str:
    """The text that ``parse_duration`` reads back as ``d``, in the largest unit that divides it.

    Raises ``InvalidDuration`` when no such text exists: below zero, with a part of a second, or too long.
    """
    if d is None:
        return "none"
    if not timedelta(0) <= d <= DURATION_MAX or d.microseconds:
        raise InvalidDuration(f"must be whole seconds from 0 to {DURATION_MAX.days} days")
    # Every unit divides zero; it is written in the smallest.
    letter = next((name for name, unit in _UNITS.items() if d and not d % unit), "s")
    return f"{d // _UNITS[letter]}{letter}"


def _without_offset(at: datetime, sign: str, hours: int, minutes: int) -> datetime:
    if hours > 23 or minutes > 59:
        raise InvalidInstant("must have an offset between -23:59 and +23:59")
    offset = timedelta(hours=hours, minutes=minutes)
    try:
        return at - offset if sign == "+" else at + offset
    except OverflowError:
        raise InvalidInstant("must lie in the years 0001 to 9999 in UTC") from None


def _aware(at: datetime) -> datetime:
    if at.tzinfo is UTC:
        return at
    if at.utcoffset() is None:
        raise InvalidInstant("must have a time zone")
    return at.astimezone(UTC)
