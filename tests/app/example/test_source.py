"""Rows of the file as events."""

from __future__ import annotations

import zipfile
from pathlib import Path

import msgspec
import pytest

from app.example.errors import ExampleError
from app.example.source import FlightData, event_of, find_data

ROW = {
    "year": "2013",
    "month": "1",
    "day": "1",
    "dep_time": "517",
    "sched_dep_time": "515",
    "dep_delay": "2",
    "carrier": "UA",
    "flight": "1545",
    "tailnum": "N14228",
    "origin": "EWR",
    "dest": "IAH",
    "air_time": "227",
    "distance": "1400",
    "time_hour": "2013-01-01T10:00:00Z",
}


def archive(tmp_path: Path, text: str, name: str = "flights.csv") -> FlightData:
    with zipfile.ZipFile(tmp_path / "flights.csv.zip", "w") as packed:
        packed.writestr(name, text)
    (tmp_path / "airlines.csv").write_text("carrier,name\nUA,United Air Lines Inc.\n", encoding="utf-8")
    return FlightData(tmp_path / "flights.csv.zip", tmp_path / "airlines.csv")


def as_text(row: dict[str, str]) -> str:
    return f"{','.join(row)}\n{','.join(row.values())}\n"


def test_a_row_becomes_one_event() -> None:
    assert msgspec.to_builtins(event_of(ROW)) == {
        "event_id": "flight:2013-01-01:UA:1545:EWR:IAH:0515",
        "event_name": "flight.departed",
        "customer_id": "carrier_UA",
        "timestamp": "2013-01-01T10:00:00Z",
        "metadata": {"origin": "EWR", "dest": "IAH", "distance": 1400, "dep_delay": 2, "air_time": 227},
    }


@pytest.mark.parametrize("missing", ["NA", ""])
def test_what_is_missing_has_no_key(missing: str) -> None:
    event = event_of({**ROW, "dep_delay": missing, "air_time": missing})
    assert msgspec.json.decode(msgspec.json.encode(event))["metadata"] == {
        "origin": "EWR",
        "dest": "IAH",
        "distance": 1400,
    }


def test_a_delay_may_be_negative_or_zero() -> None:
    delays = [event_of({**ROW, "dep_delay": text}).metadata.dep_delay for text in ("-4", "0")]
    assert delays == [-4, 0]
    assert b'"dep_delay":0' in msgspec.json.encode(event_of({**ROW, "dep_delay": "0"}))


def test_no_two_flights_share_an_id_and_every_carrier_has_a_name() -> None:
    data = find_data()
    events = list(data.events())
    assert len(events) == data.count() == 336_776
    assert len({event.event_id for event in events}) == len(events)
    assert {event.customer_id for event in events} == {f"carrier_{code}" for code in data.carriers()}


def test_a_bad_value_names_its_line(tmp_path: Path) -> None:
    data = archive(tmp_path, as_text({**ROW, "distance": "far"}))
    with pytest.raises(ExampleError, match=r"flights\.csv\.zip, line 2: .*far"):
        list(data.events())


def test_a_column_that_is_not_there_is_named(tmp_path: Path) -> None:
    data = archive(tmp_path, as_text({name: value for name, value in ROW.items() if name != "origin"}))
    with pytest.raises(ExampleError, match=r"line 2: 'origin'"):
        list(data.events())


def test_an_archive_without_the_file_says_so(tmp_path: Path) -> None:
    data = archive(tmp_path, as_text(ROW), name="other.csv")
    with pytest.raises(ExampleError, match="damaged"):
        data.count()


def test_a_file_that_is_no_archive_says_so(tmp_path: Path) -> None:
    (tmp_path / "flights.csv.zip").write_bytes(b"no archive")
    with pytest.raises(ExampleError, match="damaged"):
        FlightData(tmp_path / "flights.csv.zip", tmp_path / "airlines.csv").count()


def test_a_package_without_its_data_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    # Any package that holds no flights will do.
    monkeypatch.setattr("app.example.source.PACKAGE", "email")
    with pytest.raises(ExampleError, match=r"flights\.csv\.zip is missing"):
        find_data()
