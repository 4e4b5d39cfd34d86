"""Objects are found again by what names them, and made only when they are not there."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from app.example import objects
from app.example.client import Client
from app.example.errors import ExampleError
from app.example.tariff import LONG_FLIGHTS, METERS, PRODUCTS

Rows = dict[str, list[dict[str, Any]]]


class Service:
    """Answers lists and objects from rows by path, and keeps what it is asked to change."""

    def __init__(self, rows: Rows, make: Callable[[dict[str, Any]], dict[str, Any]] = dict) -> None:
        self.rows = rows
        self.make = make
        self.changes: list[tuple[str, str, dict[str, Any]]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        if request.method == "GET":
            if path in self.rows:
                return httpx.Response(200, json={"items": self.rows[path]})
            return httpx.Response(404, json={"code": "NOT_FOUND", "message": path})
        body = json.loads(request.content)
        self.changes.append((request.method, path, body))
        return httpx.Response(200, json=self.make(body))

    def client(self) -> Client:
        return Client("http://service.example", "secret", httpx.MockTransport(self))


def stored_meters() -> list[dict[str, Any]]:
    """Every meter as a service may answer it: with ``null`` where a declaration says nothing."""
    return [
        {
            "filter": None,
            **plan.declaration(),
            "aggregation": {"key": None, **plan.aggregation},
            "id": f"mtr_{number}",
        }
        for number, plan in enumerate(METERS)
    ]


def test_meters_that_are_there_are_not_made_again() -> None:
    service = Service({"/meters": stored_meters()})
    with service.client() as client:
        assert objects.meters(client) == {plan.name: f"mtr_{number}" for number, plan in enumerate(METERS)}
    assert service.changes == []


def test_a_meter_that_is_not_there_is_declared() -> None:
    stored = [meter for meter in stored_meters() if meter["name"] != LONG_FLIGHTS.name]
    service = Service({"/meters": stored}, lambda body: {**body, "id": "mtr_new"})
    with service.client() as client:
        assert objects.meters(client)[LONG_FLIGHTS.name] == "mtr_new"
    assert service.changes == [("POST", "/meters", LONG_FLIGHTS.declaration())]


@pytest.mark.parametrize(
    "other",
    [{"filter": None}, {"event_name": "flight.landed"}, {"aggregation": {"type": "sum", "key": "distance"}}],
)
def test_a_meter_of_the_name_that_counts_something_else_is_refused(other: dict[str, Any]) -> None:
    stored = [meter | other if meter["name"] == LONG_FLIGHTS.name else meter for meter in stored_meters()]
    with Service({"/meters": stored}).client() as client, pytest.raises(ExampleError, match="Long flights from JFK"):
        objects.meters(client)


def test_a_product_is_found_by_its_name_or_declared() -> None:
    there, missing = PRODUCTS
    rows = {"/products": [{"name": there.name, "product_id": "pdt_0"}]}
    service = Service(rows, lambda body: {**body, "product_id": "pdt_new"})
    ids = {plan.name: f"mtr_{number}" for number, plan in enumerate(METERS)}
    with service.client() as client:
        assert objects.products(client, ids) == {there.name: "pdt_0", missing.name: "pdt_new"}
    assert service.changes == [("POST", "/products", missing.declaration(ids))]


def test_a_customer_is_made_in_the_zone_of_new_york_unless_it_is_there() -> None:
    service = Service({"/customers/carrier_AA": []})
    with service.client() as client:
        objects.customers(client, {"AA": "American Airlines Inc.", "9E": "Endeavor Air Inc."})
    expected = {
        "customer_id": "carrier_9E",
        "name": "Endeavor Air Inc.",
        "email": "billing@9e.example",
        "time_zone": "America/New_York",
    }
    assert service.changes == [("POST", "/customers", expected)]


@pytest.mark.parametrize(
    ("products", "answer"), [(["pdt_1", "pdt_0"], "sub_0"), (["pdt_0"], "sub_new"), (["pdt_0", "pdt_2"], "sub_new")]
)
def test_a_subscription_is_found_by_its_products(products: list[str], answer: str) -> None:
    row = {"subscription_id": "sub_0", "products": [{"product_id": product_id} for product_id in products]}
    service = Service({"/subscriptions": [row]}, lambda body: {"subscription_id": "sub_new"})
    with service.client() as client:
        assert objects.subscription(client, "UA", ["pdt_0", "pdt_1"]) == answer
    bodies = [body for _, _, body in service.changes]
    assert bodies == (
        []
        if answer == "sub_0"
        else [
            {
                "customer": {"customer_id": "carrier_UA"},
                "billing": {"country": "US"},
                "products": [{"product_id": "pdt_0", "quantity": 1}, {"product_id": "pdt_1", "quantity": 1}],
                "anchor_date": "2013-01-01",
            }
        ]
    )


@pytest.mark.parametrize(("age", "changes"), [("35d", 1), ("none", 0)])
def test_the_window_is_opened_once(age: str, changes: int) -> None:
    sent: list[Any] = []

    def settings(request: httpx.Request) -> httpx.Response:
        if request.method == "PATCH":
            sent.append(json.loads(request.content))
        return httpx.Response(200, json={"event_age_max": age})

    with Client("http://service.example", "secret", httpx.MockTransport(settings)) as client:
        objects.accept_old_events(client)
    assert sent == [{"event_age_max": "none"}] * changes
