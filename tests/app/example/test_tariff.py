"""The tariff as the service is told of it."""

from __future__ import annotations

from app.example.tariff import LONG_FLIGHTS, METERS, PRODUCTS, cycle_starts


def test_every_aggregation_is_used_and_one_meter_is_filtered() -> None:
    assert [meter.aggregation["type"] for meter in METERS] == ["count", "count", "sum", "max", "last"]
    assert [meter for meter in METERS if "filter" in meter.declaration()] == [LONG_FLIGHTS]


def test_a_meter_is_declared_with_its_filter() -> None:
    assert LONG_FLIGHTS.declaration() == {
        "name": "Long flights from JFK",
        "event_name": "flight.departed",
        "aggregation": {"type": "count"},
        "measurement_unit": "flight",
        "filter": {
            "conjunction": "and",
            "clauses": [
                {"key": "origin", "operator": "equals", "value": "JFK"},
                {"key": "distance", "operator": "greater_than", "value": 1000},
            ],
        },
    }


def test_a_product_lasts_twelve_months_and_names_its_meters_by_id() -> None:
    ids = {meter.name: f"mtr_{number}" for number, meter in enumerate(METERS)}
    price = PRODUCTS[0].declaration(ids)["price"]
    assert (price["fixed_price"], price["currency"]) == (50_000, "USD")
    assert (price["payment_frequency_count"], price["payment_frequency_interval"]) == (1, "Month")
    assert (price["subscription_period_count"], price["subscription_period_interval"]) == (12, "Month")
    assert price["meters"] == [
        {"meter_id": "mtr_0", "price_per_unit": "1250", "free_threshold": 50},
        {"meter_id": "mtr_1", "price_per_unit": "399.5", "free_threshold": 10},
    ]


def test_months_begin_at_midnight_in_new_york() -> None:
    starts = [start.isoformat() for start in cycle_starts()]
    assert len(starts) == 12
    assert (starts[0], starts[3], starts[10], starts[11]) == (
        "2013-01-01T05:00:00+00:00",
        "2013-04-01T04:00:00+00:00",
        "2013-11-01T04:00:00+00:00",
        "2013-12-01T05:00:00+00:00",
    )
