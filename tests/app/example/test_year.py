"""Sending and closing, against answers made by hand. The whole year against a real service is in test_flights.py."""

from __future__ import annotations

import gzip
import json
import zipfile
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.example import year
from app.example.client import Client
from app.example.errors import ExampleError
from app.example.source import FlightData
from app.example.tariff import cycle_starts

HEADER = "year,month,day,sched_dep_time,dep_delay,carrier,flight,origin,dest,air_time,distance,time_hour"


@pytest.fixture
def data(tmp_path: Path) -> FlightData:
    """Five flights."""
    rows = [f"2013,1,1,515,2,UA,{number},EWR,IAH,227,1400,2013-01-01T10:00:00Z" for number in range(5)]
    with zipfile.ZipFile(tmp_path / "flights.csv.zip", "w") as packed:
        packed.writestr("flights.csv", "\n".join([HEADER, *rows, ""]))
    return FlightData(tmp_path / "flights.csv.zip", tmp_path / "airlines.csv")


class Log:
    """Takes events by id as the service does, the first of an id only."""

    def __init__(self, *conflicting: str) -> None:
        self.ids: list[str] = []
        self.conflicting = conflicting

    def __call__(self, request: httpx.Request) -> httpx.Response:
        ids = [json.loads(line)["event_id"] for line in gzip.decompress(request.content).splitlines()]
        new = [event_id for event_id in ids if event_id not in (*self.ids, *self.conflicting)]
        known = [event_id for event_id in ids if event_id in self.ids]
        self.ids += new
        answer = {
            "ingested_count": len(new),
            "duplicate_count": len(known),
            "conflicts": [event_id for event_id in ids if event_id in self.conflicting],
            "position": len(self.ids),
        }
        return httpx.Response(200, json=answer)

    def client(self) -> Client:
        return Client("http://service.example", "secret", httpx.MockTransport(self))


def test_flights_go_out_in_order_in_batches_and_progress_is_told(
    data: FlightData, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.example.year.BATCH_EVENTS", 2)
    log, told = Log(), list[tuple[str, int, int]]()
    with log.client() as client:
        first = year.send(client, data, lambda *said: told.append(said))
        second = year.send(client, data, lambda *said: None)
    assert [event_id.split(":")[3] for event_id in log.ids] == ["0", "1", "2", "3", "4"]
    assert told == [("Sending flights", done, 5) for done in (2, 4, 5)]
    assert (first.ingested, first.duplicates, first.position) == (5, 0, 5)
    assert (second.ingested, second.duplicates, second.position) == (0, 5, 5)


def test_an_id_that_is_taken_by_another_event_ends_the_run(data: FlightData) -> None:
    taken = "flight:2013-01-01:UA:3:EWR:IAH:0515"
    with Log(taken).client() as client, pytest.raises(ExampleError, match=rf"1 flights were not recorded.*{taken}"):
        year.send(client, data, lambda *said: None)


def test_only_months_without_an_invoice_that_stands_are_closed() -> None:
    closed: list[tuple[str, str]] = []
    january, february = (start.isoformat() for start in cycle_starts()[:2])
    invoices = {
        "sub_a": [
            {"cycle_start": "2013-01-01T05:00:00.000000Z", "status": "open"},
            {"cycle_start": "2013-02-01T05:00:00.000000Z", "status": "void"},
        ],
        "sub_b": [],
    }

    def service(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return httpx.Response(200, json={"items": invoices[request.url.params["subscription_id"]]})
        body: dict[str, Any] = json.loads(request.content)
        closed.append((request.url.path.split("/")[2], body["cycle_start"]))
        return httpx.Response(200, json={})

    told: list[tuple[str, int, int]] = []
    with Client("http://service.example", "secret", httpx.MockTransport(service)) as client:
        year.close(client, {"A": "sub_a", "B": "sub_b"}, lambda *said: told.append(said))
    assert closed[:3] == [("sub_b", january), ("sub_a", february), ("sub_b", february)]
    assert len(closed) == 23
    assert told[-1] == ("Closing months", 24, 24)
