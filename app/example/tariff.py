"""What an airport authority might charge its carriers: five meters, two products, twelve months."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from app.example.source import EVENT_NAME

CURRENCY = "USD"
ZONE = "America/New_York"
"""Months begin at midnight where the flights leave."""

YEAR = 2013
MONTHS = 12
ANCHOR_DATE = f"{YEAR}-01-01"


@dataclass(frozen=True)
class MeterPlan:
    """A meter and its price: cents per unit beyond the free units of each month."""

    name: str
    aggregation: Mapping[str, str]
    measurement_unit: str
    price_per_unit: str
    free_threshold: int
    filter: Mapping[str, Any] | None = None

    def declaration(self) -> dict[str, Any]:
        """The body that declares the meter."""
        body = {
            "name": self.name,
            "event_name": EVENT_NAME,
            "aggregation": dict(self.aggregation),
            "measurement_unit": self.measurement_unit,
        }
        return body if self.filter is None else {**body, "filter": dict(self.filter)}


@dataclass(frozen=True)
class ProductPlan:
    """A product: a fixed price in cents per month, and meters."""

    name: str
    fixed_price: int
    meters: tuple[MeterPlan, ...]

    def declaration(self, meter_ids: Mapping[str, str]) -> dict[str, Any]:
        """The body that declares the product; ``meter_ids`` holds the ids of the meters by name.

        The period of a subscription is the one year of the data, so that it has exactly twelve cycles.
        """
        return {
            "name": self.name,
            "tax_category": "saas",
            "price": {
                "type": "usage_based_price",
                "currency": CURRENCY,
                "fixed_price": self.fixed_price,
                "payment_frequency_count": 1,
                "payment_frequency_interval": "Month",
                "subscription_period_count": MONTHS,
                "subscription_period_interval": "Month",
                "meters": [
                    {
                        "meter_id": meter_ids[meter.name],
                        "price_per_unit": meter.price_per_unit,
                        "free_threshold": meter.free_threshold,
                    }
                    for meter in self.meters
                ],
            },
        }


FLIGHTS = MeterPlan("Flights", {"type": "count"}, "flight", "1250", 50)
LONG_FLIGHTS = MeterPlan(
    "Long flights from JFK",
    {"type": "count"},
    "flight",
    "399.5",
    10,
    filter={
        "conjunction": "and",
        "clauses": [
            {"key": "origin", "operator": "equals", "value": "JFK"},
            {"key": "distance", "operator": "greater_than", "value": 1000},
        ],
    },
)
MILES = MeterPlan("Miles flown", {"type": "sum", "key": "distance"}, "mile", "0.35", 10_000)
DELAY = MeterPlan("Greatest departure delay", {"type": "max", "key": "dep_delay"}, "minute", "25", 15)
AIR_TIME = MeterPlan("Last air time", {"type": "last", "key": "air_time"}, "minute", "1.5", 0)

PRODUCTS = (
    ProductPlan("New York departures", 50_000, (FLIGHTS, LONG_FLIGHTS)),
    ProductPlan("Miles and minutes", 9_900, (MILES, DELAY, AIR_TIME)),
)
METERS = tuple(meter for product in PRODUCTS for meter in product.meters)


def cycle_starts() -> list[datetime]:
    """The first instant of every month of the year in New York, in UTC."""
    zone = ZoneInfo(ZONE)
    return [datetime(YEAR, month, 1, tzinfo=zone).astimezone(UTC) for month in range(1, MONTHS + 1)]
