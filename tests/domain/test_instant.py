"""Instants: RFC 3339 in and out, exact microseconds; durations of the settings."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain import instant
from domain.instant import EPOCH, InvalidDuration, InvalidInstant

INSTANTS = st.datetimes(timezones=st.just(UTC))


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2026-11-25T07:46:35Z", "2026-11-25T07:46:35.000000Z"),
        ("2026-11-25t07:46:35z", "2026-11-25T07:46:35.000000Z"),
        ("2026-11-25 07:46:35Z", "2026-11-25T07:46:35.000000Z"),
        ("2026-11-25T07:46:35.5Z", "2026-11-25T07:46:35.500000Z"),
        ("2026-11-25T07:46:35.000001Z", "2026-11-25T07:46:35.000001Z"),
        ("2026-11-25T07:46:35.9999999Z", "2026-11-25T07:46:35.999999Z"),
        ("2026-11-25T07:46:35." + "9" * 400 + "Z", "2026-11-25T07:46:35.999999Z"),
        ("2026-11-25T07:46:35+02:00", "2026-11-25T05:46:35.000000Z"),
        ("2026-11-25T07:46:35-05:30", "2026-11-25T13:16:35.000000Z"),
        ("2026-11-25T07:46:35+00:00", "2026-11-25T07:46:35.000000Z"),
        ("2026-11-25T07:46:35-00:00", "2026-11-25T07:46:35.000000Z"),
        ("2026-01-01T00:00:00+23:59", "2025-12-31T00:01:00.000000Z"),
        ("2024-02-29T12:00:00Z", "2024-02-29T12:00:00.000000Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000000Z"),
        ("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z"),
        ("9999-12-31T23:59:59+00:01", "9999-12-31T23:58:59.000000Z"),
    ],
)
def test_rfc_3339_is_read(text: str, utc: str) -> None:
    at = instant.parse(text)
    assert at.tzinfo is UTC
    assert instant.text(at) == utc


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("2026-11-25T07:46:35", "offset"),
        ("2026-11-25 07:46:35.123", "offset"),
        ("2016-12-31T23:59:60Z", "leap second"),
        ("2026-11-25T24:00:00Z", "exist"),
        ("2026-11-25T07:60:00Z", "exist"),
        ("2026-11-25T07:46:61Z", "exist"),
        ("2026-02-29T00:00:00Z", "exist"),
        ("2026-13-01T00:00:00Z", "exist"),
        ("2026-00-01T00:00:00Z", "exist"),
        ("0000-01-01T00:00:00Z", "exist"),
        ("2026-11-25T07:46:35+24:00", "offset between"),
        ("2026-11-25T07:46:35+01:60", "offset between"),
        ("0001-01-01T00:00:00+00:01", "0001 to 9999"),
        ("9999-12-31T23:59:59-00:01", "0001 to 9999"),
        ("", "RFC 3339"),
        ("now", "RFC 3339"),
        ("2026-11-25", "RFC 3339"),
        ("2026-11-25T07:46Z", "RFC 3339"),
        ("20261125T074635Z", "RFC 3339"),
        ("2026-W48-3T07:46:35Z", "RFC 3339"),
        ("2026-11-25T07:46:35.Z", "RFC 3339"),
        ("2026-11-25T07:46:35,5Z", "RFC 3339"),
        ("2026-11-25T07:46:35+0200", "RFC 3339"),
        ("2026-11-25T07:46:35+02", "RFC 3339"),
        ("2026-11-25_07:46:35Z", "RFC 3339"),
        ("2026-11-25T07:46:35Z\n", "RFC 3339"),
        (" 2026-11-25T07:46:35Z", "RFC 3339"),
        ("2026-11-25T07:46:35 Z", "RFC 3339"),
        ("+2026-11-25T07:46:35Z", "RFC 3339"),
        ("12026-11-25T07:46:35Z", "RFC 3339"),
        ("2026-11-25T07:46:3\u0665Z", "RFC 3339"),
        ("1764056795", "RFC 3339"),
    ],
)
def test_anything_else_is_refused_with_its_rule(text: str, rule: str) -> None:
    with pytest.raises(InvalidInstant, match=rule):
        instant.parse(text)


@given(INSTANTS)
def test_text_and_micros_and_back(at: datetime) -> None:
    written = instant.text(at)
    assert len(written) == len("2026-11-25T07:46:35.000000Z")
    assert instant.parse(written) == at
    assert instant.from_micros(instant.micros(at)) == at


@given(INSTANTS, INSTANTS)
def test_text_and_micros_are_in_the_order_of_time(a: datetime, b: datetime) -> None:
    assert (a < b) == (instant.text(a) < instant.text(b)) == (instant.micros(a) < instant.micros(b))


@given(
    st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29)),
    st.integers(-(23 * 60 + 59), 23 * 60 + 59),
)
def test_an_offset_names_the_same_instant(local: datetime, minutes: int) -> None:
    at = local.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    assert instant.parse(at.isoformat()) == at
    assert instant.text(at) == instant.text(at.astimezone(UTC))
    assert instant.micros(at) == instant.micros(at.astimezone(UTC))


def test_micros_count_from_the_epoch() -> None:
    assert instant.micros(EPOCH) == 0
    assert instant.micros(datetime(1969, 12, 31, 23, 59, 59, 999_999, UTC)) == -1
    assert instant.micros(datetime(2026, 11, 25, 7, 46, 35, 123_457, UTC)) == 1_795_592_795_123_457
    assert instant.from_micros(-1) == datetime(1969, 12, 31, 23, 59, 59, 999_999, UTC)


@pytest.mark.parametrize("n", [2**63, -(2**63), 10**40, instant.micros(datetime.max.replace(tzinfo=UTC)) + 1])
def test_micros_beyond_the_calendar_are_refused(n: int) -> None:
    with pytest.raises(InvalidInstant, match="0001 to 9999"):
        instant.from_micros(n)


def test_a_datetime_without_a_zone_is_no_instant() -> None:
    naive = datetime(2026, 1, 1)
    with pytest.raises(InvalidInstant, match="time zone"):
        instant.text(naive)
    with pytest.raises(InvalidInstant, match="time zone"):
        instant.micros(naive)


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("30s", timedelta(seconds=30)),
        ("5m", timedelta(minutes=5)),
        ("1h", timedelta(hours=1)),
        ("35d", timedelta(days=35)),
        ("0s", timedelta(0)),
        ("0d", timedelta(0)),
        ("36525d", timedelta(days=36_525)),
        ("3155760000s", timedelta(days=36_525)),
        ("none", None),
    ],
)
def test_durations_are_read(text: str, duration: timedelta | None) -> None:
    assert instant.parse_duration(text) == duration
    assert instant.parse_duration(instant.duration_text(duration)) == duration


@pytest.mark.parametrize(
    "text",
    ["", "5", "m", "-5m", "+5m", "5 m", " 5m", "5m\n", "1.5h", "5M", "1w", "1h30m", "None", "\u0665m",
     "9" * 5000 + "d"],
)  # fmt: skip
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(InvalidDuration, match="whole number with a unit"):
        instant.parse_duration(text)


@pytest.mark.parametrize("text", ["36526d", "876601h", "3155760001s", "9999999999d"])
def test_a_duration_has_a_bound(text: str) -> None:
    with pytest.raises(InvalidDuration, match="longer than 36525 days"):
        instant.parse_duration(text)


@pytest.mark.parametrize(
    ("duration", "text"),
    [
        (None, "none"),
        (timedelta(0), "0s"),
        (timedelta(seconds=90), "90s"),
        (timedelta(minutes=5), "5m"),
        (timedelta(hours=1), "1h"),
        (timedelta(hours=36), "36h"),
        (timedelta(days=35), "35d"),
    ],
)
def test_durations_are_written_in_the_largest_unit(duration: timedelta | None, text: str) -> None:
    assert instant.duration_text(duration) == text


@given(st.integers(0, 36_525 * 86_400))
def test_a_duration_and_back(seconds: int) -> None:
    duration = timedelta(seconds=seconds)
    assert instant.parse_duration(instant.duration_text(duration)) == duration


@pytest.mark.parametrize(
    "duration", [timedelta(seconds=-1), timedelta(microseconds=1), timedelta(days=36_525, seconds=1)]
)
def test_a_duration_without_a_text_is_refused(duration: timedelta) -> None:
    with pytest.raises(InvalidDuration, match="whole seconds"):
        instant.duration_text(duration)
